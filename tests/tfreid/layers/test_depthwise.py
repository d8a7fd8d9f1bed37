"""The depthwise convolution against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfreid.layers.convolution import DepthwiseConv2D

MAPS = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype(np.float32)


def test_every_channel_has_its_own_filter():
    layer = DepthwiseConv2D(name="lite")
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


@pytest.mark.parametrize("size, strides", [(3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("height, width", [(6, 8), (7, 5)])
def test_size_and_stride_pad_every_side_alike(size, strides, height, width):
    """Padding only the right and the bottom would shift the filters by a pixel on even sides."""
    maps = np.random.default_rng(1).normal(size=(2, height, width, 3)).astype(np.float32)
    layer = DepthwiseConv2D(size, strides)
    outputs = layer(maps)
    filters = layer.depthwise_kernel.numpy()[..., 0]
    side = size // 2
    padded = np.pad(maps, ((0, 0), (side, side), (side, side), (0, 0)))
    expected = sum(
        padded[:, r : r + height : strides, c : c + width : strides] * filters[r, c]
        for r in range(size)
        for c in range(size)
    )
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    assert layer.compute_output_shape((2, height, width, 3)) == expected.shape
    assert layer.compute_output_shape((None, None, None, 3)) == (None, None, None, 3)
    assert DepthwiseConv2D.from_config(layer.get_config()).strides == strides


def test_half_precision():
    layer = DepthwiseConv2D(dtype="mixed_bfloat16")
    assert layer(tf.constant(MAPS)).dtype == tf.bfloat16
    assert layer.trainable_weights[0].dtype in ("float32", tf.float32)
