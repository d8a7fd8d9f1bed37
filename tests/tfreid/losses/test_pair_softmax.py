"""The match loss by hand, against NumPy, and its gradient."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.losses.verification import PairSoftmax, pair_softmax

MATCHES = np.array([1, 0, 0, 1, 1])


def some_logits(dtype=np.float32):
    return (3 * np.random.default_rng(0).normal(size=(5, 2))).astype(dtype)


def expected(logits, matches):
    """-log of the sigmoid of the logit that is right minus the other."""
    logits = np.float64(logits)
    margin = (logits[:, 1] - logits[:, 0]) * np.where(matches, 1, -1)
    return np.log1p(np.exp(-margin))


def test_by_hand():
    # Probabilities of a match 3/4, 3/4, 1/2.
    logits = np.float32([[0, np.log(3)], [0, np.log(3)], [7, 7]])
    np.testing.assert_allclose(pair_softmax(logits, [1, 0, 1]),
                               [np.log(4 / 3), np.log(4), np.log(2)], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("matches", [MATCHES, MATCHES[:, None], MATCHES == 1, np.float32(MATCHES)])
@pytest.mark.parametrize("compiled", [False, True])
def test_matches_numpy(dtype, matches, compiled):
    function = tf.function(pair_softmax) if compiled else pair_softmax
    logits = some_logits(dtype)
    losses = function(logits, matches)
    assert losses.dtype == tf.float32 and losses.shape == (5,)
    np.testing.assert_allclose(losses, expected(logits, MATCHES), rtol=1e-5)


def test_gradient_matches_finite_differences():
    logits = some_logits()
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(pair_softmax(variable, MATCHES))
    numeric = np.zeros(logits.shape)
    for index in np.ndindex(*logits.shape):
        step = np.zeros(logits.shape)
        step[index] = 1e-5
        numeric[index] = (expected(logits + step, MATCHES)
                          - expected(logits - step, MATCHES)).sum() / 2e-5
    np.testing.assert_allclose(tape.gradient(total, variable), numeric, atol=1e-5)


@pytest.mark.parametrize("width", [1, 3])
def test_refuses_other_widths(width):
    with pytest.raises(ValueError, match=rf"shape \(5, {width}\)"):
        pair_softmax(np.zeros((5, width), np.float32), MATCHES)


def test_class_is_the_mean_of_the_function():
    logits = some_logits()
    wanted = expected(logits, MATCHES)
    np.testing.assert_allclose(PairSoftmax()(MATCHES, logits), wanted.mean(), rtol=1e-5)
    each = PairSoftmax(reduction="none")(MATCHES[:, None], logits)
    np.testing.assert_allclose(each, wanted, rtol=1e-5)


def test_class_in_a_compiled_model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Activation("linear")])
    model.compile(optimizer="sgd", loss=PairSoftmax())
    logits = some_logits()
    np.testing.assert_allclose(model.evaluate(logits, MATCHES, verbose=0),
                               expected(logits, MATCHES).mean(), rtol=1e-5)


def test_config_rebuilds_the_class():
    config = PairSoftmax(reduction="sum", name="match").get_config()
    assert PairSoftmax.from_config(config).get_config() == config
    assert (config["reduction"], config["name"]) == ("sum", "match")
