"""Training statistics against NumPy loops, and the collapse that they must recognise."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfreid.losses.statistics import (
    batch_statistics,
    collapsed,
    negative_distances,
    positive_distances,
)
from tfreid.losses.triplet import triplet_terms

LABELS = np.array([5, 5, 2, 2, 2, 9])  # the last one has no positive


def some_embeddings(dtype=np.float32):
    return (3 * np.random.default_rng(0).normal(size=(6, 8))).astype(dtype)


def expected_distances(embeddings, labels, normalize):
    rows = np.float64(embeddings)
    if normalize:
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    positive, negative = [], []
    for i in range(len(rows)):
        for j in range(i + 1, len(rows)):
            pairs = positive if labels[i] == labels[j] else negative
            pairs.append(np.linalg.norm(rows[i] - rows[j]))
    return positive, negative


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("compiled", [False, True])
def test_matches_loops(normalize, dtype, compiled):
    embeddings = some_embeddings(dtype)
    function = tf.function(batch_statistics) if compiled else batch_statistics
    margin = 1.0 if normalize else 5.0
    statistics = function(embeddings, LABELS, margin, normalize)
    positive, negative = expected_distances(embeddings, LABELS, normalize)
    raw = sum(expected_distances(embeddings, LABELS, False), [])
    norm = np.linalg.norm(np.float64(embeddings), axis=1).mean()
    active = np.asarray(triplet_terms(embeddings, LABELS, margin, normalize=normalize)[0]) > 0
    expected = {
        "distance/positive_mean": np.mean(positive),
        "distance/negative_mean": np.mean(negative),
        "embedding/norm": norm,
        "embedding/spread": np.mean(raw) / norm,
        "triplet/active_share": active.sum() / 5,
    }
    assert set(statistics) == set(expected)
    for name, value in expected.items():
        assert statistics[name].dtype == tf.float32 and statistics[name].shape == ()
        np.testing.assert_allclose(statistics[name], value, rtol=1e-5, err_msg=name)


def test_active_share_by_hand():
    # On a line: anchors 0 and 3 look 3 ahead to a positive; the nearest negatives are 4 and 1 off.
    # Losses with margin 0.5: 0, 2.5, then 2 - 1 + 0.5 = 1.5 and 2 - 3 + 0.5 < 0.
    points = np.float32([[0], [3], [4], [6]])
    assert batch_statistics(points, [0, 0, 1, 1], 0.5)["triplet/active_share"] == 0.5
    assert batch_statistics(points, [0, 0, 1, 1], "soft")["triplet/active_share"] == 1.0


@pytest.mark.parametrize("normalize", [False, True])
def test_distances_for_histograms_hold_each_pair_once(normalize):
    embeddings = some_embeddings()
    positive, negative = expected_distances(embeddings, LABELS, normalize)
    np.testing.assert_allclose(positive_distances(embeddings, LABELS, normalize), positive,
                               rtol=1e-5)
    np.testing.assert_allclose(negative_distances(embeddings, LABELS, normalize), negative,
                               rtol=1e-5)
    assert (len(positive), len(negative)) == (4, 11)


@pytest.mark.parametrize("labels", [[0] * 6, list(range(6))])
def test_means_over_nothing_are_zero(labels):
    statistics = batch_statistics(some_embeddings(), labels)
    empty = "negative" if labels[1] == 0 else "positive"
    assert statistics[f"distance/{empty}_mean"] == 0
    assert statistics["triplet/active_share"] == 0
    assert not collapsed(statistics)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_collapse_is_recognised_at_any_scale(scale):
    random = np.random.default_rng(1)
    point = random.normal(size=(1, 256))
    for noise, verdict in ((0.0, True), (0.01, True), (0.2, False), (1.0, False)):
        rows = scale * (point + noise * random.normal(size=(32, 256)))
        statistics = batch_statistics(np.float32(rows), np.repeat(range(8), 4))
        assert bool(collapsed(statistics)) is verdict, noise


def test_collapse_to_the_origin_and_to_nan_is_recognised():
    assert collapsed(batch_statistics(np.zeros((6, 8), np.float32), LABELS))
    assert collapsed(batch_statistics(np.full((6, 8), np.nan, np.float32), LABELS))


def test_threshold_is_a_cosine_of_0_99875():
    """Two unit vectors at a cosine just above and just below the documented one."""
    for cosine, verdict in ((0.9988, True), (0.9987, False)):
        pair = np.float32([[1, 0], [cosine, np.sqrt(1 - cosine**2)]])
        assert bool(collapsed(batch_statistics(pair, [0, 1]))) is verdict


def test_statistics_have_no_gradient():
    variable = tf.Variable(some_embeddings())
    with tf.GradientTape() as tape:
        total = tf.add_n(list(batch_statistics(variable, LABELS).values()))
    assert tape.gradient(total, variable) is None
