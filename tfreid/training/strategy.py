"""Devices, numeric precision and reproducibility: what is set before any variable exists."""

from __future__ import annotations

import functools

import keras
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.config import TrainingConfig
from tfreid.devices import share_gpus


def prepare_runtime(config: TrainingConfig) -> None:
    """Sets the seed, the precision policy and, if asked for, deterministic operations."""
    keras.utils.set_random_seed(config.seed)
    keras.mixed_precision.set_global_policy(config.precision)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    share_gpus()


def make_strategy(devices: list[str] | None = None) -> tf.distribute.Strategy:
    """Returns one device's strategy, or a MirroredStrategy over several.

    Args:
        devices: Such as `["GPU:0", "GPU:1"]`; None takes all GPUs, or else the CPU.

    Raises:
        UserError: If a device that this machine does not have.
    """
    present = [device.name.split("device:")[-1] for device in tf.config.list_logical_devices()]
    if devices is None:
        devices = [name for name in present if name.startswith("GPU")] or ["CPU:0"]
    missing = [name for name in devices if name.upper() not in present]
    if missing or not devices:
        raise UserError(
            f"training.devices names {', '.join(missing) or 'no device'}; this machine has "
            f"{', '.join(present)}."
        )
    if len(set(devices)) < len(devices):
        raise UserError("training.devices names a device twice; name each once.")
    if len(devices) == 1:
        return tf.distribute.OneDeviceStrategy(devices[0])
    return _mirrored(tuple(devices))


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    """One strategy per set of devices: a second one in a process reuses the first's keys for its
    collective operations, which then mix the tensors of both."""
    return tf.distribute.MirroredStrategy(devices)
