"""Global pooling against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfreid.layers.pooling import GeneralizedMeanPooling, pool

MAPS = np.random.default_rng(0).normal(1, 2, (3, 5, 4, 6)).astype(np.float32)


def generalized_mean(maps, p):
    return np.mean(np.maximum(maps.astype(np.float64), 1e-6) ** p, (1, 2)) ** (1 / p)


@pytest.mark.parametrize(
    "method, expected",
    [
        ("average", MAPS.mean((1, 2))),
        ("max", MAPS.max((1, 2))),
        ("gem", generalized_mean(MAPS, 3)),
        ("flatten", MAPS.reshape(3, -1)),
    ],
)
def test_pool(method, expected):
    np.testing.assert_allclose(pool(MAPS, method), expected, rtol=1e-5, atol=1e-6)


def test_unknown_method():
    with pytest.raises(ValueError, match="average, max, gem, flatten, got 'mean'"):
        pool(MAPS, "mean")


def test_gem_of_one_is_the_average_and_of_many_the_maximum():
    positive = np.abs(MAPS)
    average = GeneralizedMeanPooling(p=1.0)(positive)
    np.testing.assert_allclose(average, positive.mean((1, 2)), rtol=1e-5)
    maximum = GeneralizedMeanPooling(p=300.0)(positive)
    np.testing.assert_allclose(maximum, positive.max((1, 2)), rtol=0.02)


def test_gem_gradients_match_finite_differences():
    layer = GeneralizedMeanPooling(p=2.5)
    maps = tf.constant(np.abs(MAPS[:1]) + 0.1)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        total = tf.reduce_sum(layer(maps))
    by_maps, by_p = tape.gradient(total, [maps, layer.trainable_weights[0]])
    step = 1e-4

    def total_at(maps, p):
        return generalized_mean(maps, p).sum()

    wide = maps.numpy().astype(np.float64)
    difference = (total_at(wide, 2.5 + step) - total_at(wide, 2.5 - step)) / (2 * step)
    np.testing.assert_allclose(by_p, difference, rtol=1e-3)
    nudge = np.zeros_like(wide)
    nudge[0, 2, 1, 3] = step
    difference = (total_at(wide + nudge, 2.5) - total_at(wide - nudge, 2.5)) / (2 * step)
    np.testing.assert_allclose(by_maps[0, 2, 1, 3], difference, rtol=1e-3)


def test_gem_survives_half_precision_and_dead_channels():
    maps = np.full((1, 8, 8, 2), 300.0, np.float16)
    maps[..., 1] = 0
    layer = GeneralizedMeanPooling(dtype="mixed_float16")
    pooled = layer(maps)
    assert pooled.dtype == tf.float16
    np.testing.assert_allclose(pooled, [[300, 0]], rtol=1e-3, atol=1e-5)


def test_gem_config_round_trip():
    layer = GeneralizedMeanPooling(p=4.0, epsilon=1e-5, name="gem")
    copy = GeneralizedMeanPooling.from_config(layer.get_config())
    assert (copy.initial_p, copy.epsilon, copy.name) == (4.0, 1e-5, "gem")
