"""The processes that train together, and what they tell each other."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfrecords.errors import UserError, shortened

Block = tuple[np.ndarray, np.ndarray]
Resolver = tf.distribute.cluster_resolver.ClusterResolver
# What TensorFlow raises in a process when another one has ended.
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError,
        tf.errors.InternalError, tf.errors.DeadlineExceededError)
_JOBS = ("chief", "worker")
_MOST_PER_MACHINE = 4096


def find_cluster(setting: str | None) -> Resolver | None:
    """Returns what tells the processes of a training apart, or None for a training by itself.

    Args:
        setting: `training.cluster`: None reads the variable TF_CONFIG, if it is set.

    Raises:
        UserError: If the cluster is not described, or this process is not in it.
    """
    return _find(setting, os.environ.get("TF_CONFIG"))


@functools.cache  # because a process joins one cluster, and once
def _find(setting, description):
    resolvers = tf.distribute.cluster_resolver
    if setting == "slurm":
        try:
            # A place for each process of a machine; which GPUs it sees is srun's business
            # (--gpus-per-task).
            resolver = resolvers.SlurmClusterResolver(
                gpus_per_node=_MOST_PER_MACHINE, gpus_per_task=1, auto_set_gpu=False)
            resolver.cluster_spec()
        except (KeyError, ValueError, RuntimeError, OSError) as error:
            raise UserError("training.cluster=slurm needs the variables of a Slurm job step "
                            f"({error}); start the workers with srun, or set it to null.") from None
    elif description:
        _check_description(description)
        resolver = resolvers.TFConfigClusterResolver()
    else:
        return None
    return resolver if _size(resolver) > 1 else None


def _check_description(text: str) -> None:
    """Raises a `UserError` if the text of TF_CONFIG does not describe a worker and its peers."""
    fix = ('set it as {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", '
           '"index": 0}}, or unset it to train alone')
    try:
        content = json.loads(text)
        cluster, task = content["cluster"], content["task"]
        kind, index = task["type"], int(task["index"])
        jobs = {job: list(addresses) for job, addresses in cluster.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"the variable TF_CONFIG cannot be read ({type(error).__name__}: {error});"
                        f" {fix}.") from None
    others = sorted({kind, *jobs} - set(_JOBS))
    if others:
        raise UserError(f"the variable TF_CONFIG names the job {others[0]!r}, but only chief and "
                        f"worker train; {fix}.")
    if len(jobs.get("chief", ())) > 1:
        raise UserError(f"the variable TF_CONFIG has more than one chief; {fix}.")
    for address in (address for addresses in jobs.values() for address in addresses):
        host, _, port = str(address).rpartition(":")
        if not host or not port.isdecimal():
            raise UserError(f"the variable TF_CONFIG has the address {address!r}, which is not "
                            f"HOST:PORT; {fix}.")
    if not 0 <= index < len(jobs.get(kind, ())):
        raise UserError(f"the variable TF_CONFIG makes this process {kind} {index}, which its "
                        f"cluster does not have; {fix}.")


def _size(resolver: Resolver) -> int:
    spec = resolver.cluster_spec()
    return sum(spec.num_tasks(job) for job in spec.jobs if job in _JOBS)


def lost_process(error: tf.errors.OpError) -> UserError:
    """Returns what to tell a user when one of `LOST` was raised."""
    reason = str(error.message).strip().splitlines()[0]
    return UserError(f"a process that trains with this one was lost ({shortened(reason, 200)}); "
                     "what it printed says why, and the same commands with --resume go on from the "
                     "newest checkpoint.")


def place_in(resolver: Resolver | None) -> int:
    """Returns the number of this process in its cluster, from 0; 0 in none."""
    if resolver is None:
        return 0
    behind_chief = resolver.task_type == "worker" and "chief" in resolver.cluster_spec().jobs
    return int(resolver.task_id) + behind_chief


class Workers:
    """The processes that train one model together, each with devices of its own.

    All methods but `part` wait for all processes, which must call them in the same order.

    Args:
        strategy: The strategy of all processes' devices.
        resolver: Tells the processes apart; None for a training by itself.

    Attributes:
        index: Number of this process, from 0. The first is the chief, which writes the run.
        count: Number of processes.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None,
                 resolver: Resolver | None = None):
        self.index, self.count = 0, 1
        self._strategy = strategy
        if resolver is not None:
            self.index, self.count = place_in(resolver), _size(resolver)
            self._devices = strategy.num_replicas_in_sync // self.count
            self._gather = tf.function(lambda values: strategy.gather(values, axis=0))

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run."""
        return self.index == 0

    def part(self, batches: int) -> np.ndarray | slice:
        """Returns which of consecutive batches, one a device in turn, are this process's."""
        if self.count == 1:
            return slice(batches)
        numbers = np.arange(batches)
        return numbers[numbers // self._devices % self.count == self.index]

    def exchange(self, data: bytes) -> list[bytes]:
        """Sends bytes to all processes; returns those of each, in their order."""
        if self.count == 1:
            return [data]
        sizes = self._gathered(np.array([len(data)], np.int32))[:, 0]
        # All send as much, in few different sizes, since each makes a graph of its own.
        padded = np.zeros(1 << int(np.max(sizes)).bit_length(), np.int8)
        padded[: len(data)] = np.frombuffer(data, np.int8)
        padded = np.concatenate([padded, np.zeros(-len(padded) % 4, np.int8)])
        received = self._gathered(padded.view(np.int32)) if np.any(sizes) else sizes
        return [row.tobytes()[:size] for row, size in zip(received, sizes)]

    def any(self, flag: bool) -> bool:
        """Returns whether a flag is set in any process."""
        if self.count == 1:
            return flag
        return bool(self._gathered(np.array([flag], np.int32)).any())

    def _gathered(self, words: np.ndarray) -> np.ndarray:
        """Returns the int32 words [n] of all processes, [processes, n]."""
        values = self._strategy.experimental_distribute_values_from_function(
            lambda _: tf.constant(words))
        everything = self._strategy.experimental_local_results(self._gather(values))[0].numpy()
        # The devices of a process say the same.
        return everything.reshape(self.count, -1, len(words))[:, 0]

    def from_chief(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the chief's arrays, which have the shapes and types of one's own."""
        if self.count == 1:
            return arrays
        own = b"".join(array.tobytes() for array in arrays) if self.is_chief else b""
        data, place, result = self.exchange(own)[0], 0, []
        for array in arrays:
            part = np.frombuffer(data, array.dtype, array.size, place)
            result.append(part.reshape(array.shape))
            place += array.nbytes
        return result

    def check_same(self, facts: dict[str, Any]) -> None:
        """Compares facts, by what they are called, with the chief's.

        Raises:
            UserError: If a process has others, in all of them.
        """
        chief, *others = map(json.loads, self.exchange(json.dumps(facts).encode()))
        for number, other in enumerate(others, 1):
            for name, value in chief.items():
                if other.get(name) != value:
                    raise UserError(f"worker {number} has another {name} than worker 0 "
                                    f"({other.get(name)}, not {value}); start all with the same "
                                    "command, code, records and run folder.")

    def rounds(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Yields places [n] and float32 rows [n, d] of all processes, a block of each in turn."""
        if self.count == 1:
            yield from blocks
            return
        blocks = iter(blocks)
        while True:
            received = self.exchange(_packed(next(blocks, None)))
            if not any(received):
                return
            yield from (_unpacked(data) for data in received if data)

    def share(self, count: int, block: int) -> np.ndarray | None:
        """Returns the places of this process among `count`, in blocks dealt in turn.

        None, for a training by itself, stands for all.
        """
        if self.count == 1:
            return None
        places = np.arange(count)
        return places[places // block % self.count == self.index]


# A training by itself.
ALONE = Workers()


def _packed(block: Block | None) -> bytes:
    if block is None:
        return b""
    places, rows = block
    sizes = np.array(rows.shape, np.int64)
    return b"".join(part.tobytes() for part in (
        sizes, places.astype(np.int64), rows.astype(np.float32)))


def _unpacked(data: bytes) -> Block:
    count, width = np.frombuffer(data, np.int64, 2)
    places = np.frombuffer(data, np.int64, count, 16)
    rows = np.frombuffer(data, np.float32, count * width, 16 + places.nbytes)
    return places, rows.reshape(count, width)
