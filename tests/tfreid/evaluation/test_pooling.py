"""Features of several images made into one."""

from __future__ import annotations

import numpy as np
import pytest

from tfreid.evaluation.pooling import comparable_rows, pool_blocks


def blocks_of(features, size, order=None):
    order = np.arange(len(features)) if order is None else order
    return [(order[start : start + size], features[order[start : start + size]])
            for start in range(0, len(order), size)]


def test_case_worked_on_paper():
    # As directions, row 0 is the mean of (0.6, 0.8) and (0, 1), row 1 that of (1, 0) alone.
    features, rows = np.float32([[3, 4], [9, 0], [0, 2]]), np.array([0, 1, 0])
    np.testing.assert_allclose(pool_blocks(blocks_of(features, 2), rows, "cosine"),
                               [[0.3, 0.9], [1, 0]], atol=1e-7)
    np.testing.assert_array_equal(pool_blocks(blocks_of(features, 2), rows, "euclidean"),
                                  [[1.5, 3], [9, 0]])
    np.testing.assert_array_equal(pool_blocks(blocks_of(features, 2), rows, "euclidean", "max"),
                                  [[3, 4], [9, 0]])
    np.testing.assert_allclose(pool_blocks(blocks_of(features, 2), rows, "cosine", "max"),
                               [[0.6, 1], [1, 0]], atol=1e-7)


def test_correlation_averages_directions_of_centred_rows():
    # Less their means the rows are (-1, 1) and (2, -2), whose unit vectors cancel out.
    features = np.float32([[0, 2], [7, 3]])
    np.testing.assert_allclose(pool_blocks(blocks_of(features, 1), np.zeros(2, int), "correlation"),
                               [[0, 0]], atol=1e-7)
    assert comparable_rows(features, "dot") is features


@pytest.mark.parametrize("method, reduce", [("mean", np.mean), ("max", np.max)])
def test_agrees_with_a_plain_loop_in_any_order(method, reduce):
    random = np.random.default_rng(0)
    # Below zero, so that a maximum that began at zero would show.
    features = random.standard_normal((60, 5), np.float32) - 4
    rows = np.concatenate([np.arange(7), random.integers(0, 7, 53)])
    expected = [reduce(features[rows == row].astype(float), axis=0) for row in range(7)]
    for size in (1, 8, 60):
        found = pool_blocks(blocks_of(features, size, random.permutation(60)), rows, "euclidean",
                            method)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_bad_arguments():
    features, rows = np.ones((3, 2), np.float32), np.array([0, 1, 1])
    with pytest.raises(ValueError, match="method must be one of mean, max"):
        pool_blocks(blocks_of(features, 2), rows, method="median")
    with pytest.raises(ValueError, match="hold 2 images, and there are 3"):
        pool_blocks(blocks_of(features[:2], 2), rows)
