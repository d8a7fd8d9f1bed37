"""Devices, processes, precision and reproducibility, to be set before variables are made."""

from __future__ import annotations

import faulthandler
import functools
import os
import socket
import time

import keras
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.config import TrainingConfig
from tfreid.devices import share_gpus
from tfreid.workers import Resolver

# Seconds: between attempts to reach the others, and until all that were reached have joined.
_BETWEEN_CALLS, _JOINING = 1.0, 120


def prepare_runtime(config: TrainingConfig) -> None:
    """Sets the seed, the precision policy and deterministic operations."""
    keras.utils.set_random_seed(config.seed)
    keras.mixed_precision.set_global_policy(config.precision)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
        # It adds gradients in an order that hangs on how many devices a process has.
        tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
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


def join_cluster(resolver: Resolver, devices: list[str] | None,
                 timeout: int) -> tf.distribute.Strategy:
    """Returns the strategy of all processes of a cluster, which it waits for.

    Args:
        resolver: The cluster; see `find_cluster`.
        devices: `training.devices`.
        timeout: Seconds in which the others must have started.

    Raises:
        UserError: If they have not, the address of this process is taken, or devices are named:
            each process takes all GPUs of its machine, or the CPU.
    """
    if devices is not None:
        raise UserError("training.devices is for a training by itself; in a cluster every process "
                        "takes the GPUs that it sees (CUDA_VISIBLE_DEVICES), so set it to null.")
    return _joined(resolver, timeout)


@functools.cache
def _joined(resolver: Resolver, timeout: int) -> tf.distribute.Strategy:
    _meet(resolver, timeout)
    # TensorFlow would wait for an hour for a process that ended in the meantime, in code that no
    # signal interrupts.
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(_JOINING, exit=True, file=nowhere)
        strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
        faulthandler.cancel_dump_traceback_later()
    return strategy


def _meet(resolver: Resolver, timeout: int) -> None:
    """Waits until a process listens at each address of the cluster.

    Raises:
        UserError: If some do not within the timeout, in seconds.
    """
    spec = resolver.cluster_spec()
    addresses = [address for job in spec.jobs for address in spec.job_tasks(job)]
    own = spec.task_address(resolver.task_type, int(resolver.task_id))
    try:
        listening = socket.create_server(("", int(own.rpartition(":")[2])), backlog=len(addresses))
    except OSError as error:
        raise UserError(f"{own} is this process's address in the cluster, but nothing can listen "
                        f"there ({error.strerror}); choose another port.") from None
    end = time.monotonic() + timeout
    with listening:
        missing = _silent(addresses)
        if missing:
            print(f"waiting for {', '.join(missing)}", flush=True)
        while missing:
            if time.monotonic() > end:
                raise UserError(f"no process answers at {', '.join(missing)} after {timeout} "
                                "seconds (training.cluster_timeout); start it, or correct the "
                                "addresses of the cluster.")
            time.sleep(_BETWEEN_CALLS)
            missing = _silent(missing)


def _silent(addresses: list[str]) -> list[str]:
    """Returns the addresses at which nothing listens."""
    return [address for address in addresses if not _listens(address)]


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_BETWEEN_CALLS).close()
    except OSError:
        return False
    return True


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    # Cached, because a second strategy in a process would reuse the keys of the first one's
    # collective operations, which then mix the tensors of both.
    return tf.distribute.MirroredStrategy(devices)
