"""Distances against SciPy's pairwise ones."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.distance import cdist

import tfreid.evaluation.distances as distances_module
from tfrecords.errors import UserError
from tfreid.evaluation.distances import (
    METRICS,
    find_metric,
    metric_name,
    paired_distances,
    pairwise_distances,
    scaled_cosine_metric,
    weighted_metric,
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["cosine", "correlation", "euclidean", "cityblock"])
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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [1, 1.5, 2, 3.0, 4, 7, 20, 32])
def test_minkowski_agrees_with_scipy(p, dtype):
    rng = np.random.default_rng(2)
    # Differences of unit vectors are small, and their high powers leave float32.
    query = rng.standard_normal((7, 65)).astype(dtype) / 20
    gallery = rng.standard_normal((11, 65)).astype(dtype) / 20
    gallery[4] = query[2]
    distances = pairwise_distances(query, gallery, "minkowski", p=p)
    assert distances.dtype == np.float32
    expected = cdist(query.astype(np.float64), gallery.astype(np.float64), "minkowski", p=p)
    np.testing.assert_allclose(distances, expected, rtol=1e-5)
    assert distances[2, 4] == 0


def test_the_default_exponent_is_three():
    distances = pairwise_distances(np.zeros((1, 2)), np.array([[1.0, 2.0]]), "minkowski")
    np.testing.assert_allclose(distances, [[9.0 ** (1 / 3)]], rtol=1e-6)


@pytest.mark.parametrize("count", [1, 255, 300])
def test_differences_are_summed_over_all_tiles(count, monkeypatch):
    monkeypatch.setattr(distances_module, "_TILE_ELEMENTS", 256 * 8)
    rng = np.random.default_rng(3)
    query = rng.standard_normal((3, 8), np.float32)
    gallery = rng.standard_normal((count, 8), np.float32)
    for metric in ("cityblock", "minkowski"):
        np.testing.assert_allclose(
            pairwise_distances(query, gallery, metric, p=3),
            cdist(query, gallery, metric, **({"p": 3} if metric == "minkowski" else {})),
            rtol=1e-5)


def test_dot_is_the_negative_inner_product():
    distances = pairwise_distances(np.array([[1.0, 2.0], [0.0, -1.0]]), np.array([[3.0, 4.0]]),
                                   "dot")
    # 1 * 3 + 2 * 4 = 11 and -1 * 4 = -4: the first is the more alike.
    assert distances.tolist() == [[-11.0], [4.0]]


def test_constant_rows_correlate_with_nothing():
    constant = np.full((1, 3), 0.1, np.float32)
    rows = np.array([[0.1, 0.1, 0.1], [1.0, 2.0, 3.0]], np.float32)
    np.testing.assert_array_equal(pairwise_distances(constant, rows, "correlation"), [[1, 1]])


@pytest.mark.parametrize("p", [0.5, 0, -1, 33, float("nan")])
def test_an_exponent_out_of_range_is_refused(p):
    with pytest.raises(UserError, match="exponent must be from 1 to 32"):
        pairwise_distances(np.ones((1, 2)), np.ones((1, 2)), "minkowski", p=p)


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


@pytest.mark.parametrize("squared", [False, True])
def test_weighted_differences_against_numpy(squared):
    random = np.random.default_rng(1)
    query, gallery = random.normal(size=(3, 5)), random.normal(size=(7, 5))
    weights = random.normal(size=5)  # some below zero
    metric = weighted_metric("probability", weights, squared)
    found = metric.between(metric.prepare(query), metric.prepare(gallery))
    sizes = np.abs(query[:, None] - gallery[None]) ** (2 if squared else 1)
    np.testing.assert_allclose(found, sizes @ weights, rtol=1e-5, atol=1e-6)
    assert find_metric(metric) is metric and metric_name(metric) == "probability"


def test_a_scaled_cosine_may_turn_the_order_around():
    random = np.random.default_rng(2)
    query, gallery = random.normal(size=(3, 5)), random.normal(size=(7, 5))
    metric = scaled_cosine_metric("probability", -2.0)
    found = metric.between(metric.prepare(query), metric.prepare(gallery))
    np.testing.assert_allclose(found, -2.0 * pairwise_distances(query, gallery), rtol=1e-5,
                               atol=1e-6)


@pytest.mark.parametrize("p", [1.0, 3.0, 32.0])
@pytest.mark.parametrize("metric", sorted(METRICS))
def test_the_graphs_distances_of_pairs_agree(metric, p):
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((2, 8, 33)).astype(np.float32) / 20
    second[1] = first[1]
    first[2] = 0.0
    first[3] = 0.1
    first[4] = second[4] = 0.0
    found = tf.function(paired_distances)(tf.constant(first), tf.constant(second), metric, p)
    expected = np.diagonal(pairwise_distances(first, second, metric, p))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_graph_knows_no_other_metric():
    with pytest.raises(ValueError, match="'cosin'"):
        paired_distances(tf.zeros([1, 2]), tf.zeros([1, 2]), "cosin")
