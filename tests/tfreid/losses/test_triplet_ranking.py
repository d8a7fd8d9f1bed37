"""The triplet loss of dot products against NumPy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfreid.losses.triplet_ranking import TripletRankingLoss, triplet_ranking


def three_streams(count=50, dimensions=6):
    streams = np.random.default_rng(0).standard_normal((3, count, dimensions))
    return (streams / np.linalg.norm(streams, axis=2, keepdims=True)).astype(np.float32)


def expected(streams, margin):
    query, positive, negative = streams.astype(float)
    return [max(0.0, margin + q @ n - q @ p) for q, p, n in zip(query, positive, negative)]


@pytest.mark.parametrize("margin", [0.1, 0.7])
def test_values_and_gradients_against_numpy(margin):
    streams = three_streams()
    tensors = [tf.constant(stream) for stream in streams]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        losses = triplet_ranking(*tensors, margin)
    wanted = np.array(expected(streams, margin))
    assert 0 < np.count_nonzero(wanted) < len(wanted)
    np.testing.assert_allclose(losses, wanted, atol=1e-6)
    active = (wanted > 0)[:, np.newaxis]
    query, positive, negative = streams
    slopes = (negative - positive, -query, query)
    for found, slope in zip(tape.gradient(losses, tensors), slopes):
        np.testing.assert_allclose(found, active * slope, atol=1e-6)


def test_by_hand():
    # q.d- = 0.6, q.d+ = 0.8: 0.1 + 0.6 - 0.8 < 0; at margin 0.3 it is 0.1.
    streams = [[1.0, 0.0]], [[0.8, 0.6]], [[0.6, -0.8]]
    assert triplet_ranking(*streams).numpy().tolist() == [0.0]
    np.testing.assert_allclose(triplet_ranking(*streams, 0.3), [0.1], atol=1e-6)


def test_class_is_the_mean_of_the_function_and_rebuilt_from_its_config():
    streams = three_streams()
    loss = TripletRankingLoss(0.4)
    mean = loss(np.zeros(50), np.stack(streams, axis=1))
    np.testing.assert_allclose(mean, np.mean(expected(streams, 0.4)), rtol=1e-5)
    assert TripletRankingLoss.from_config(loss.get_config()).settings == {"margin": 0.4}


@pytest.mark.parametrize("margin", [0, -1.0, float("inf"), float("nan")])
def test_refuses_margins_out_of_range(margin):
    for function in (lambda: triplet_ranking([[0.0]], [[1.0]], [[1.0]], margin),
                     lambda: TripletRankingLoss(margin)):
        with pytest.raises(ValueError, match=f"margin={margin}"):
            function()
