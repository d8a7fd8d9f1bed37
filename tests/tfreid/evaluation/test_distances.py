"""Distances against SciPy's pairwise ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from tfrecords.errors import UserError
from tfreid.evaluation.distances import METRICS, find_metric, pairwise_distances


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_agrees_with_scipy(metric, dtype):
    rng = np.random.default_rng(1)
    query = (3.0 + rng.standard_normal((7, 33))).astype(dtype)
    gallery = (3.0 + rng.standard_normal((11, 33))).astype(dtype)
    gallery[4] = query[2]
    distances = pairwise_distances(query, gallery, metric)
    assert distances.dtype == np.float32
    expected = cdist(query.astype(np.float64), gallery.astype(np.float64), metric)
    np.testing.assert_allclose(distances, expected, rtol=1e-5, atol=1e-6)
    assert distances.min() >= 0


def test_euclidean_distance_of_close_features_far_from_zero():
    # Squared lengths are near 2e8, so float32 norms could not tell 0.25 from 0.
    query = np.full((1, 512), 600.0, np.float32)
    gallery = query.repeat(2, axis=0)
    gallery[1, 0] += 0.25
    np.testing.assert_allclose(
        pairwise_distances(query, gallery, "euclidean"), [[0.0, 0.25]], atol=1e-3
    )


def test_zero_vector_has_cosine_distance_one():
    distances = pairwise_distances(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 2.0]]))
    np.testing.assert_allclose(distances, [[1.0], [0.2]], atol=1e-6)


def test_inputs_stay_untouched():
    query = np.full((2, 3), 5.0, np.float32)
    for metric in METRICS:
        pairwise_distances(query, query, metric)
    assert np.all(query == 5.0)


def test_unknown_metric_names_the_nearest():
    with pytest.raises(UserError, match="'euclidian': did you mean 'euclidean'"):
        find_metric("euclidian")
    with pytest.raises(UserError, match="did you mean 'cosine'"):
        pairwise_distances(np.ones((1, 2)), np.ones((1, 2)), "cos")


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\(1, 2\) and \(1, 3\)"):
        pairwise_distances(np.ones((1, 2)), np.ones((1, 3)))
