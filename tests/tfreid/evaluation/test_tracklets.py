"""Images grouped by tracklet."""

from __future__ import annotations

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.evaluation.tracklets import IMAGES, TRACKLETS, group_tracklets


def test_case_worked_on_paper(make_index):
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
    ([5, 5, 6], [1, 1, 1], "tracklet 8 of split query is of person 5 in 0.jpg and of person 6 in "
                           "2.jpg"),
    ([5, 5, 5], [1, 1, 2], "of camera 1 in 0.jpg and of camera 2 in 2.jpg"),
])
def test_a_tracklet_of_two_persons_or_cameras_is_named(make_index, ids, cameras, words):
    index = make_index(ids, cameras, [8, 3, 8])
    with pytest.raises(UserError, match=words) as caught:
        group_tracklets("query", index, "records")
    assert "\n" not in str(caught.value)
