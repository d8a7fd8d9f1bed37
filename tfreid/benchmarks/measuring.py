"""Measurement of time and memory, and random images."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf

from tfrecords.pool import usable_cores
from tfreid.config import Config
from tfreid.models.embedding import input_size

_SAMPLE_SECONDS = 0.005
_PATCHES = (8, 4)


class PeakMemory:
    """Measures how far the process's resident memory, without mapped files, rises in a block."""

    def __enter__(self):
        self._start = self._highest = self._resident()
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._watcher.join()

    @property
    def megabytes(self) -> float:
        """The largest increase."""
        return (self._highest - self._start) / 1e6

    def _watch(self):
        while not self._done.wait(_SAMPLE_SECONDS):
            self._highest = max(self._highest, self._resident())

    @staticmethod
    def _resident() -> int:
        resident, shared = map(int, Path("/proc/self/statm").read_text().split()[1:3])
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Returns the wall seconds and the processor seconds, of all threads, of some work."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def rounded(value: float) -> float:
    """Rounds a value to four significant digits."""
    return float(f"{value:.4g}")


def peak_megabytes() -> float:
    """Returns the peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def describe_machine() -> dict[str, Any]:
    """Describes the machine and software that figures depend on."""
    return {
        "cores": usable_cores(),
        "gpus": len(tf.config.list_physical_devices("GPU")),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "load_average": os.getloadavg()[0],
    }


def describe_network(config: Config, network: dict[str, Any]) -> dict[str, Any]:
    """Describes the network of a figure, with the size of its (typical) images."""
    model = config.model
    return {"config": config.name, "system": config.system, **network,
            "size": list(map(int, input_size(model).of(model.height, model.width))),
            "precision": config.training.precision}


def random_images(count: int, height: int, width: int) -> np.ndarray:
    """Returns float32 images [count, height, width, 3] in 0-255 of random coloured patches.

    The features of plain noise would be nearly equal.
    """
    patches = np.random.default_rng(0).uniform(0, 255, (count, *_PATCHES, 3)).astype(np.float32)
    return np.stack([cv2.resize(image, (width, height)) for image in patches])
