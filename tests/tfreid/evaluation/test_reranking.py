"""Re-ranking against a dense reference written from the paper, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from tfrecords.errors import UserError
from tfreid.evaluation import reranking
from tfreid.evaluation.reranking import k_reciprocal_rerank


def reranked_by_loops(query, gallery, k1, k2, lambda_value):
    """Zhong et al., CVPR 2017, Section 3, with full matrices and sets."""
    features = np.concatenate([query, gallery]).astype(np.float64)
    count = len(features)
    squared = cdist(features, features, "sqeuclidean")
    largest = squared.max(axis=1, keepdims=True)
    share = squared / np.where(largest > 0, largest, 1)
    np.fill_diagonal(squared, -1)  # an image is its own nearest
    order = np.argsort(squared, axis=1, kind="stable")

    def reciprocal(image, k):
        """R(image, k), Eq. 3."""
        return {int(other) for other in order[image, : k + 1] if image in order[other, : k + 1]}

    encodings = np.zeros((count, count))
    for image in range(count):
        near = reciprocal(image, k1)
        expanded = set(near)
        for candidate in near:
            others = reciprocal(candidate, int(np.around(k1 / 2)))
            if len(others & near) > 2 / 3 * len(others):  # Eq. 4; the code has > for the >=
                expanded |= others
        members = sorted(expanded)
        weights = np.exp(-share[image, members])
        encodings[image, members] = weights / weights.sum()
    encodings = np.stack([encodings[order[image, :k2]].mean(axis=0) for image in range(count)])
    final = np.empty((len(query), len(gallery)))
    for row in range(len(query)):
        for column in range(len(gallery)):
            image = len(query) + column
            smaller = np.minimum(encodings[row], encodings[image]).sum()
            larger = np.maximum(encodings[row], encodings[image]).sum()
            jaccard = 1 - smaller / larger
            final[row, column] = (1 - lambda_value) * jaccard + lambda_value * share[row, image]
    return final


def clustered(seed, num_query=17, num_gallery=120, num_identities=11, width=12, dtype=np.float32):
    """Features around one centre for each identity, and some anywhere."""
    rng = np.random.default_rng(seed)
    centers = 1.5 * rng.standard_normal((num_identities, width))
    sides = []
    for count in (num_query, num_gallery):
        identities = rng.integers(0, num_identities, count)
        sides.append((centers[identities] + rng.standard_normal((count, width))).astype(dtype))
    return sides


@pytest.mark.parametrize("k1, k2, lambda_value", [
    (20, 6, 0.3), (20, 1, 0.3), (5, 3, 0.0), (7, 9, 0.8), (1, 1, 0.5), (2, 2, 0.1), (30, 40, 1.0),
])
def test_agrees_with_the_dense_reference(k1, k2, lambda_value):
    query, gallery = clustered(k1)
    found = k_reciprocal_rerank(query, gallery, k1, k2, lambda_value)
    assert found.dtype == np.float32 and found.shape == (17, 120)
    expected = reranked_by_loops(query, gallery, k1, k2, lambda_value)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_default_is_the_papers():
    query, gallery = clustered(1)
    np.testing.assert_array_equal(
        k_reciprocal_rerank(query, gallery),
        k_reciprocal_rerank(query, gallery, k1=20, k2=6, lambda_value=0.3))


def test_blocks_and_groups_do_not_matter(monkeypatch):
    query, gallery = clustered(3)
    expected = reranked_by_loops(query, gallery, 6, 3, 0.3)
    for name, value in (("_BLOCK_ROWS", 10), ("_GROUPS", 40), ("_PAIRS_AT_ONCE", 50)):
        monkeypatch.setattr(reranking, name, value)
    np.testing.assert_allclose(
        k_reciprocal_rerank(query, gallery, 6, 3, 0.3), expected, atol=1e-5)


@pytest.mark.parametrize("scale, shift", [(1e-12, 0.0), (1e12, 0.0), (1.0, 3000.0)])
def test_features_may_be_small_large_or_far_from_zero(scale, shift):
    query, gallery = (scale * side + shift for side in clustered(4, dtype=np.float64))
    expected = reranked_by_loops(query, gallery, 6, 3, 0.3)
    np.testing.assert_allclose(
        k_reciprocal_rerank(query, gallery, 6, 3, 0.3), expected, atol=1e-5)


def test_fewer_images_than_neighbours():
    query, gallery = clustered(5, num_query=2, num_gallery=5)
    expected = reranked_by_loops(query, gallery, 20, 6, 0.3)
    np.testing.assert_allclose(k_reciprocal_rerank(query, gallery), expected, atol=1e-5)


def test_one_query_and_one_image():
    query, gallery = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    # Both are each other's neighbours at the largest distance, so each weighs itself by 1 and the
    # other by 1/e; averaged over both (k2), the encodings are equal: 0.7 * 0 + 0.3 * 1.
    np.testing.assert_allclose(k_reciprocal_rerank(query, gallery), [[0.3]], atol=1e-6)
    # Without that average, the minima sum to 2 / (e + 1) and the maxima to 2 - that.
    shared = 2 / (np.e + 1)
    np.testing.assert_allclose(
        k_reciprocal_rerank(query, gallery, k2=1),
        [[0.7 * (1 - shared / (2 - shared)) + 0.3]], atol=1e-6)


@pytest.mark.parametrize("copies", [2, 40])
def test_equal_features_and_zero_vectors(copies):
    query, gallery = clustered(6)
    query[0] = 0.0
    gallery[:copies] = query[1]
    gallery[60 : 60 + copies] = 0.0
    expected = reranked_by_loops(query, gallery, 8, 3, 0.3)
    found = k_reciprocal_rerank(query, gallery, 8, 3, 0.3)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_all_features_equal():
    found = k_reciprocal_rerank(np.ones((3, 4)), np.ones((90, 4)), k1=5)
    assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 0.7 + 1e-6


def test_cosine_takes_unit_vectors_and_correlation_centred_ones():
    query, gallery = clustered(7)

    def unit(rows):
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)

    for metric, prepare in (("cosine", unit),
                            ("correlation", lambda x: unit(x - x.mean(axis=1, keepdims=True)))):
        expected = reranked_by_loops(prepare(query), prepare(gallery), 8, 4, 0.3)
        np.testing.assert_allclose(
            k_reciprocal_rerank(query, gallery, 8, 4, 0.3, metric=metric), expected, atol=1e-5)


def test_neighbours_are_better_than_plain_distances_on_chained_clusters():
    # Two rings' arcs: the far end of a query's own arc is further than the other arc's near end.
    angle = np.linspace(0, np.pi / 2, 60)
    arc = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    gallery = np.concatenate([arc[1:], 1.7 * arc])
    found = k_reciprocal_rerank(arc[:1], gallery, k1=10, k2=6)
    own, other = found[0, :12], found[0, 59:71]
    assert own.max() < other.min()


def test_inputs_stay_untouched():
    query, gallery = clustered(8)
    before = query.copy(), gallery.copy()
    k_reciprocal_rerank(query, gallery)
    np.testing.assert_array_equal(query, before[0])
    np.testing.assert_array_equal(gallery, before[1])


def test_mistakes():
    query, gallery = clustered(9)
    with pytest.raises(UserError, match="'cityblock' is not supported"):
        k_reciprocal_rerank(query, gallery, metric="cityblock")
    with pytest.raises(UserError, match="12 dimensions and the gallery features 11"):
        k_reciprocal_rerank(query, gallery[:, :11])
    with pytest.raises(UserError, match="non-empty"):
        k_reciprocal_rerank(query, gallery[:0])
    gallery[5] = np.nan
    with pytest.raises(UserError, match="NaN or infinity in 1 of 120 rows"):
        k_reciprocal_rerank(query, gallery)
    for wrong in ({"k1": 0}, {"k2": 0}, {"lambda_value": 1.5}):
        with pytest.raises(ValueError, match="received"):
            k_reciprocal_rerank(query, query, **wrong)
