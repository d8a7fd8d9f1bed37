"""Runs the jobs of a build, rendering or writing, in several processes, which stop with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from multiprocessing.context import BaseContext
from typing import TypeVar

from tfrecords.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")

_POLL_SECONDS = 0.2
# Seconds that a worker has, when the build stops, to end its job and clean up.
_GRACE = 5

# The shared counter, and a pipe's end that can be read when the build has stopped, which a worker
# process gets only through the pool's initializer. Empty in the parent.
_links: list = []


def usable_cores() -> int:
    """Returns the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Stopped(Exception):
    """Ends a worker's job because the build has stopped."""


def run_jobs(
    work: Callable[[Job, Callable[[int], object]], Result],
    jobs: Sequence[Job],
    workers: int,
    advance: Callable[[int], object],
) -> Iterator[Result]:
    """Yields the results of jobs as they finish.

    Args:
        work: Does one job and calls its second argument with 1 after each image. Must be picklable
            if there are several workers, as the jobs must.
        jobs: The jobs; at most one process is started for each.
        workers: Number of processes; 1 works in this process.
        advance: Called with the number of images since the last call.

    Raises:
        UserError: If a worker process died or could not be started.
        Exception: Whatever `work` raised, after the results that other workers had finished.
    """
    workers = min(workers, len(jobs))
    if workers <= 1:
        for job in jobs:
            yield work(job, advance)
        return
    context = _worker_context()
    counter = context.Value("q", 0)
    ended, running = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(workers, context, _start_worker, (counter, ended))
    try:
        pending = _submit(executor, work, jobs)
        seen = 0
        while pending:
            done, pending = wait(pending, _POLL_SECONDS, FIRST_COMPLETED)
            written = counter.get_obj().value  # a killed worker may have kept the lock
            advance(written - seen)
            seen = written
            for future in sorted(done, key=lambda future: future.exception() is not None):
                yield future.result()
    except BrokenProcessPool as error:
        raise UserError("a worker process was killed or could not be started, perhaps by lack of "
                        "memory: run the same command again with fewer --workers; what is "
                        "finished is kept.") from error
    finally:
        running.close()
        executor.shutdown(wait=True, cancel_futures=True)


def _submit(executor: ProcessPoolExecutor, work, jobs) -> set[Future]:
    try:
        submitted = {executor.submit(_run_job, work, job) for job in jobs}
        # Makes the executor look at the process that it started last, which may have died already.
        executor.submit(os.getpid)
        return submitted
    except OSError as error:  # no process can be made, or another died and took the pipes with it
        raise BrokenProcessPool(str(error)) from error


def _worker_context() -> BaseContext:
    """Forks the workers from a server that has imported TensorFlow, so that they share its memory.

    Outside Linux, where system libraries do not survive a fork, every worker imports it itself.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tfrecords.preload"])
    return context


def _start_worker(counter, ended) -> None:
    import cv2

    _links[:] = [counter, ended]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets Ctrl-C too and closes its end
    threading.Thread(target=_exit_with_build, args=[ended], daemon=True).start()
    cv2.setNumThreads(1)  # the processes share the processors


def _exit_with_build(ended) -> None:
    """Ends this process: soon after a build has stopped, at once when it has died.

    The executor waits for all its processes, and forgets one that it starts while another dies.
    """
    connection.wait([ended])
    multiprocessing.parent_process().join(_GRACE)
    os._exit(1)


def _run_job(work, job):
    counter, ended = _links

    def advance(images: int) -> None:
        if connection.wait([ended], 0):
            raise _Stopped
        with counter.get_lock():
            counter.value += images

    return work(job, advance)
