"""Batches of pairs: which pairs there are, their ratio, their coverage and their repeatability."""

from __future__ import annotations

import collections
import itertools

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.data.pair_sampling import PairSampler

MODES = ("dataset", "batch")


def make(labels, cameras, batch_size=12, negatives_per_positive=2, samples=1, negatives="dataset",
         seed=0) -> PairSampler:
    return PairSampler(np.asarray(labels), np.asarray(cameras), batch_size,
                       negatives_per_positive, samples, negatives, seed)


def uneven(identities=30, images=9, cameras=4, seed=0):
    """Labels in random order with gaps, 1 to `images` an identity, some of unknown camera."""
    random = np.random.default_rng(seed)
    counts = random.integers(1, images + 1, identities)
    labels = random.permutation(np.repeat(3 * np.arange(identities), counts))
    return labels, random.integers(-1, cameras, len(labels))


def paired(plan):
    """Images of the pairs, [batches, n] each."""
    return [np.take_along_axis(plan.images, side, axis=1) for side in (plan.first, plan.second)]


def counted(plan, match=1):
    """How often each unordered pair of images comes."""
    first, second = paired(plan)
    chosen = plan.match == match
    return collections.Counter(
        tuple(sorted(pair)) for pair in zip(first[chosen].tolist(), second[chosen].tolist()))


def enumerated(labels, cameras):
    """The matching pairs, by comparing any two images."""
    known = collections.defaultdict(set)
    for label, camera in zip(labels, cameras):
        if camera >= 0:
            known[label].add(camera)
    return {
        (one, other) for one, other in itertools.combinations(range(len(labels)), 2)
        if labels[one] == labels[other] and (
            len(known[labels[one]]) < 2 or min(cameras[one], cameras[other]) < 0
            or cameras[one] != cameras[other])
    }


def whole_epoch(sampler, epoch=0):
    return sampler.epoch(epoch, sampler.batches_per_epoch)


def assert_equal(plan, expected):
    for values, others in zip(plan, expected):
        np.testing.assert_array_equal(values, others)


def test_matching_pairs_worked_by_hand():
    """One identity for each rule.

    A, images 0-3 in cameras 1, 1, 2, 3: across cameras (0,2) (0,3) (1,2) (1,3) (2,3).
    B, images 4-6, all in camera 1: all of (4,5) (4,6) (5,6).
    C, images 7-9, no camera known: all of (7,8) (7,9) (8,9).
    D, images 10-13 in cameras 1, 1, 2, unknown: all but (10,11).
    E, images 14-15, one in camera 2 and one unknown: (14,15).
    F, image 16: none.
    """
    labels = [0] * 4 + [1] * 3 + [2] * 3 + [3] * 4 + [4] * 2 + [5]
    cameras = [1, 1, 2, 3, 1, 1, 1, -1, -1, -1, 1, 1, 2, -1, 2, -1, 4]
    expected = {(0, 2), (0, 3), (1, 2), (1, 3), (2, 3), (4, 5), (4, 6), (5, 6), (7, 8), (7, 9),
                (8, 9), (10, 12), (10, 13), (11, 12), (11, 13), (12, 13), (14, 15)}
    sampler = make(labels, cameras, batch_size=3)
    assert sampler.num_positive_pairs == 17
    assert sampler.batches_per_epoch == 17
    assert counted(whole_epoch(sampler)) == dict.fromkeys(expected, 1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(3))
def test_an_epoch_has_every_matching_pair_samples_times(mode, seed):
    labels, cameras = uneven(seed=seed)
    expected = enumerated(labels, cameras)
    # Six positives times any number fill batches of 2 positives and 4 negatives.
    sampler = make(labels, cameras, batch_size=6, samples=4, negatives=mode)
    assert sampler.num_positive_pairs == len(expected)
    plan = whole_epoch(sampler)
    assert counted(plan) == dict.fromkeys(expected, 4)
    assert (plan.match == 0).sum() == 2 * (plan.match == 1).sum()


@pytest.mark.parametrize("mode", MODES)
def test_only_the_pairs_of_a_broken_batch_are_missing(mode):
    labels, cameras = uneven()
    expected = enumerated(labels, cameras)
    sampler = make(labels, cameras, batch_size=32, samples=3, negatives=mode)
    counts = counted(whole_epoch(sampler))
    assert set(counts) <= expected and max(counts.values()) == 3
    assert 0 <= 3 * len(expected) - sum(counts.values()) < 32


@pytest.mark.parametrize("mode", MODES)
def test_every_pair_is_missing_in_some_epoch_if_one_is(mode):
    labels, cameras = np.repeat(np.arange(3), 3), np.full(9, -1)
    sampler = make(labels, cameras, 12, negatives=mode)
    counts = [counted(whole_epoch(sampler, epoch)) for epoch in range(60)]
    for pair in enumerated(labels, cameras):
        assert 0 < sum(pair in count for count in counts) < 60


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("batch_size", "ratio"), [(12, 2), (16, 1), (20, 3)])
def test_shapes_types_and_the_meaning_of_match(mode, batch_size, ratio):
    labels, cameras = uneven()
    sampler = make(labels, cameras, batch_size, ratio, 2, mode)
    plan = sampler.epoch(0, 7)
    size = sampler.images_per_batch
    assert size == 2 * (batch_size if mode == "dataset" else -(-batch_size // (1 + ratio)))
    assert plan.images.shape == (7, size)
    for values in (plan.first, plan.second, plan.match):
        assert values.shape == (7, batch_size)
        assert values.dtype == np.int32
    assert plan.images.dtype == np.int32
    assert min(plan.first.min(), plan.second.min()) >= 0
    assert max(plan.first.max(), plan.second.max()) < size
    first, second = paired(plan)
    np.testing.assert_array_equal(plan.match, labels[first] == labels[second])
    assert (first != second).all()


def test_negatives_of_the_dataset_are_any_images_of_other_identity_and_camera():
    labels, cameras = uneven()
    first, second = paired(plan := whole_epoch(make(labels, cameras, samples=60)))
    negative = plan.match == 0
    known = negative & (cameras[first] >= 0) & (cameras[second] >= 0)
    assert (cameras[first] != cameras[second])[known].all()
    allowed = {
        (one, other) for one, other in itertools.combinations(range(len(labels)), 2)
        if labels[one] != labels[other]
        and (cameras[one] != cameras[other] or cameras[one] < 0)
    }
    counts = counted(plan, match=0)
    assert set(counts) <= allowed
    values = np.array([counts[pair] for pair in allowed])
    # Uniform over the allowed pairs: counts of a Poisson distribution.
    assert abs(values.var() / values.mean() - 1) < 0.1
    assert values.mean() > 1


@pytest.mark.parametrize("cameras", [np.full(12, 3), np.full(12, -1)])
def test_one_camera_makes_no_rule(cameras):
    labels = np.repeat(np.arange(4), 3)
    for mode in MODES:
        sampler = make(labels, cameras, batch_size=6, negatives=mode)
        assert sampler.num_positive_pairs == 12
        plan = whole_epoch(sampler)
        first, second = paired(plan)
        np.testing.assert_array_equal(plan.match, labels[first] == labels[second])


def test_an_identity_with_one_image_serves_as_negative_only():
    labels, cameras = np.array([0, 0, 1]), np.array([0, 1, 1])
    plan = make(labels, cameras, batch_size=3).epoch(0, 20)
    assert counted(plan) == {(0, 1): 20}
    assert counted(plan, match=0) == {(0, 2): 40}, "images 1 and 2 share a camera"


@pytest.mark.parametrize("mode", MODES)
def test_the_order_within_pairs_is_random(mode):
    labels, cameras = uneven()
    first, second = paired(plan := whole_epoch(make(labels, cameras, samples=20, negatives=mode)))
    differ = cameras[first] != cameras[second]
    for match in (0, 1):
        chosen = differ & (plan.match == match)
        assert abs((first < second)[chosen].mean() - 0.5) < 0.03
        assert abs((cameras[first] < cameras[second])[chosen].mean() - 0.5) < 0.03


def test_pairs_of_an_epoch_are_shuffled_together():
    """Parts of the epoch and places in its batches have the same share of positives."""
    labels, cameras = uneven(100)
    plan = whole_epoch(make(labels, cameras, samples=20))
    for part in (*np.array_split(plan.match, 5), *np.array_split(plan.match, 4, axis=1)):
        assert abs(part.mean() - 1 / 3) < 0.02
    assert plan.match.sum(axis=1).std() > 1


def test_batches_pair_the_images_of_their_positives():
    labels, cameras = uneven(60)
    plan = whole_epoch(make(labels, cameras, 30, samples=3, negatives="batch"))
    places = np.arange(10)
    for images, first, second, match in zip(*plan):
        np.testing.assert_array_equal(match, [1] * 10 + [0] * 20)
        np.testing.assert_array_equal(first[:10], places)
        np.testing.assert_array_equal(second[:10], places + 10)
        assert first.max() < 10 <= second.min()
        assert (second[10:] - 10 != first[10:]).all()
        assert len(set(zip(first.tolist(), second.tolist()))) == 30, "no pair comes twice"
        one, other = cameras[images[first[10:]]], cameras[images[second[10:]]]
        assert ((one != other) | (one < 0)).all()


def test_negatives_of_a_batch_share_a_camera_only_where_others_run_out():
    """4 positives in 2 cameras: of 12 combinations 8 are drawn, those across cameras first.

    With all, three or half of the first images in one camera 12, 6 or 4 are across.
    """
    labels, cameras = np.repeat(np.arange(20), 2), np.tile([0, 1], 20)
    plan = whole_epoch(make(labels, cameras, samples=5, negatives="batch"))
    first, second = paired(plan)
    numbers = set()
    for images, same in zip(plan.images, (cameras[first] == cameras[second]).sum(axis=1)):
        first, second = cameras[images[:4]], cameras[images[4:]]
        across = (first[:, None] != second) & ~np.eye(4, dtype=bool)
        assert same == max(0, 8 - across.sum())
        numbers.add(same)
    assert numbers == {0, 2, 4}


def test_all_combinations_of_a_batch_are_drawn_alike():
    labels = np.repeat(np.arange(50), 2)
    cameras = np.tile([0, 1], 50)
    sampler = make(labels, cameras, 12, samples=200, negatives="batch")
    plan = whole_epoch(sampler)
    first, second = plan.first[:, 4:], plan.second[:, 4:] - 4
    counts = np.bincount((4 * first + second).ravel(), minlength=16).reshape(4, 4)
    assert not counts.diagonal().any()
    expected = 8 * len(first) / 12
    assert abs(counts[~np.eye(4, dtype=bool)] / expected - 1).max() < 0.1
    others = counted(plan, match=0)
    assert len(others) > 0.8 * 50 * 49 * 2 / 2, "an identity meets about all others"


def test_a_batch_has_distinct_identities_where_none_has_too_many_pairs():
    """30 identities of 4 or 5 images, 6 or 10 pairs each: 240 pairs, 48 batches of 5."""
    labels = np.repeat(np.arange(30), [4] * 15 + [5] * 15)
    cameras = np.full(len(labels), -1)
    for samples in (1, 4):
        sampler = make(labels, cameras, 15, samples=samples, negatives="batch")
        assert sampler.batches_per_epoch == 48 * samples
        plan = whole_epoch(sampler)
        identities = labels[plan.images[:, :5]]
        assert all(len(np.unique(row)) == 5 for row in identities)
        assert counted(plan) == dict.fromkeys(enumerated(labels, cameras), samples)


def test_an_identity_with_many_pairs_leaves_room_for_another_in_every_batch():
    """10 images of one identity are 45 pairs, 20 others have one each: 13 batches of 5."""
    labels = np.concatenate([np.zeros(10, int), np.repeat(np.arange(1, 21), 2)])
    sampler = make(labels, np.full(50, -1), 15, negatives="batch")
    for epoch in range(20):
        identities = labels[sampler.epoch(epoch, 13).images[:, :5]]
        assert {np.count_nonzero(row == 0) for row in identities} <= {3, 4}


def test_combinations_repeat_where_a_batch_has_too_few():
    """Two positives leave (a0, b1) and (a1, b0) for 8 negatives."""
    labels, cameras = [0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1]
    plan = make(labels, cameras, 10, 5, negatives="batch").epoch(0, 9)
    first, second = plan.first[:, 2:], plan.second[:, 2:] - 2
    np.testing.assert_array_equal(first + second, np.ones((9, 8)))


@pytest.mark.parametrize("mode", MODES)
def test_seed_and_epoch_alone_fix_the_batches(mode):
    labels, cameras = uneven()
    sampler = make(labels, cameras, samples=3, negatives=mode, seed=3)
    first = whole_epoch(sampler, 5)
    whole_epoch(sampler, 0)
    assert_equal(whole_epoch(sampler, 5), first)
    assert_equal(whole_epoch(make(labels, cameras, samples=3, negatives=mode, seed=3), 5), first)
    others = [whole_epoch(sampler, 4),
              whole_epoch(make(labels, cameras, samples=3, negatives=mode, seed=4), 5)]
    for other in others:
        assert (other.images != first.images).mean() > 0.9


@pytest.mark.parametrize("mode", MODES)
def test_fewer_batches_are_the_beginning_and_more_a_new_shuffle(mode):
    labels, cameras = uneven()
    sampler = make(labels, cameras, 6, samples=2, negatives=mode)
    size = sampler.batches_per_epoch
    longest = sampler.epoch(1, 2 * size + 3)
    for batches in (1, size - 1, size, size + 1, 2 * size):
        assert_equal(sampler.epoch(1, batches), [values[:batches] for values in longest])
    second = type(longest)(*(values[size : 2 * size] for values in longest))
    assert counted(second) == counted(whole_epoch(sampler, 1))
    assert (second.images != longest.images[:size]).mean() > 0.9


@pytest.mark.parametrize("mode", MODES)
def test_pairs_too_few_for_a_batch_come_oftener(mode):
    labels, cameras = [0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1]
    sampler = make(labels, cameras, 30, negatives=mode)
    assert sampler.batches_per_epoch == 1
    counts = counted(sampler.epoch(0, 4))
    assert set(counts) == {(0, 1), (2, 3), (4, 5)}


def test_market_sized_epochs_are_drawn_in_seconds_and_stay_small():
    random = np.random.default_rng(0)
    counts = np.clip(random.lognormal(2.7, 0.55, 751).astype(int), 2, 72)
    labels = random.permutation(np.repeat(np.arange(751), counts))
    cameras = random.integers(0, 6, len(labels))
    for mode in MODES:
        plan = whole_epoch(make(labels, cameras, 128, 2, 5, mode))
        assert plan.match.size > 1e6
        assert sum(values.base is None and values.nbytes or 0 for values in plan) < 5e7


@pytest.mark.parametrize("mode", MODES)
def test_records_without_pairs_are_refused(mode):
    with pytest.raises(UserError, match="no positive pair"):
        make([0, 1, 2], [0, 1, 0], negatives=mode)
    with pytest.raises(UserError, match="no negative pair, because there is only one identity"):
        make([4, 4, 4], [0, 1, 0], negatives=mode)


def test_batches_that_cannot_make_negatives_are_refused():
    labels, cameras = [0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1]
    with pytest.raises(UserError, match=r"batch_size is 5, .*set it to 6 or more, or .*dataset"):
        make(labels, cameras, 5, 4, negatives="batch")
    make(labels, cameras, 6, 4, negatives="batch")
    make(labels, cameras, 5, 4, negatives="dataset")
    with pytest.raises(UserError, match="one identity has so many .*set it to dataset"):
        make([0] * 10 + [1, 1], [-1] * 12, 6, negatives="batch")


def test_unknown_kinds_of_negatives_are_a_value_error():
    with pytest.raises(ValueError, match="'dataset' or 'batch', received 'hard'"):
        make([0, 0, 1], [0, 1, 0], negatives="hard")
