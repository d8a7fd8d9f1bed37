"""Small protocols: identities, images of them, and what is held out."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from tfrecords.errors import UserError
from tfreid.config import SubsetConfig
from tfreid.data.subsets import (
    describe_subset,
    draw_subset,
    split_sides,
    validation_records,
)
from tfreid.records import Records, SplitIndex


def index_of(counts) -> SplitIndex:
    """Identities 10, 11, ... with so many images each, mixed."""
    ids = np.repeat(10 + np.arange(len(counts)), counts)
    ids = np.random.default_rng(0).permutation(ids)
    nothing = np.zeros(len(ids), int)
    return SplitIndex(ids, ids - 10, nothing, nothing.astype(str), nothing, nothing, nothing)


INDEX = index_of([9, 20, 30, 12, 25, 4, 18, 22, 16, 14])


def draw(index=INDEX, **settings):
    return draw_subset(index, SubsetConfig(**settings))


def test_nothing_asked_for_is_everything():
    training, validation = draw()
    np.testing.assert_array_equal(training, np.arange(170))
    assert validation.size == 0


def test_whole_people_are_held_out_by_default():
    training, validation = draw(validation=0.2)
    people, held_out = set(INDEX.ids[training]), set(INDEX.ids[validation])
    assert len(held_out) == 2 and len(people) == 8 and not people & held_out
    assert len(training) + len(validation) == 170
    for positions in (training, validation):
        assert (np.diff(positions) > 0).all()


def test_single_images_are_held_out_on_request():
    training, validation = draw(validation=0.2, validation_by="image")
    assert len(validation) == 34 and len(training) == 136
    assert not set(training) & set(validation)
    # That leaks: the same people are on both sides.
    assert set(INDEX.ids[validation]) <= set(INDEX.ids[training])


def test_the_small_protocol_has_equally_many_images_of_each():
    training, validation = draw(identities=5, images=75)
    people, counts = np.unique(INDEX.ids[training], return_counts=True)
    assert len(people) == 5 and set(counts) == {15} and validation.size == 0
    # Only those with 15 images or more were drawn.
    assert set(people - 10) <= {1, 2, 4, 6, 7, 8}
    training, validation = draw(identities=5, images=75, validation=0.4)
    assert len(np.unique(INDEX.ids[validation])) == 2 and len(validation) == 30


def test_images_alone_are_spread_over_all_people():
    training, _ = draw(images=100)
    counts = np.unique(INDEX.ids[training], return_counts=True)[1]
    # Four, nine, and as many as there is room for of the others: 87 over eight of them.
    assert counts[5] == 4 and counts[0] == 9 and counts.sum() == 100
    assert set(np.delete(counts, [0, 5])) <= {10, 11}


def test_the_seed_decides():
    same = [draw(validation=0.3, seed=seed).validation.tolist() for seed in (1, 1, 2)]
    assert same[0] == same[1] != same[2]


@pytest.mark.parametrize(("settings", "words"), [
    ({"identities": 11}, "data.subset.identities is 11 but there are only 10 training identities"),
    ({"identities": 7, "images": 140}, "only 4 training identities with 20 images or more"),
    ({"images": 171}, "data.subset.images is 171 but there are only 170"),
    ({"validation": 0.1}, "leaves 1 of 10 identities for validation and 9 for training"),
    ({"validation": 0.95}, "leaves 10 of 10 identities"),
    ({"identities": 2, "validation": 0.5}, "leaves 1 of 2 identities"),
])
def test_too_little_is_one_sentence(settings, words):
    with pytest.raises(UserError, match=words) as caught:
        draw(**settings)
    assert "\n" not in str(caught.value)


def test_leaks_are_marked():
    assert describe_subset(SubsetConfig()) == "people never trained on"
    assert describe_subset(SubsetConfig(validation_by="image")).startswith("LEAKING")


def views_of(*images, paths=None, tracklets=None) -> SplitIndex:
    """The index of images of an identity and a camera each."""
    ids, cameras = np.array(images).T
    nothing = np.zeros(len(ids), int)
    paths = np.array([f"{place:03}" for place in range(len(ids))]) if paths is None else paths
    tracklets = np.full(len(ids), -1) if tracklets is None else np.array(tracklets)
    return SplitIndex(ids, ids, cameras, paths, tracklets, nothing, nothing)


def test_a_number_is_held_out_as_a_share_is():
    np.testing.assert_array_equal(draw(validation=3).validation, draw(validation=0.3).validation)
    with pytest.raises(ValidationError, match="validation is 2.5"):
        TypeAdapter(SubsetConfig).validate_python({"validation": 2.5})


def test_queries_are_one_image_of_an_identity_by_each_camera():
    index = views_of(*[(1, 0)] * 4, *[(1, 2)] * 3, *[(5, 0)] * 2, (5, 1), (7, 3))
    query, gallery = split_sides(index, seed=3)
    assert list(zip(index.ids[query], index.cameras[query])) == [
        (1, 0), (1, 2), (5, 0), (5, 1), (7, 3)]
    # An image by the query's own camera never counts, so the query itself may stay.
    np.testing.assert_array_equal(gallery, np.arange(11))
    drawn = {split_sides(index, seed)[0][0] for seed in range(30)}
    assert drawn == {0, 1, 2, 3}


def test_a_query_without_a_camera_is_not_in_the_gallery():
    query, gallery = split_sides(views_of((1, -1), (1, -1), (1, -1), (2, -1)), seed=0)
    assert len(query) == 2 and query[1] == 3
    np.testing.assert_array_equal(np.union1d(query, gallery), np.arange(4))
    assert not np.intersect1d(query, gallery).size


def test_queries_of_video_are_whole_tracklets():
    index = views_of(*[(1, 0)] * 4, *[(1, 1)] * 3, (2, 0), tracklets=[8, 8, 9, 9, 7, 7, 7, -1])
    query, gallery = split_sides(index, seed=1)
    assert query.tolist() in ([0, 1, 4, 5, 6, 7], [2, 3, 4, 5, 6, 7]) and len(gallery) == 8


def test_queries_do_not_depend_on_the_order_of_the_records():
    index = views_of(*[(1, 0)] * 9, *[(1, 1)] * 9, *[(2, 0)] * 9)
    order = np.random.default_rng(5).permutation(len(index))
    here, there = split_sides(index, 4)[0], split_sides(index.take(order), 4)[0]
    assert set(index.paths[here]) == set(index.paths[order[there]])


def test_held_out_people_become_query_and_gallery(records):
    opened, config = Records(records), SubsetConfig(validation=3, seed=2)
    found = validation_records(opened, config)
    train = opened["train"].index
    training, held_out = (set(train.ids[rows]) for rows in draw_subset(train, config))
    query, gallery = found["query"], found["gallery"]
    assert set(query.index.ids) == set(gallery.index.ids) == held_out and len(held_out) == 3
    assert not held_out & training and len(query) == 3 * 3 and len(gallery) == 3 * 3 * 2
    place = dict(zip(train.paths, opened["train"].encoded))
    assert list(query.encoded) == [place[path] for path in query.index.paths]
    assert (found.evaluated_on, opened.evaluated_on) == ("validation", "test")
    assert set(opened["query"].index.ids) != held_out
    assert validation_records(opened, SubsetConfig()) is None
