"""Spatial transformer: stripes of a map, a localisation net, and bilinear sampling of regions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfreid.layers.convolution import conv_bn

# Scales below this are penalised: smaller regions show nothing.
SMALLEST_SCALE = 0.1
# tanh never reaches 1, so a region that starts as the whole map starts a little smaller.
_LARGEST_START = 0.999


def affine_grid(regions: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Computes the position in the input of each output cell (Guo and Cheung 2018, Eq. 1).

    Coordinates run from -1 to 1 between the centres of the outermost cells, in both images.

    Args:
        regions: [n, 6]: s_w, r_w, t_w, r_h, s_h, t_h, of w_in = s_w * w_out + r_w * h_out + t_w and
            h_in = r_h * w_out + s_h * h_out + t_h.
        height: Rows of the output.
        width: Columns of the output.

    Returns:
        float32 [n, height, width, 2]: w_in and h_in.
    """
    matrices = tf.reshape(tf.cast(regions, tf.float32), (-1, 2, 3))
    columns, rows = tf.meshgrid(_centres(width), _centres(height))
    points = tf.stack([columns, rows, tf.ones_like(rows)], -1)
    return tf.einsum("nij,hwj->nhwi", matrices, points)


def bilinear_sample(maps: tf.Tensor, grid: tf.Tensor) -> tf.Tensor:
    """Samples maps at real positions; zero outside (Jaderberg et al. 2015, Eq. 5).

    The samples are products of the maps with a matrix of interpolation weights per axis, because
    the gradient of gathering is slow on CPUs. At the centre of a cell the gradient to the grid is
    the one to the right and downwards.

    Args:
        maps: Float array [n, h, w, c].
        grid: [n, height, width, 2]: horizontal and vertical coordinates as in `affine_grid`.

    Returns:
        [n, height, width, c] of the maps' dtype.
    """
    rows, columns, channels = maps.shape[1:]
    height, width = grid.shape[1:3]
    across, down = tf.unstack(tf.cast(grid, tf.float32), axis=-1)
    weights = (_interpolation(down, rows)[..., :, tf.newaxis]
               * _interpolation(across, columns)[..., tf.newaxis, :])
    weights = tf.reshape(weights, (-1, height * width, rows * columns))
    cells = tf.reshape(maps, (-1, rows * columns, channels))
    samples = tf.matmul(tf.cast(weights, maps.dtype), cells)
    return tf.reshape(samples, (-1, height, width, channels))


def rotation_penalty(regions: tf.Tensor) -> tf.Tensor:
    """Computes |r_w| + |r_h| of regions [..., 6], averaged (Section 4.2)."""
    return tf.reduce_mean(tf.abs(regions[..., 1]) + tf.abs(regions[..., 3]))


def scale_penalty(regions: tf.Tensor) -> tf.Tensor:
    """Computes max(0, 0.1 - s)^2 over both scales of regions [..., 6], averaged (Section 4.2)."""
    scales = tf.stack([regions[..., 0], regions[..., 4]], -1)
    return tf.reduce_mean(tf.reduce_sum(tf.square(tf.nn.relu(SMALLEST_SCALE - scales)), -1))


def inside_penalty(regions: tf.Tensor) -> tf.Tensor:
    """Computes how far regions [..., 6] reach beyond the map, squared, averaged (Section 4.2).

    The outermost corner of a region lies at |s| + |r| + |t| in each direction, the border at 1.
    """
    reach = tf.stack([tf.reduce_sum(tf.abs(regions[..., :3]), -1),
                      tf.reduce_sum(tf.abs(regions[..., 3:]), -1)], -1)
    return tf.reduce_mean(tf.reduce_sum(tf.square(tf.nn.relu(reach - 1.0)), -1))


def stripe_rows(height: int, stripes: int) -> list[tuple[int, int]]:
    """Returns the first row and the row after the last of each stripe.

    Three stripes have half the height and begin at the top, at a quarter and in the middle: rows 1
    to 20, 11 to 30 and 21 to 40 of 40 (Section 4.2). One stripe is the whole map.
    """
    if stripes == 1:
        return [(0, height)]
    size = math.ceil(height / 2)
    starts = (round(place * (height - size) / (stripes - 1)) for place in range(stripes))
    return [(start, start + size) for start in starts]


def central_region(shape: Sequence[int], side: int) -> list[float]:
    """Returns the six parameters that cut the middle side x side cells of [height, width]."""
    scale_h, scale_w = ((side - 1) / max(size - 1, 1) for size in shape)
    return [min(scale_w, 1.0), 0.0, 0.0, 0.0, min(scale_h, 1.0), 0.0]


def localize(x, side: int, name: str):
    """Predicts one affine region of each map (Guo and Cheung 2018, Table 1, "Localization Net").

    Before training the region is the upright square of side x side cells in the middle: the last
    layer's weights are zero, and its bias is that region.

    Args:
        x: Maps [n, h, w, c].
        side: Cells of the region before training, in each direction.
        name: Prefix of the layers.

    Returns:
        float32 [n, 6] between -1 and 1; see `affine_grid`.
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
        bias_initializer=GivenValues(start.tolist()),
        dtype="float32",
        name=f"{name}_region",
    )(x)


@keras.saving.register_keras_serializable(package="tfreid")
class GivenValues(keras.initializers.Initializer):
    """Initialises a weight with given values.

    Args:
        values: The values, as a flat list.
    """

    def __init__(self, values: list):
        """Keeps the values."""
        self.values = values

    def __call__(self, shape, dtype=None, **kwargs):
        """Returns the values in the wanted shape, float32."""
        return np.reshape(self.values, shape).astype(np.float32)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {"values": self.values}


@keras.saving.register_keras_serializable(package="tfreid")
class Stripes(keras.layers.Layer):
    """Cuts maps [n, h, w, c] into overlapping stripes [n * stripes, rows, w, c].

    Args:
        stripes: Number of stripes.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, stripes: int = 3, **kwargs):
        """Keeps the settings."""
        super().__init__(**kwargs)
        self.stripes = stripes

    def call(self, inputs):
        """Returns the stripes of the first map from the top down, then those of the second."""
        rows = stripe_rows(inputs.shape[1], self.stripes)
        cut = tf.stack([inputs[:, start:end] for start, end in rows], 1)
        return tf.reshape(cut, (-1, *cut.shape[2:]))

    def compute_output_shape(self, input_shape):
        """Returns [None, rows, w, c]."""
        start, end = stripe_rows(input_shape[1], self.stripes)[0]
        return (None, end - start, *input_shape[2:])

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "stripes": self.stripes}


@keras.saving.register_keras_serializable(package="tfreid")
class FixedRegion(keras.layers.Layer):
    """Returns the same region, the middle, for every map [n, h, w, c] (the paper's C2).

    Args:
        side: Cells of the region in each direction.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, side: int, **kwargs):
        """Keeps the settings."""
        super().__init__(**kwargs)
        self.side = side

    def call(self, inputs):
        """Returns the region of each map, [n, 6]."""
        region = tf.constant([central_region(inputs.shape[1:3], self.side)], tf.float32)
        return tf.repeat(region, tf.shape(inputs)[0], 0)

    def compute_output_shape(self, input_shape):
        """Returns [n, 6]."""
        return (input_shape[0], 6)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "side": self.side}


@keras.saving.register_keras_serializable(package="tfreid")
class BilinearSampler(keras.layers.Layer):
    """Samples regions [n, 6] of maps [n, h, w, c] into [n, side, side, c].

    Args:
        side: Cells of the result in each direction.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, side: int, **kwargs):
        """Keeps the settings."""
        # float16 has too few digits for positions, so regions stay float32 under mixed precision.
        super().__init__(autocast=False, **kwargs)
        self.side = side

    def call(self, inputs):
        """Samples the maps `inputs[0]` in the regions `inputs[1]`."""
        maps, regions = inputs
        return bilinear_sample(maps, affine_grid(regions, self.side, self.side))

    def compute_output_shape(self, input_shape):
        """Returns [n, side, side, c]."""
        return (input_shape[0][0], self.side, self.side, input_shape[0][-1])

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "side": self.side}


def _centres(size):
    """Returns the coordinates of a row of cells; those of a single cell are the middle."""
    return tf.linspace(-1.0, 1.0, size) if size > 1 else tf.zeros([1])


def _interpolation(coordinates, size):
    """Returns a row of cells' weights for each point [n, height, width]: [..., size]."""
    positions = (coordinates + 1.0) * (0.5 * (size - 1))
    below = tf.floor(positions)
    share = (positions - below)[..., tf.newaxis]
    below = tf.cast(below, tf.int32)
    return (1.0 - share) * tf.one_hot(below, size) + share * tf.one_hot(below + 1, size)
