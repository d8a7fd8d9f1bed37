"""Use of the machine's GPUs by this process."""

from __future__ import annotations

import tensorflow as tf


def share_gpus() -> None:
    """Allocates GPU memory as needed, because evaluation often runs beside training.

    It has no effect once a GPU is in use.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            return
