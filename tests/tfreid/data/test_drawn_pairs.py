"""Pairs drawn at random: half and half, apart, every image as often as the others."""

from __future__ import annotations

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.data.drawn_pairs import DrawnPairSampler
from tfreid.records import SplitIndex

# Label, camera, tracklet. Person 1 was seen by one camera, person 2 in one tracklet; person 3 has
# one image, person 4 images of unknown camera and tracklet.
IMAGES = ([(0, camera, 10 + camera) for camera in (1, 1, 2, 3, 3)]
          + [(1, 2, tracklet) for tracklet in (20, 20, 21)] + [(2, 4, 30)] * 3 + [(3, 1, 40)]
          + [(4, -1, -1)] * 2)


def make(images=IMAGES, batch_size=8, ratio=1, apart="cameras", seed=0):
    order = np.random.default_rng(3).permutation(len(images))
    labels, cameras, tracklets = np.array(images)[order].T
    nothing = np.zeros(len(images), int)
    index = SplitIndex(labels, labels, cameras, nothing.astype(str), tracklets, nothing, nothing)
    return index, DrawnPairSampler(index, batch_size, ratio, apart, seed)


def pairs_of(plan, size):
    return plan.images[:, :size], plan.images[:, size:]


@pytest.mark.parametrize(("size", "ratio", "positives"), [(8, 1, 4), (9, 2, 3), (5, 1, 2),
                                                          (4, 9, 1)])
def test_every_batch_has_its_share_of_matching_pairs(size, ratio, positives):
    index, sampler = make(batch_size=size, ratio=ratio)
    plan = sampler.epoch(0, 50)
    first, second = pairs_of(plan, size)
    assert (plan.match.sum(axis=1) == positives).all()
    np.testing.assert_array_equal(index.labels[first] == index.labels[second], plan.match == 1)
    assert not (first == second).any()
    assert sampler.images_per_batch == 2 * size == plan.images.shape[1]
    np.testing.assert_array_equal(plan.first[7], np.arange(size))
    np.testing.assert_array_equal(plan.second[7], size + np.arange(size))


def matching(apart):
    """The matching pairs that are drawn, as sets of rows, of each person."""
    index, sampler = make(apart=apart)
    plan = sampler.epoch(0, 3000)
    first, second = (side[plan.match == 1] for side in pairs_of(plan, 8))
    drawn = set(zip(np.minimum(first, second).tolist(), np.maximum(first, second).tolist()))
    return index, drawn


def allowed(index, differ):
    rows = range(len(index))
    return {(a, b) for a in rows for b in rows[a + 1:] if index.labels[a] == index.labels[b]
            and differ(index, a, b)}


def test_matching_pairs_come_from_two_cameras_or_the_next_best():
    index, drawn = matching("cameras")

    def differ(index, a, b):
        name = {0: "cameras", 1: "tracklets"}.get(index.labels[a])
        return name is None or getattr(index, name)[a] != getattr(index, name)[b]

    assert drawn == allowed(index, differ)


def test_matching_pairs_come_from_two_tracklets_or_two_images():
    index, drawn = matching("tracklets")
    assert drawn == allowed(index, lambda index, a, b: index.labels[a] in (2, 4)
                            or index.tracklets[a] != index.tracklets[b])
    index, drawn = matching("images")
    assert drawn == allowed(index, lambda index, a, b: True)


def test_all_second_images_are_equally_likely():
    index, sampler = make(apart="images")
    plan = sampler.epoch(0, 20000)
    first, second = pairs_of(plan, 8)
    negatives = plan.match == 0
    table = np.zeros((len(index), len(index)))
    np.add.at(table, (first[negatives], second[negatives]), 1)
    table += table.T
    # A non-matching pair of a and b: a comes first, b second or the other way round, each equally.
    others = (index.labels[:, None] != index.labels[None]).sum(axis=1)
    expected = (1 / others[:, None] + 1 / others[None]) * (index.labels[:, None] != index.labels)
    expected *= table.sum() / expected.sum()
    close = np.abs(table - expected)[expected > 0] / np.sqrt(expected[expected > 0])
    assert close.max() < 5


def test_an_epoch_shows_every_image_before_any_again():
    index, sampler = make(batch_size=4)
    plan = sampler.epoch(1, 7)  # 14 matching and 14 non-matching pairs of 14 images
    counts = np.zeros(len(index), int)
    first, second = pairs_of(plan, 4)
    negatives = plan.match == 0
    for a, b in zip(first[negatives], second[negatives]):
        counts[[a, b]] += 1
    assert counts.min() >= 1
    assert sampler.batches_per_epoch == 3


def test_seed_and_epoch_decide():
    _, sampler = make()
    same = sampler.epoch(2, 4)
    for mine, expected in zip(make()[1].epoch(2, 4), same):
        np.testing.assert_array_equal(mine, expected)
    assert (sampler.epoch(3, 4).images != same.images).any()
    assert (make(seed=1)[1].epoch(2, 4).images != same.images).any()


@pytest.mark.parametrize(("images", "settings", "words"), [
    ([(0, 1, 1), (1, 1, 2)], {}, "no positive pair, because no identity has two images"),
    ([(0, 1, 1), (0, 2, 2)], {}, "because there is only one identity"),
    (IMAGES, {"batch_size": 1}, "leaves no room for a negative pair"),
])
def test_what_makes_no_pairs_is_refused(images, settings, words):
    with pytest.raises(UserError, match=words):
        make(images, **settings)


def test_an_unknown_way_to_be_apart():
    with pytest.raises(ValueError, match="apart must be one of"):
        make(apart="days")
