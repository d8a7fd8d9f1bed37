"""Mined triplets against all triplets, one by one."""

from __future__ import annotations

import numpy as np
import pytest

from tfreid.systems.triplet.mining import draw_triplets, hardest_triplets, possible_queries

MARGIN = 0.1


def unit_features(count, dimensions, seed=0):
    features = np.random.default_rng(seed).standard_normal((count, dimensions))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)


def all_triplets(features, labels, query):
    """Every (loss before the hinge, positive, negative) of a query, hardest first."""
    found = []
    similarities = features[[query]] @ features.T
    for positive in np.flatnonzero(labels == labels[query]):
        for negative in np.flatnonzero(labels != labels[query]):
            if positive != query:
                difference = float(similarities[0, negative]) - float(similarities[0, positive])
                found.append((MARGIN + difference, positive, negative))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("count", [1, 3, 25])
@pytest.mark.parametrize(("images", "identities"), [(90, 7), (40, 2), (60, 25)])
def test_the_hardest_are_those_of_all_triplets(images, identities, count):
    random = np.random.default_rng(images)
    labels = random.integers(0, identities, images)
    features = unit_features(images, 16, images)
    queries = possible_queries(labels)
    mined = hardest_triplets(features, labels, queries, MARGIN, count)
    for row, query in enumerate(queries):
        expected = all_triplets(features, labels, query)[:count]
        size = len(expected)
        losses, positives, negatives = map(np.array, zip(*expected))
        np.testing.assert_array_equal(mined.positives[row, :size], positives)
        np.testing.assert_array_equal(mined.negatives[row, :size], negatives)
        np.testing.assert_allclose(mined.losses[row, :size], np.maximum(losses, 0), atol=1e-6)
        assert np.all(mined.positives[row, size:] == -1)
        assert np.all(mined.negatives[row, size:] == -1)
        assert np.all(np.isnan(mined.losses[row, size:]))


def test_a_case_on_paper():
    """Similarities to the query: positives 0.8 and 0.6, negatives 0.0 and 0.96.

    0.1 + 0.96 - 0.6 = 0.46 and 0.1 + 0.96 - 0.8 = 0.26; the triplets with 0.0 cost nothing.
    """
    features = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1], [0.96, 0.28]], np.float32)
    labels = np.array([3, 3, 3, 1, 2])
    mined = hardest_triplets(features, labels, np.array([0]), MARGIN, 4)
    assert mined.positives.tolist() == [[2, 1, 2, 1]]
    assert mined.negatives.tolist() == [[4, 4, 3, 3]]
    np.testing.assert_allclose(mined.losses, [[0.46, 0.26, 0.0, 0.0]], atol=1e-6)


def test_images_alike_come_in_order_of_their_rows():
    features = np.tile(unit_features(1, 8), (6, 1))
    mined = hardest_triplets(features, np.array([0, 1, 0, 1, 0, 1]), np.array([2]), MARGIN, 3)
    assert mined.positives.tolist() == [[0, 0, 0]] and mined.negatives.tolist() == [[1, 3, 5]]


def test_no_query_has_no_triplets():
    mined = hardest_triplets(unit_features(3, 4), np.arange(3), np.arange(0), MARGIN, 5)
    assert mined.positives.shape == mined.negatives.shape == mined.losses.shape == (0, 5)


def test_who_can_be_a_query():
    assert possible_queries(np.array([5, 2, 5, 7])).tolist() == [0, 2]
    assert possible_queries(np.array([1, 1, 1])).tolist() == []


def test_more_queries_than_a_block_are_mined_alike(monkeypatch):
    labels = np.arange(30) % 5
    features = unit_features(30, 8)
    whole = hardest_triplets(features, labels, np.arange(30), MARGIN, 4)
    monkeypatch.setattr("tfreid.systems.triplet.mining._BLOCK", 7)
    blocks = hardest_triplets(features, labels, np.arange(30), MARGIN, 4)
    np.testing.assert_array_equal(whole.positives, blocks.positives)
    np.testing.assert_array_equal(whole.negatives, blocks.negatives)


def test_drawn_triplets_are_random_ones_of_the_hardest_of_random_queries():
    labels = np.append(np.arange(40) % 8, 99)  # the last one has no positive
    features = unit_features(41, 8)
    triplets, losses, _ = draw_triplets(
        features, labels, MARGIN, 90, 5, np.random.default_rng(0))
    counts = np.bincount(triplets[:, 0], minlength=41)
    assert counts[40] == 0 and set(counts[:40]) == {2, 3}  # 90 of 40 queries
    ranks = []
    for (query, positive, negative), loss in zip(triplets, losses):
        hardest = all_triplets(features, labels, query)[:5]
        ranks.append([(p, n) for _, p, n in hardest].index((positive, negative)))
        assert loss == pytest.approx(max(0.0, hardest[ranks[-1]][0]), abs=1e-6)
    assert np.bincount(ranks, minlength=5).min() > 8
