"""The twin of the Siamese network for MARS."""

from __future__ import annotations

import keras

from tfreid.backbones.base import stage_strides
from tfreid.layers.dropout import StatelessDropout
from tfreid.layers.normalization import batch_norm

FILTERS = (256, 128, 64, 32)
_STRIDES = (2, 2, 2, 2)
_EPSILON, _MOMENTUM = 1e-3, 0.9


def siamese_twin(
    x,
    strides: tuple[int, int, int, int] | None = None,
    last_stride: int | None = None,
    dropout: float = 0.0,
):
    """Applies four blocks of convolution, max pooling, batch normalisation and ReLU.

    Bojja, "Metric Learning for Person ReIdentification task", Section 1.4, with the kernels (3x3),
    filters, biases and initial values of the author's published code: 395,424 trainable weights.
    The code applies dropout before the ReLU, the report after it, which is equivalent.

    Args:
        x: Normalised images [n, h, w, 3].
        strides: Strides of the four 2x2 max poolings. Defaults to (2, 2, 2, 2).
        last_stride: Replaces the last of `strides`.
        dropout: Share of each block's output that training drops.

    Returns:
        Feature map [n, h / 16, w / 16, 32] at the default strides, sizes rounded down.

    Raises:
        ValueError: If `strides` are not four positive integers.
    """
    for number, (filters, stride) in enumerate(
            zip(FILTERS, stage_strides(strides or _STRIDES, last_stride, len(FILTERS))), 1):
        name = f"block{number}"
        x = keras.layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv")(x)
        x = keras.layers.MaxPooling2D(2, stride, name=f"{name}_pool")(x)
        x = batch_norm(x, f"{name}_bn", _MOMENTUM, _EPSILON)
        x = keras.layers.ReLU(name=f"{name}_relu")(x)
        if dropout:
            x = StatelessDropout(dropout, name=f"{name}_dropout")(x)
    return x
