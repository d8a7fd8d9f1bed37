"""The twin of the Siamese network for MARS."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tfreid.backbones.base import stage_strides
from tfreid.layers.dropout import StatelessDropout
from tfreid.layers.normalization import batch_norm

FILTERS = (256, 128, 64, 32)
_EPSILON, _MOMENTUM = 1e-3, 0.9


def siamese_twin(
    x,
    filters: Sequence[int] = FILTERS,
    strides: Sequence[int] | None = None,
    last_stride: int | None = None,
    dropout: float = 0.0,
):
    """Applies blocks of convolution, max pooling, batch normalisation and ReLU.

    Bojja, "Metric Learning for Person ReIdentification task", Section 1.4, with the kernels (3x3),
    filters, biases and initial values of the author's published code: 395,424 trainable weights.
    The code applies dropout before the ReLU, the report after it, which is equivalent.

    Args:
        x: Normalised images [n, h, w, 3].
        filters: Filters of each block. Defaults to the four of the report.
        strides: Strides of the blocks' 2x2 max poolings. Defaults to 2 each.
        last_stride: Replaces the last of `strides`.
        dropout: Share of each block's output that training drops.

    Returns:
        Feature map [n, h / 16, w / 16, 32] by default, sizes rounded down.

    Raises:
        ValueError: If `strides` are not one positive integer per block.
    """
    strides = stage_strides(strides or [2] * len(filters), last_stride, len(filters))
    for number, (channels, stride) in enumerate(zip(filters, strides), 1):
        name = f"block{number}"
        x = keras.layers.Conv2D(channels, 3, padding="same", name=f"{name}_conv")(x)
        x = keras.layers.MaxPooling2D(2, stride, name=f"{name}_pool")(x)
        x = batch_norm(x, f"{name}_bn", _MOMENTUM, _EPSILON)
        x = keras.layers.ReLU(name=f"{name}_relu")(x)
        if dropout:
            x = StatelessDropout(dropout, name=f"{name}_dropout")(x)
    return x
