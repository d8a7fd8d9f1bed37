"""Batch normalisation of feature maps against NumPy, on whichever Keras runs."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.layers.normalization import batch_norm

MAPS = np.random.default_rng(0).normal(2, 3, (4, 5, 3, 6)).astype(np.float32)
EPSILON = 1.001e-5


def build(channels=6, **settings):
    inputs = keras.Input((5, 3, channels))
    model = keras.Model(inputs, batch_norm(inputs, "bn", **settings))
    generator = np.random.default_rng(1)
    layer = model.get_layer("bn")
    for variable in (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance):
        variable.assign(generator.uniform(0.5, 1.5, channels))
    return model, layer, [np.asarray(v.numpy(), np.float64) for v in layer.weights]


def normalise(maps, gamma, beta, mean, variance):
    return (maps - mean) / np.sqrt(variance + EPSILON) * gamma + beta


def test_training_normalises_by_the_batch_and_moves_the_statistics():
    model, layer, (gamma, beta, mean, variance) = build(epsilon=EPSILON)
    samples = MAPS.astype(np.float64).reshape(-1, 6)
    expected = normalise(MAPS, gamma, beta, samples.mean(0), samples.var(0))
    np.testing.assert_allclose(model(MAPS, training=True), expected, atol=1e-4)
    moved = 0.9 * mean + 0.1 * samples.mean(0)
    np.testing.assert_allclose(layer.moving_mean.numpy(), moved, rtol=1e-5)
    moved = 0.9 * variance + 0.1 * samples.var(0, ddof=1)
    np.testing.assert_allclose(layer.moving_variance.numpy(), moved, rtol=1e-5)


@pytest.mark.parametrize("training, trainable", [(False, True), (None, True), (True, False)])
def test_inference_and_frozen_layers_use_the_moving_statistics(training, trainable):
    model, layer, weights = build(epsilon=EPSILON)
    layer.trainable = trainable
    np.testing.assert_allclose(
        model(MAPS, training=training), normalise(MAPS, *weights), atol=1e-4
    )
    for variable, before in zip((layer.moving_mean, layer.moving_variance), weights[2:]):
        np.testing.assert_allclose(variable.numpy(), before, rtol=1e-6)


def test_gradients_are_those_of_the_formula():
    model, layer, (gamma, beta, _, _) = build()
    target = tf.constant(np.random.default_rng(2).normal(size=MAPS.shape).astype(np.float32))
    maps = tf.constant(MAPS)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(maps)
        loss = tf.reduce_sum(target * model(maps, training=True))
        mean, variance = tf.nn.moments(maps, [0, 1, 2])
        formula = (maps - mean) * tf.math.rsqrt(variance + EPSILON) * gamma.astype("f")
        by_formula = tf.reduce_sum(target * formula)
    np.testing.assert_allclose(
        tape.gradient(loss, maps), tape.gradient(by_formula, maps), atol=1e-5
    )
    by_gamma, by_beta = tape.gradient(loss, model.trainable_variables)
    np.testing.assert_allclose(by_beta, target.numpy().sum((0, 1, 2)), atol=1e-4)
    expected = (target * formula).numpy().sum((0, 1, 2)) / gamma
    np.testing.assert_allclose(by_gamma, expected, atol=1e-3)


def test_half_precision_keeps_float32_statistics():
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model, layer, (gamma, beta, mean, _) = build()
        outputs = model(MAPS, training=True)
    finally:
        keras.mixed_precision.set_global_policy(policy)
    assert outputs.dtype == tf.float16
    samples = MAPS.astype(np.float16).astype(np.float64).reshape(-1, 6)
    expected = normalise(MAPS, gamma, beta, samples.mean(0), samples.var(0))
    np.testing.assert_allclose(outputs, expected, atol=0.02)
    moved = 0.9 * mean + 0.1 * samples.mean(0)
    np.testing.assert_allclose(layer.moving_mean.numpy(), moved, rtol=1e-5)
