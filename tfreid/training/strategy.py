"""Devices, numeric precision and reproducibility, to be set before variables are created."""

from __future__ import annotations

import functools

import keras
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.config import TrainingConfig
from tfreid.devices import share_gpus


def prepare_runtime(config: TrainingConfig) -> None:
    """Sets the seed, the precision policy and deterministic operations."""
    keras.utils.set_random_seed(config.seed)
    keras.mixed_precision.set_global_policy(config.precision)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    share_gpus()


def make_strategy(devices: list[str] | None = None) -> tf.distribute.Strategy:
    """Returns one device's strategy, or a MirroredStrategy over several.

    Args:
        devices: For example `["GPU:0", "GPU:1"]`. Defaults to all GPUs, or else the CPU.

    Raises:
        UserError: If the machine lacks a device, or a device is repeated.
    """
    present = [device.name.split("device:")[-1] for device in tf.config.list_logical_devices()]
    if devices is None:
        devices = [name for name in present if name.startswith("GPU")] or ["CPU:0"]
    missing = [name for name in devices if name.upper() not in present]
    if missing or not devices:
        raise UserError(f"training.devices names {', '.join(missing) or 'no device'}; this machine "
                        f"has {', '.join(present)}.")
    if len(set(devices)) < len(devices):
        raise UserError("training.devices names a device twice; name each once.")
    if len(devices) == 1:
        return tf.distribute.OneDeviceStrategy(devices[0])
    return _mirrored(tuple(devices))


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    # Cached, because a second strategy in a process would reuse the keys of the first one's
    # collective operations, which then mix the tensors of both.
    return tf.distribute.MirroredStrategy(devices)
