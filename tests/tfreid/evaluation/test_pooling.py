"""One feature for several images, and which images those are."""

from __future__ import annotations

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.evaluation.pooling import (
    IMAGES,
    TRACKLETS,
    check_multi_query,
    comparable_rows,
    group_tracklets,
    pool_blocks,
    query_groups,
)


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
    with pytest.raises(ValueError, match="contain 2 images instead of 3"):
        pool_blocks(blocks_of(features[:2], 2), rows)


def test_tracklets_worked_on_paper(make_index):
    # Images 0 and 3 are tracklet 8, images 1 and 4 tracklet 2; image 2 stands alone.
    index = make_index([5, 6, 7, 5, 6], [1, 2, 3, 1, 2], [8, 2, -1, 8, 2])
    split = group_tracklets("gallery", index, "records")
    assert split.unit == TRACKLETS and len(split) == 3
    assert split.first.tolist() == [0, 1, 2] and split.rows.tolist() == [0, 1, 2, 0, 1]
    assert split.index.ids.tolist() == [5, 6, 7] and split.index.cameras.tolist() == [1, 2, 3]
    assert split.index.tracklets.tolist() == [8, 2, -1]
    positions, places = split.frames(np.array([0, 2]))
    assert positions.tolist() == [0, 2, 3] and places.tolist() == [0, 1, 0]
    positions, places = split.frames(None)
    assert positions is None and places.tolist() == split.rows.tolist()


def test_images_without_tracklets_are_ranked_one_by_one(make_index):
    split = group_tracklets("query", make_index([5, 5], [1, 1]), "records")
    assert split.unit == IMAGES and split.first.tolist() == split.rows.tolist() == [0, 1]


@pytest.mark.parametrize("ids, cameras, words", [
    ([5, 5, 6], [1, 1, 1], "tracklet 8 of split query has person 5 in 0.jpg but person 6 in "
                           "2.jpg"),
    ([5, 5, 5], [1, 1, 2], "has camera 1 in 0.jpg but camera 2 in 2.jpg"),
])
def test_a_tracklet_of_two_persons_or_cameras_is_named(make_index, ids, cameras, words):
    index = make_index(ids, cameras, [8, 3, 8])
    with pytest.raises(UserError, match=words) as caught:
        group_tracklets("query", index, "records")
    assert "\n" not in str(caught.value)


def test_query_groups_worked_on_paper(make_index):
    # Queries: person 3 twice by camera 1, person 4 by camera 1, person 3 by camera 2.
    query = make_index([3, 4, 3, 3], [1, 1, 2, 1])
    #   image   0             1             2             3             4 nobody's  5 nobody's
    images = make_index([4, 3, 3, 3, 4, 9], [1, 2, 1, 1, 2, 1])
    positions, rows, groups = query_groups(query, images, "records")
    assert positions.tolist() == [0, 1, 2, 3]
    assert groups[0] == groups[3] and len(set(groups.tolist())) == 3
    images_of = [positions[rows == group].tolist() for group in groups]
    assert images_of == [[2, 3], [0], [1], [2, 3]]


def test_records_without_the_split_are_refused():
    check_multi_query(["train", "multi_query"], "records")
    with pytest.raises(UserError, match="records has no split multi_query.*--multi-query"):
        check_multi_query(["train", "query"], "records")


@pytest.mark.parametrize("cameras", [[1, 2], [1, -1]])
def test_a_query_without_images_is_named(make_index, cameras):
    query = make_index([3, 4], cameras)
    images = make_index([3, 4], [1, 1 if cameras[1] > 0 else -1])
    with pytest.raises(UserError, match=f"1.jpg \\(person 4, camera {cameras[1]}\\)"):
        query_groups(query, images, "records")
