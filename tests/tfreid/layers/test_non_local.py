"""Non-local blocks against NumPy, which takes all pairs of positions one by one."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.layers.non_local import PairwiseSum, non_local_block
from tfreid.weights.files import weight_keys

MAPS = np.random.default_rng(0).normal(size=(2, 3, 4, 6)).astype(np.float32)


def pairwise(theta, phi, g):
    """Wang et al. (2018), Eq. 1 with the dot products of Eq. 4."""
    sums = np.zeros_like(theta)
    positions = list(np.ndindex(theta.shape[1:3]))
    for image in range(len(theta)):
        for i in positions:
            weighted = [theta[image][i] @ phi[image][j] * g[image][j] for j in positions]
            sums[image][i] = np.sum(weighted, 0) / len(positions)
    return sums


def block(shape=(None, None, 6), channels=None):
    """A block with drawn weights and statistics, and these."""
    inputs = keras.Input(shape)
    model = keras.Model(inputs, non_local_block(inputs, "nl", channels))
    weights = {}
    for number, (key, variable) in enumerate(sorted(weight_keys(model).items())):
        draw = np.random.default_rng(number)
        weights[key] = draw.uniform(0.5, 1.5, variable.shape).astype(np.float32)
        variable.assign(weights[key])
    return model, weights


@pytest.mark.parametrize("shape", [(None, None, 6), (3, 4, 6)])
@pytest.mark.parametrize("channels, inner", [(None, 3), (1, 1)])
def test_block(shape, channels, inner):
    model, weights = block(shape, channels)
    parts = []
    for part in ("theta", "phi", "g"):
        kernel = weights[f"nl_{part}/kernel"]
        assert kernel.shape == (1, 1, 6, inner)
        parts.append(MAPS @ kernel[0, 0] + weights[f"nl_{part}/bias"])
    y = pairwise(*parts) @ weights["nl_out/kernel"][0, 0] + weights["nl_out/bias"]
    mean, variance, gamma, beta = (
        weights[f"nl_out_bn/{part}"]
        for part in ("moving_mean", "moving_variance", "gamma", "beta"))
    expected = MAPS + (y - mean) / np.sqrt(variance + 1e-5) * gamma + beta
    assert np.abs(expected - MAPS).max() > 1
    np.testing.assert_allclose(model(MAPS), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_a_new_block_changes_nothing_yet_learns(training):
    inputs = keras.Input((3, 4, 6))
    model = keras.Model(inputs, non_local_block(inputs, "nl"))
    with tf.GradientTape() as tape:
        outputs = model(MAPS, training=training)
        loss = tf.reduce_sum(outputs * np.arange(6, dtype=np.float32) * MAPS)
    np.testing.assert_allclose(outputs, MAPS, atol=1e-6)
    gamma = weight_keys(model)["nl_out_bn/gamma"]
    gamma = gamma if isinstance(gamma, tf.Variable) else gamma.value  # of Keras 2, of Keras 3
    assert np.abs(tape.gradient(loss, gamma)).max() > 0


def test_half_precision_sums_in_float32():
    """Half precision holds neither the sums nor, of larger values, their thousands of products."""
    maps = np.full((1, 50, 80, 2), 300.0, np.float16)
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        sums = PairwiseSum()([maps, maps, maps])
        inputs = keras.Input((50, 80, 2), dtype="float16")
        outputs = keras.Model(inputs, non_local_block(inputs, "nl"))(maps)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert sums.dtype == tf.float32 and outputs.dtype == tf.float16
    np.testing.assert_allclose(sums, np.full(maps.shape, 2 * 300.0**3), rtol=1e-5)
    np.testing.assert_array_equal(outputs, maps)
