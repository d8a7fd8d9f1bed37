"""How this process uses the machine's GPUs."""

from __future__ import annotations

import tensorflow as tf


def share_gpus() -> None:
    """Takes GPU memory as it is needed, not all of it: evaluation often runs beside training.

    Has no effect once a GPU is in use.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            return
