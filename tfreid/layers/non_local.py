"""Non-local blocks: each position of a feature map is changed by all others."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfreid.layers.convolution import he_normal
from tfreid.layers.normalization import batch_norm


@keras.saving.register_keras_serializable(package="tfreid")
class PairwiseSum(keras.layers.Layer):
    """Sums values over all positions of a map, weighted by dot products, in float32.

    Computes y_i = 1/N sum_j (theta_i . phi_j) g_j of Wang et al., "Non-local Neural Networks" (CVPR
    2018), Eq. 1 and 4, over the N positions. Since nothing stands between the two products, phi and
    g are multiplied first, which needs no matrix of all pairs of positions.
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, inputs):
        """Returns [n, h, w, c] of theta, phi and g, a list of three such maps."""
        theta, phi, g = (_rows(x) for x in inputs)
        positions = tf.cast(tf.shape(theta)[1], theta.dtype)
        products = tf.matmul(phi, g, transpose_a=True) / positions
        sums = tf.matmul(theta, products)
        height, width, channels = inputs[0].shape[1:]
        if height is None or width is None:
            return tf.reshape(sums, tf.shape(inputs[0]))
        return tf.reshape(sums, (-1, height, width, channels))

    def compute_output_shape(self, input_shape):
        """Returns the shape of one input."""
        return input_shape[0]


def _rows(x):
    """Reshapes [n, h, w, c] to [n, h * w, c]; of a known size without LiteRT's flexible shapes."""
    height, width, channels = x.shape[1:]
    if height is None or width is None:
        return tf.reshape(x, (tf.shape(x)[0], -1, channels))
    return tf.reshape(x, (-1, height * width, channels))


def non_local_block(x, name: str, channels: int | None = None):
    """Adds to a feature map what a non-local block makes of it.

    Wang et al. (2018), Eq. 6, as in AGW: Ye et al., "Deep Learning for Person Re-identification: A
    Survey and Outlook" (TPAMI 2021), Section 4. The scale of the last batch normalisation starts at
    zero, so that the block at first changes nothing and may be put into a trained network.

    Args:
        x: Feature map [n, h, w, c].
        name: The convolutions are `NAME_theta`, `NAME_phi`, `NAME_g` and `NAME_out`, with
            `NAME_out_bn`; the sum of pairs and the block's own are `NAME_pairs` and `NAME_add`.
        channels: Channels between the convolutions. Defaults to half of c, as published; the
            released code of AGW, and fast-reid, have 1.

    Returns:
        Feature map [n, h, w, c].
    """
    inner = channels or x.shape[-1] // 2
    theta, phi, g = (_conv_1x1(x, inner, f"{name}_{part}") for part in ("theta", "phi", "g"))
    y = PairwiseSum(name=f"{name}_pairs")([theta, phi, g])
    # What grows as the cube of the map's values overflows half precision until it is normalised.
    y = _conv_1x1(y, x.shape[-1], f"{name}_out", dtype="float32")
    y = batch_norm(y, f"{name}_out_bn", gamma_initializer="zeros", dtype="float32")
    return keras.layers.Add(name=f"{name}_add")([x, y])


def _conv_1x1(x, filters, name, **settings):
    return keras.layers.Conv2D(
        filters, 1, kernel_initializer=he_normal("fan_out"), name=name, **settings)(x)
