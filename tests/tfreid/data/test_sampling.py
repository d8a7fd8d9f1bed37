"""P x K batches: their composition, their repeatability and how they cover the images."""

from __future__ import annotations

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.data.sampling import IdentitySampler, ImageSampler


def uneven_labels(identities: int = 40, seed: int = 0) -> np.ndarray:
    """Labels in random order, with 1 to 24 images an identity and gaps between the labels."""
    random = np.random.default_rng(seed)
    counts = random.integers(1, 25, identities)
    return random.permutation(np.repeat(3 * np.arange(identities), counts))


@pytest.mark.parametrize(("p", "k"), [(1, 2), (4, 4), (16, 3), (40, 2)])
def test_a_batch_is_k_images_of_each_of_p_distinct_identities(p, k):
    labels = uneven_labels()
    drawn = IdentitySampler(labels, p, k, seed=0).epoch(0, 30)
    assert drawn.shape == (30, p * k)
    grouped = labels[drawn].reshape(30, p, k)
    assert (grouped == grouped[..., :1]).all(), "images of one identity stand together"
    for batch in grouped:
        assert len(np.unique(batch[:, 0])) == p


def test_seed_and_epoch_alone_fix_the_batches():
    labels = uneven_labels()
    sampler = IdentitySampler(labels, 8, 4, seed=3)
    first = sampler.epoch(5, 20)
    sampler.epoch(0, 7)
    np.testing.assert_array_equal(sampler.epoch(5, 20), first)
    np.testing.assert_array_equal(IdentitySampler(labels, 8, 4, seed=3).epoch(5, 20), first)
    np.testing.assert_array_equal(IdentitySampler(list(labels), 8, 4, 3).epoch(5, 20), first)


def test_epochs_and_seeds_differ():
    labels = uneven_labels()
    drawn = [IdentitySampler(labels, 8, 4, seed).epoch(epoch, 20)
             for seed in (0, 1) for epoch in (0, 1)]
    for one in range(4):
        for other in range(one):
            assert (drawn[one] != drawn[other]).mean() > 0.9


def test_a_longer_epoch_begins_with_the_shorter():
    sampler = IdentitySampler(uneven_labels(), 8, 4, seed=0)
    np.testing.assert_array_equal(sampler.epoch(2, 50)[:10], sampler.epoch(2, 10))


def test_equal_identities_are_used_exactly_once():
    """12 identities of 8 images: 24 groups of 4, so 6 batches of 4 identities hold each once.

    The groups run out evenly only by chance; what must hold is that no image comes twice before
    the groups are cut anew, and P = identities forces exactly one group of each per batch.
    """
    labels = np.repeat(np.arange(12), 8)
    drawn = IdentitySampler(labels, 12, 4, seed=0).epoch(0, 2)
    np.testing.assert_array_equal(np.sort(drawn.ravel()), np.arange(96))


def test_an_epoch_goes_about_once_over_market_sized_labels():
    random = np.random.default_rng(0)
    counts = np.clip(random.lognormal(2.7, 0.55, 751).astype(int), 2, 72)
    labels = random.permutation(np.repeat(np.arange(751), counts))
    drawn = IdentitySampler(labels, 16, 4, seed=0).epoch(0, len(labels) // 64)
    uses = np.bincount(drawn.ravel(), minlength=len(labels))
    # Remainders below K sit out, identities below K repeat, the last batches may need a second cut.
    assert (uses == 0).mean() < 0.2
    assert (uses == 1).mean() > 0.75
    assert (uses > 2).mean() < 0.02


def test_what_one_epoch_leaves_out_comes_in_another():
    labels = np.repeat(np.arange(10), 7)
    sampler = IdentitySampler(labels, 5, 4, seed=0)
    seen = np.concatenate([sampler.epoch(epoch, 2).ravel() for epoch in range(40)])
    np.testing.assert_array_equal(np.unique(seen), np.arange(70))


def test_identities_with_fewer_than_k_show_all_their_images_and_repeat_some():
    labels = np.array([0, 1, 1, 2, 2, 2, 3, 3, 3, 3])
    drawn = IdentitySampler(labels, 4, 4, seed=0).epoch(0, 25)
    for batch in drawn:
        for identity, rows in enumerate(sorted(batch.reshape(4, 4).tolist(),
                                               key=lambda rows: labels[rows[0]])):
            assert set(rows) == set(np.flatnonzero(labels == identity))


def test_more_batches_than_one_pass_cut_the_images_anew():
    labels = np.repeat(np.arange(4), 4)
    drawn = IdentitySampler(labels, 4, 4, seed=0).epoch(0, 9)
    for batch in drawn:
        np.testing.assert_array_equal(np.sort(batch), np.arange(16))
    assert len({tuple(batch) for batch in drawn}) == 9, "each pass has its own order"


def test_identities_with_more_images_come_more_often():
    labels = np.repeat(np.arange(20), [4] * 10 + [40] * 10)
    drawn = IdentitySampler(labels, 2, 4, seed=0).epoch(0, 50)
    assert (labels[drawn] >= 10).mean() > 0.8


def test_too_few_identities_name_the_setting_and_the_number():
    labels = np.repeat(np.arange(15), 4)
    with pytest.raises(UserError, match=r"data\.identities_per_batch is 16.* 15 .*set it to 15"):
        IdentitySampler(labels, 16, 4, seed=0)
    IdentitySampler(labels, 15, 4, seed=0)


def people_and_cameras(seed=0):
    """30 people with 1 to 6 cameras, each with 1 to 12 images, in random order."""
    random = np.random.default_rng(seed)
    rows = [(person, camera) for person in range(30)
            for camera in random.permutation(6)[:random.integers(1, 7)]
            for _ in range(random.integers(1, 13))]
    return random.permutation(rows).T


@pytest.mark.parametrize("k", [2, 4, 5, 9])
def test_balanced_groups_have_as_many_cameras_as_k_allows_and_equally_many_images_of_each(k):
    """Of C cameras min(K, C), and the counts of two differ by at most one."""
    labels, cameras = people_and_cameras()
    drawn = IdentitySampler(labels, 8, k, 0, cameras).epoch(0, 60).reshape(-1, k)
    for group in drawn:
        person, = np.unique(labels[group])
        available = len(np.unique(cameras[labels == person]))
        counts = np.unique(cameras[group], return_counts=True)[1]
        assert len(counts) == min(k, available)
        assert np.ptp(counts) <= (k % len(counts) > 0)


def test_balanced_groups_repeat_an_image_only_where_its_camera_has_too_few():
    """Cameras 0, 1, 2 with 1, 2 and 9 images, K = 6: two of each, so camera 0's comes twice."""
    labels, cameras = np.repeat([0, 1], [12, 3]), np.repeat([0, 1, 2, 7], [1, 2, 9, 3])
    for group in IdentitySampler(labels, 1, 6, 0, cameras).epoch(0, 50):
        uses = np.bincount(group, minlength=15)
        if labels[group[0]]:  # one camera, fewer images than K: all of them, evenly
            np.testing.assert_array_equal(uses[12:], 2)
        else:
            np.testing.assert_array_equal(uses[:3], [2, 1, 1])
            assert sorted(uses[3:12]) == [0] * 7 + [1] * 2


def test_balanced_groups_go_through_a_cameras_images_before_they_repeat_one():
    """8 images of each of two cameras, K = 4: 4 groups that show everything once."""
    labels, cameras = np.repeat([0, 1], 16), np.tile(np.repeat([3, 5], 8), 2)
    drawn = IdentitySampler(labels, 2, 4, 0, cameras).epoch(0, 4)
    np.testing.assert_array_equal(np.sort(drawn.ravel()), np.arange(32))


def test_balancing_gives_people_the_same_number_of_groups_and_all_their_images_in_time():
    labels, cameras = people_and_cameras(1)
    plain, balanced = (IdentitySampler(labels, 8, 4, 0, given) for given in (None, cameras))
    drawn = np.concatenate([balanced.epoch(epoch, 20).ravel() for epoch in range(60)])
    np.testing.assert_array_equal(np.unique(drawn), np.arange(len(labels)))
    shares = [np.bincount(labels[np.concatenate([sampler.epoch(epoch, 20).ravel()
                                                 for epoch in range(60)])]) / 60 / 640
              for sampler in (plain, balanced)]
    np.testing.assert_allclose(*shares, atol=0.006)


def test_balancing_depends_on_seed_and_epoch_alone_and_is_off_by_default():
    labels, cameras = people_and_cameras()
    sampler = IdentitySampler(labels, 8, 4, 3, cameras)
    first = sampler.epoch(5, 20)
    sampler.epoch(0, 7)
    np.testing.assert_array_equal(sampler.epoch(5, 20), first)
    np.testing.assert_array_equal(sampler.epoch(5, 30)[:20], first)
    assert np.any(first != IdentitySampler(labels, 8, 4, 3).epoch(5, 20))


def test_unknown_cameras_count_as_one_and_nothing_but_them_is_refused():
    labels, cameras = np.repeat([0, 1], 8), np.tile([-1, -2, -1, -3, 0, 0, 0, 0], 2)
    for group in IdentitySampler(labels, 1, 4, 0, cameras).epoch(0, 20):
        assert np.count_nonzero(cameras[group] < 0) == 2
    with pytest.raises(UserError, match="data.balance_cameras is true but no training image"):
        IdentitySampler(labels, 1, 4, 0, np.full(16, -1))


def test_batches_without_a_place_for_a_source_are_empty():
    drawn = [*ImageSampler(5, 4, seed=0).draw(np.random.default_rng(0), [0, 0])]
    assert [batch.tolist() for batch in drawn] == [[], []]


def test_plain_sampling_goes_through_all_images_before_it_repeats_one():
    sampler = ImageSampler(10, 4, seed=3)
    drawn = sampler.epoch(5, 7)
    assert drawn.shape == (7, 4) and sampler.batch_size == 4
    order = drawn.reshape(-1)
    assert sorted(order[:10]) == sorted(order[10:20]) == list(range(10))
    assert np.any(order[:10] != order[10:20])
    np.testing.assert_array_equal(drawn, ImageSampler(10, 4, seed=3).epoch(5, 7))
    assert np.any(drawn != sampler.epoch(6, 7))
