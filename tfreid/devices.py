"""Settings of the GPUs."""

from __future__ import annotations

import tensorflow as tf


def share_gpus() -> None:
    """Lets GPU memory grow as needed, so that processes can share a GPU not yet in use."""
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            return
