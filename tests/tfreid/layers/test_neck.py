"""The batch-normalisation neck against NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfreid.layers.normalization import batch_norm_neck


def neck_model(**settings):
    inputs = keras.Input((5,))
    return keras.Model(inputs, batch_norm_neck(inputs, **settings))


def test_training_normalises_over_the_batch():
    batch = np.random.default_rng(0).normal(3, 2, (16, 5)).astype(np.float32)
    model = neck_model()
    expected = (batch - batch.mean(0)) / np.sqrt(batch.var(0) + 1e-5)
    np.testing.assert_allclose(model(batch, training=True), expected, atol=1e-4)
    mean = model.get_layer("neck").moving_mean
    np.testing.assert_allclose(mean, 0.1 * batch.mean(0), rtol=1e-4)


@pytest.mark.parametrize("bias, weights", [(False, 5), (True, 10)])
def test_bias_is_trained_on_request(bias, weights):
    assert sum(int(np.prod(v.shape)) for v in neck_model(bias=bias).trainable_weights) == weights
