"""The grouped convolution: values and gradients against a loop in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.layers.convolution import GroupedConv3x3


def loop(maps, kernel, upstream, groups, strides):
    """Returns the output, and the gradients of sum(output * upstream) by maps and by kernel."""
    n, height, width, channels = maps.shape
    group = channels // groups
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows, columns = -(-height // strides), -(-width // strides)
    outputs = np.zeros((n, rows, columns, channels))
    by_padded, by_kernel = np.zeros(padded.shape), np.zeros(kernel.shape)
    for image, row, column, out in np.ndindex(outputs.shape):
        first = out // group * group
        window = np.s_[
            image,
            row * strides : row * strides + 3,
            column * strides : column * strides + 3,
            first : first + group,
        ]
        outputs[image, row, column, out] = (padded[window] * kernel[..., out]).sum()
        by_padded[window] += upstream[image, row, column, out] * kernel[..., out]
        by_kernel[..., out] += upstream[image, row, column, out] * padded[window]
    return outputs, by_padded[:, 1:-1, 1:-1], by_kernel


def gradients(layer, maps, upstream):
    kernel = layer.kernel if keras.__version__.startswith("2.") else layer.kernel.value
    with tf.GradientTape() as tape:
        tape.watch(maps)
        outputs = layer(maps)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * upstream)
    return (outputs, *tape.gradient(loss, [maps, kernel]))


# One group, one slice of several groups, several slices, slices that must not cut a group.
@pytest.mark.parametrize("channels, groups", [(4, 1), (12, 3), (64, 8), (96, 2), (96, 32)])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("graph", [False, True])
def test_values_and_gradients(channels, groups, strides, graph):
    generator = np.random.default_rng(0)
    maps = generator.normal(size=(2, 4, 5, channels))
    kernel = generator.normal(size=(3, 3, channels // groups, channels))
    layer = GroupedConv3x3(groups, strides)
    layer.build((None, None, None, channels))
    assert tuple(layer.kernel.shape) == kernel.shape
    layer.kernel.assign(kernel)
    upstream = generator.normal(size=layer.compute_output_shape(maps.shape))
    run = tf.function(gradients) if graph else gradients
    actual = run(layer, tf.constant(maps, tf.float32), tf.constant(upstream, tf.float32))
    expected = loop(maps, kernel, upstream, groups, strides)
    for ours, theirs in zip(actual, expected):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_unknown_batch_and_size():
    inputs = keras.Input((None, None, 64))
    layer = GroupedConv3x3(32, 2)
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, None, None, 64)
    maps = tf.constant(np.random.default_rng(0).normal(size=(3, 6, 5, 64)).astype(np.float32))
    step = tf.function(
        lambda x: gradients(layer, x, 1.0),
        input_signature=[tf.TensorSpec((None, None, None, 64))],
    )
    outputs, by_maps, by_kernel = step(maps)
    assert outputs.shape == (3, 3, 3, 64)
    assert by_maps.shape == maps.shape
    assert by_kernel.shape == (3, 3, 2, 64)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_trains(policy):
    maps = tf.constant(np.random.default_rng(0).normal(size=(2, 6, 4, 64)).astype(np.float32))
    half, full = GroupedConv3x3(32, dtype=policy), GroupedConv3x3(32)
    half.build(maps.shape)
    full.build(maps.shape)
    half.kernel.assign(full.kernel)
    actual = gradients(half, maps, 1.0)
    assert actual[0].dtype == policy[len("mixed_") :]
    assert actual[2].dtype == tf.float32
    for ours, theirs in zip(actual, gradients(full, maps, 1.0)):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(tf.cast(ours, tf.float32), theirs, atol=0.03 * scale)


def test_groups_that_do_not_divide():
    with pytest.raises(ValueError, match="64 channels, got 3"):
        GroupedConv3x3(3).build((None, 8, 8, 64))


def test_configuration():
    config = GroupedConv3x3(32, 2, name="conv").get_config()
    layer = GroupedConv3x3.from_config(config)
    assert (layer.groups, layer.strides, layer.name) == (32, 2, "conv")
