"""The binary cross-entropy of pairs, by hand, against NumPy and against the softmax of two."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.losses.verification import VerificationLoss, pair_softmax, verification_loss

LOGITS = np.array([0.0, np.log(3.0), -np.log(3.0), 2.5, -30.0, 40.0, 90.0, -90.0])
MATCHES = np.array([1, 1, 0, 0, 1, 0, 1, 0])


def expected(logits, matches):
    # -log p = log(1 + exp(-logit)), and that of the other side with the sign turned.
    return np.logaddexp(0.0, np.where(matches, -logits, logits))


def test_by_hand():
    # Probabilities 1/2, 3/4 and 1/4.
    np.testing.assert_allclose(verification_loss(LOGITS[:3], MATCHES[:3]),
                               [np.log(2), np.log(4 / 3), np.log(4 / 3)], rtol=1e-6)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
@pytest.mark.parametrize("truth", [np.int32, bool, np.float32])
def test_against_numpy(kind, shape, truth):
    logits = LOGITS.astype(kind)
    found = verification_loss(logits.reshape(shape), MATCHES.astype(truth).reshape(shape))
    assert found.dtype == tf.float32 and found.shape == (8,)
    np.testing.assert_allclose(found, expected(logits.astype(np.float64), MATCHES),
                               rtol=1e-6, atol=1e-6)


def test_it_is_the_softmax_of_no_match_and_match():
    pairs = np.stack([np.zeros(8), LOGITS], axis=1).astype(np.float32)
    np.testing.assert_allclose(verification_loss(LOGITS, MATCHES), pair_softmax(pairs, MATCHES),
                               rtol=1e-6, atol=1e-6)


def test_the_gradient_is_probability_less_truth():
    logits = tf.Variable(LOGITS, dtype=tf.float32)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(verification_loss(logits, MATCHES))
    np.testing.assert_allclose(tape.gradient(total, logits),
                               np.exp(-np.logaddexp(0, -LOGITS)) - MATCHES, rtol=1e-5, atol=1e-7)


def test_the_keras_loss_is_the_mean():
    loss = VerificationLoss()
    found = loss(tf.constant(MATCHES), tf.constant(LOGITS, tf.float32))
    np.testing.assert_allclose(found, expected(LOGITS, MATCHES).mean(), rtol=1e-6)
    copy = VerificationLoss.from_config(loss.get_config())
    assert copy.name == "verification" and isinstance(copy, keras.losses.Loss)
