"""Expansion against a case worked on paper and against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from tfrecords.errors import UserError
from tfreid.evaluation import pooling
from tfreid.evaluation.pooling import expand_features

LINE = np.array([[0.0], [1.0], [3.0], [7.0]])


def test_case_worked_on_paper():
    """Gallery at 0, 1, 3 and 7, query at 2.

    The two images nearest to the query are at 1 and 3, the third is at 0.
    The image nearest to 0 is at 1, to 1 at 0, to 3 at 1 and to 7 at 3.
    """
    query, gallery = expand_features([[2.0]], LINE, 2, 2, "euclidean", method="replaced")
    np.testing.assert_array_equal(query, [[2]])
    np.testing.assert_array_equal(gallery, [[0.5], [0.5], [2], [5]])
    query, gallery = expand_features([[2.0]], LINE, 3, 1, "euclidean", method="replaced")
    np.testing.assert_allclose(query, [[4 / 3]], rtol=1e-6)
    np.testing.assert_array_equal(gallery, LINE)


def test_what_is_added_to_an_image_worked_on_paper():
    """Each image with one other is at 0.5, 0.5, 2 and 5; the query's nearest two are 2 and 0.5."""
    query, gallery = expand_features([[2.0]], LINE, 2, 1, "euclidean", method="added")
    np.testing.assert_array_equal(gallery, [[0.5], [0.5], [2], [5]])
    np.testing.assert_array_equal(query, [[(2 + 2 + 0.5) / 3]])


def test_ties_come_in_gallery_order():
    for order in (slice(None), slice(None, None, -1)):
        nearest, _ = expand_features([[2.0]], LINE[order], 1, 1, "euclidean", method="replaced")
        assert nearest == ([[1]] if order == slice(None) else [[3]])
    # Each of three copies has itself and the first other one, so only the last image is averaged
    # with another: with the copy that comes first.
    marked = np.float32([[1, 0], [1, 0], [1, 0], [2, 4]])
    _, gallery = expand_features(marked[:1], marked, 1, 1, "euclidean")
    np.testing.assert_array_equal(gallery, [[1, 0], [1, 0], [1, 0], [1.5, 2]])


def test_a_short_gallery_is_averaged_whole():
    for method, at in (("replaced", 4 / 3), ("added", (2 + 3 * 4 / 3) / 4)):
        query, gallery = expand_features([[2.0]], LINE[:3], 5, 10, "euclidean", method=method)
        np.testing.assert_allclose(query, [[at]], rtol=1e-6)
        np.testing.assert_allclose(gallery, [[4 / 3]] * 3, rtol=1e-6)


def test_images_with_the_same_neighbours_become_equal():
    gallery = np.random.default_rng(2).standard_normal((9, 4), np.float32)
    _, expanded = expand_features(gallery[:1], gallery, 5, 9)
    assert len(np.unique(expanded, axis=0)) == 1


def test_cosine_averages_unit_vectors():
    # The long vector counts as much as the short one.
    query, _ = expand_features([[1.0, 1.0]], [[100.0, 0.0], [0.0, 1.0]], 2, 1, method="replaced")
    np.testing.assert_allclose(query, [[0.5, 0.5]], rtol=1e-6)
    # So does an expanded image, whose mean is shorter than a unit vector: its direction counts.
    query, gallery = expand_features([[1.0, 0.0]], [[100.0, 0.0], [0.0, 1.0]], 1, 1)
    np.testing.assert_allclose(gallery, [[0.5, 0.5]] * 2, rtol=1e-6)
    np.testing.assert_allclose(query, [[(1 + 0.5**0.5) / 2, 0.5**0.5 / 2]], rtol=1e-6)


def test_an_image_is_its_own_first_neighbour_under_any_metric():
    # By inner product the long vector is everybody's nearest.
    features = np.array([[1.0, 0.0], [9.0, 9.0]])
    _, gallery = expand_features(features, features, 1, 1, "dot", method="replaced")
    np.testing.assert_array_equal(gallery, features)


def brute_force(side, gallery, count, metric, method):
    """Means of the nearest images of a gallery, with the image's own feature if it is added."""
    distances = cdist(side, gallery, metric)
    if side is gallery:
        np.fill_diagonal(distances, np.inf if method == "added" else -1)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :count]
    together = gallery[nearest]
    if method == "added":
        together = np.concatenate([together, side[:, np.newaxis]], axis=1)
    return together.mean(axis=1)


@pytest.mark.parametrize("method", ["added", "replaced"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean", "cityblock"])
def test_agrees_with_brute_force_in_blocks_of_any_size(metric, method, monkeypatch):
    random = np.random.default_rng(1)
    query = random.standard_normal((23, 6), np.float32)
    gallery = random.standard_normal((150, 6), np.float32)

    def compared(side):
        return side / np.linalg.norm(side, axis=1, keepdims=True) if metric == "cosine" else side

    used, images = compared(query), compared(gallery)
    expanded = brute_force(images, images, 10, metric, method)
    searched = compared(expanded) if method == "added" else images
    expected = brute_force(used, searched, 5, metric, method), expanded
    for elements in (1, 150 * 7, 2**22):
        monkeypatch.setattr(pooling, "_BLOCK_ELEMENTS", elements)
        both = expand_features(query, gallery, metric=metric, method=method)
        for found, wanted in zip(both, expected):
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least 1, received 0 and 10"):
        expand_features([[2.0]], LINE, 0)
    with pytest.raises(ValueError, match="added or replaced, received 'both'"):
        expand_features([[2.0]], LINE, method="both")
    with pytest.raises(UserError, match="gallery features hold NaN"):
        expand_features([[2.0]], [[np.nan]])
    with pytest.raises(UserError, match="did you mean 'cosine'"):
        expand_features([[2.0]], LINE, metric="cosin")
