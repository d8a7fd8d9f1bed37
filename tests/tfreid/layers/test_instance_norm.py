"""Instance normalisation and its mixture with batch normalisation, against NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.layers.normalization import instance_batch_norm
from tfreid.weights.files import weight_keys

MAPS = np.random.default_rng(0).normal(2.0, 3.0, (4, 5, 3, 6)).astype(np.float32)
GAMMA = np.random.default_rng(1).uniform(0.5, 1.5, 6)
BETA = np.random.default_rng(2).normal(size=6)


def normalised(maps, gamma, beta, epsilon=1e-5):
    return np.stack(
        [(x - x.mean((0, 1))) / np.sqrt(x.var((0, 1)) + epsilon) * gamma + beta for x in maps]
    )


def instances(channels, epsilon=1e-5):
    """The half that is normalised per instance, as a model of maps of any size."""
    inputs = keras.Input((None, None, channels))
    doubled = keras.layers.Concatenate()([inputs, inputs])
    both = instance_batch_norm(doubled, "conv", epsilon)
    return keras.Model(inputs, keras.Model(inputs, both).get_layer("conv_in").output)


@pytest.mark.parametrize("training", [False, True])
def test_every_map_by_its_own_statistics(training):
    model = instances(6)
    keys = weight_keys(model)
    assert set(keys) == {"conv_in/gamma", "conv_in/beta"}
    keys["conv_in/gamma"].assign(GAMMA)
    keys["conv_in/beta"].assign(BETA)
    np.testing.assert_allclose(
        model(MAPS, training=training), normalised(MAPS, GAMMA, BETA), atol=1e-5
    )


def test_epsilon():
    np.testing.assert_allclose(instances(6, 0.5)(MAPS), normalised(MAPS, 1.0, 0.0, 0.5), atol=1e-5)


def test_gradient_by_differences():
    layer = instances(6)
    maps, weight = tf.constant(MAPS), np.random.default_rng(3).normal(size=MAPS.shape)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        loss = tf.reduce_sum(layer(maps) * weight.astype(np.float32))
    gradient = tape.gradient(loss, maps).numpy()
    for index in [(0, 0, 0, 0), (1, 3, 2, 5), (3, 4, 1, 2)]:
        step = np.zeros(MAPS.shape)
        step[index] = 1e-4
        ends = [(normalised(MAPS + sign * step, 1.0, 0.0) * weight).sum() for sign in (1, -1)]
        np.testing.assert_allclose(gradient[index], (ends[0] - ends[1]) / 2e-4, atol=1e-3)


def test_half_precision_keeps_float32_statistics():
    maps = np.full((1, 64, 32, 2), 300.0, np.float16)
    maps[:, ::2] += 0.5
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        inputs = keras.Input((None, None, 4), dtype="float16")
        outputs = keras.Model(inputs, instance_batch_norm(inputs, "conv"))(np.tile(maps, 2))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert outputs.dtype == tf.float16
    # The sum of squares overflows half precision; the deviation is 1/4.
    expected = normalised(maps.astype(np.float64), 1.0, 0.0)
    np.testing.assert_allclose(np.asarray(outputs, np.float64)[..., :2], expected, atol=2e-3)


def test_half_the_channels_each():
    inputs = keras.Input((None, None, 6))
    model = keras.Model(inputs, instance_batch_norm(inputs, "conv", epsilon=1e-5))
    assert model.output_shape == (None, None, None, 6)
    instance, batch = model.get_layer("conv_in"), model.get_layer("conv_bn")
    instance.gamma.assign(GAMMA[:3])
    instance.beta.assign(BETA[:3])
    batch.gamma.assign(GAMMA[3:])
    batch.beta.assign(BETA[3:])
    first = normalised(MAPS[..., :3], GAMMA[:3], BETA[:3])
    rest = MAPS[..., 3:]
    over_batch = (rest - rest.mean((0, 1, 2))) / np.sqrt(rest.var((0, 1, 2)) + 1e-5)
    expected = np.concatenate([first, over_batch * GAMMA[3:] + BETA[3:]], -1)
    np.testing.assert_allclose(model(MAPS, training=True), expected, atol=1e-5)
    batch.moving_mean.assign([1.0, 2.0, 3.0])
    batch.moving_variance.assign([4.0, 5.0, 6.0])
    fixed = (rest - [1, 2, 3]) / np.sqrt(np.array([4, 5, 6]) + 1e-5) * GAMMA[3:] + BETA[3:]
    expected = np.concatenate([first, fixed], -1)
    np.testing.assert_allclose(model(MAPS, training=False), expected, atol=1e-5)
