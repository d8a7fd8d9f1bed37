"""The depthwise 3x3 convolution against NumPy."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfreid.layers.depthwise import DepthwiseConv3x3

MAPS = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype(np.float32)


def test_every_channel_has_its_own_filter():
    layer = DepthwiseConv3x3(name="lite")
    outputs = layer(MAPS)
    (kernel,) = layer.trainable_weights
    assert tuple(kernel.shape) == (3, 3, 3, 1)
    assert kernel.name.split("/")[-1].split(":")[0] == "depthwise_kernel"
    filters = kernel.numpy()[..., 0]
    padded = np.pad(MAPS, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.zeros_like(MAPS)
    for row in range(3):
        for column in range(3):
            expected += padded[:, row : row + 5, column : column + 4] * filters[row, column]
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_half_precision():
    layer = DepthwiseConv3x3(dtype="mixed_bfloat16")
    assert layer(tf.constant(MAPS)).dtype == tf.bfloat16
    assert layer.trainable_weights[0].dtype in ("float32", tf.float32)
