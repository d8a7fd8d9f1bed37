"""The localisation net of a spatial transformer."""

from __future__ import annotations

import keras
import numpy as np

from tfreid.layers.convolution import conv_bn
from tfreid.layers.spatial_transformer import central_region

# tanh never reaches 1, so a region that starts as the whole map starts a little smaller.
_LARGEST_START = 0.999


def localize(x, side: int, name: str):
    """Finds one affine region in each map (Guo and Cheung 2018, Table 1, "Localization Net").

    Before training the region is the middle side x side cells, upright: the last layer's weights
    are zero and its bias makes up that region.

    Args:
        x: Maps [n, h, w, c].
        side: Cells of the region before training, in each direction.
        name: Prefix of the layers.

    Returns:
        [n, 6], between -1 and 1, float32; see `tfreid.layers.spatial_transformer.affine_grid`.
    """
    start = np.arctanh(np.minimum(central_region(x.shape[1:3], side), _LARGEST_START))
    for number in (1, 2):
        x = conv_bn(x, 32, 3, f"{name}_conv{number}")
        x = keras.layers.MaxPooling2D(2, padding="same", name=f"{name}_pool{number}")(x)
    x = conv_bn(x, 128, 1, f"{name}_conv3")
    x = keras.layers.GlobalAveragePooling2D(name=f"{name}_gap")(x)
    return keras.layers.Dense(
        6,
        activation="tanh",
        kernel_initializer="zeros",
        bias_initializer=_Given(start.tolist()),
        dtype="float32",
        name=f"{name}_region",
    )(x)


class _Given(keras.initializers.Initializer):
    """Starts a weight at given values."""

    def __init__(self, values: list):
        self.values = values

    def __call__(self, shape, dtype=None, **kwargs):
        return np.reshape(self.values, shape).astype(np.float32)

    def get_config(self):
        return {"values": self.values}
