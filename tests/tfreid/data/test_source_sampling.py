"""Batches of several sources: each has its share, counted in drawn batches."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.config import DataConfig
from tfreid.data.batches import IdentityBatches
from tfreid.data.source_sampling import draw_places, source_shares
from tfreid.records import ImageTable
from tfreid.records.images import ImageSources

# Identities and images of each identity of three sources.
SIZES = ((40, 6), (8, 4), (5, 20))


@pytest.fixture
def table(make_index) -> ImageTable:
    """Three sources of 240, 32 and 100 images."""
    counts = np.repeat([each for _, each in SIZES], [people for people, _ in SIZES])
    labels = np.repeat(np.arange(len(counts)), counts)
    source = np.repeat([0, 1, 2], [people * each for people, each in SIZES])
    index = dataclasses.replace(make_index(labels, labels), labels=labels)
    return ImageTable([b""] * len(labels), index, 0.0, None,
                      ImageSources(("large", "small", "deep"), source))


def drawn(table, batches=60, epoch=0, **settings) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sources and the labels of the drawn images [batches, size]."""
    made = IdentityBatches(table, DataConfig(**settings), 8, 8, seed=1)
    rows = made._sampler.epoch(epoch, batches)
    assert rows.shape == (batches, made.batch_size)
    return table.sources.of_image[rows], table.index.labels[rows]


def counted(sources) -> np.ndarray:
    return np.stack([np.bincount(batch, minlength=3) for batch in sources])


def test_places_by_hand():
    """Ends 0, 2, 3.5, 4 and u = 0.6 give floor(0.6, 2.6, 4.1, 4.6) = 0, 2, 4, 4."""
    class Fixed:
        def random(self, shape):
            return np.array([[0.6], [0.2]])

    places = draw_places(np.array([0.5, 0.375, 0.125]), 4, 2, Fixed())
    assert places.tolist() == [[2, 2, 0], [2, 1, 1]]


@pytest.mark.parametrize("shares", [[1, 1, 1], [5, 2, 2], [0.1, 1, 7]])
def test_places_are_the_share_rounded_up_or_down(shares):
    shares = np.array(shares) / np.sum(shares)
    places = draw_places(shares, 16, 20_000, np.random.default_rng(0))
    assert (places.sum(axis=1) == 16).all()
    assert (np.abs(places - 16 * shares) < 1).all()
    np.testing.assert_allclose(places.mean(axis=0), 16 * shares, atol=0.02)


def test_thirds_of_whole_numbers_stay_whole():
    for places in (3, 12, 48):
        found = draw_places(np.full(3, 1 / 3), places, 500, np.random.default_rng(2))
        assert (found == places // 3).all()


def test_equal_shares_of_the_identities(table):
    sources, labels = drawn(table, source_balance="equal", identities_per_batch=6,
                            images_per_identity=4)
    assert (counted(sources) == [8, 8, 8]).all()
    for batch in labels:
        grouped = batch.reshape(6, 4)
        assert (grouped == grouped[:, :1]).all() and len(set(grouped[:, 0])) == 6


def test_shares_that_are_not_whole(table):
    """Of P = 4, shares 5, 2, 1 are 2.5, 1 and 0.5 identities."""
    sources, _ = drawn(table, 400, source_balance=[5, 2, 1], identities_per_batch=4,
                       images_per_identity=2)
    counts = counted(sources) // 2
    assert set(counts[:, 0]) == {2, 3} and set(counts[:, 1]) == {1} and set(counts[:, 2]) == {0, 1}
    np.testing.assert_allclose(counts.mean(axis=0), [2.5, 1, 0.5], atol=0.08)


def test_images_without_identities_are_shared_too(table):
    sources, _ = drawn(table, 300, source_balance=[1, 1, 2], sampling="images", images_per_batch=10)
    counts = counted(sources)
    np.testing.assert_allclose(counts.mean(axis=0), [2.5, 2.5, 5], atol=0.1)
    assert (counts.sum(axis=1) == 10).all() and (counts[:, 2] == 5).all()


def test_a_small_source_goes_over_its_images_again_and_a_large_one_not(table):
    """22 batches of P = 2 with K = 4 have 88 images of each source, of 240 and of 32 images."""
    two = table.take(np.flatnonzero(table.sources.of_image < 2))
    sources = ImageSources(("large", "small"), two.sources.of_image)
    two = dataclasses.replace(two, sources=sources)
    made = IdentityBatches(two, DataConfig(source_balance="equal", identities_per_batch=2), 8, 8, 1)
    uses = np.bincount(made._sampler.epoch(0, 22).ravel(), minlength=272)
    assert uses[:240].max() == 1 and uses[:240].sum() == 88
    # 88 = 2 * 32 + 24: every group of four twice, and six of the eight once more.
    assert sorted(uses[240:]) == [2] * 8 + [3] * 24


def test_null_draws_as_if_they_were_one(table):
    alone = dataclasses.replace(table, sources=None)
    for settings in ({}, {"sampling": "images", "images_per_batch": 32}):
        rows = [IdentityBatches(one, DataConfig(**settings), 8, 8, 1)._sampler.epoch(3, 5)
                for one in (table, alone)]
        np.testing.assert_array_equal(*rows)


def test_one_source_is_drawn_from_as_ever(table):
    one = table.take(np.flatnonzero(table.sources.of_image == 0))
    one = dataclasses.replace(one, sources=ImageSources(("large",), one.sources.of_image))
    assert source_shares(one, "equal") is None and source_shares(one, [3]) is None


def test_seed_and_epoch_alone_fix_the_batches(table):
    settings = dict(source_balance="equal", identities_per_batch=5)
    first = drawn(table, epoch=2, **settings)[1]
    np.testing.assert_array_equal(drawn(table, epoch=2, **settings)[1], first)
    assert np.any(drawn(table, epoch=3, **settings)[1] != first)
    np.testing.assert_array_equal(drawn(table, 7, epoch=2, **settings)[1], first[:7])


@pytest.mark.parametrize(("settings", "words"), [
    ({"source_balance": [1, 2]},
     r"has 2 numbers, but 3 sources are trained on \(large, small, deep\); give a number for each"),
    ({"source_balance": "equal", "identities_per_batch": 16},
     "gives deep up to 6 of the 16 identities of a batch, but it has 5; lower its share"),
])
def test_what_does_not_fit_is_one_sentence(table, settings, words):
    with pytest.raises(UserError, match=words):
        IdentityBatches(table, DataConfig(**settings), 8, 8, seed=0)


def test_one_dataset_has_one_share(table):
    with pytest.raises(UserError, match=r"has 2 numbers, but 1 sources .*\(the records\)"):
        source_shares(dataclasses.replace(table, sources=None), [1, 1])
    assert source_shares(table, None) is None
    assert math.isclose(source_shares(table, [1, 2, 5])[2], 5 / 8)


def test_cameras_are_balanced_within_the_sources_that_name_them(table):
    """The identities of `deep` have 18 images by one camera and 2 by another; K = 4 takes 2 of
    each."""
    cameras = np.full(len(table.index), -1)
    deep = table.sources.rows()[2]
    cameras[deep] = 7 + (np.arange(len(deep)) % 20 >= 18)
    table = dataclasses.replace(table, index=dataclasses.replace(table.index, cameras=cameras))
    made = IdentityBatches(table, DataConfig(
        source_balance="equal", balance_cameras=True, identities_per_batch=3), 8, 8, seed=1)
    rows = made._sampler.epoch(0, 20)
    assert (counted(table.sources.of_image[rows]) == 4).all()
    assert (np.sort(cameras[rows[:, 8:]], axis=1) == [7, 7, 8, 8]).all()
    index = dataclasses.replace(table.index, cameras=np.full(len(table.index), -1))
    with pytest.raises(UserError, match="balance_cameras is true but no training image"):
        IdentityBatches(dataclasses.replace(table, index=index), DataConfig(
            source_balance="equal", balance_cameras=True, identities_per_batch=3), 8, 8, seed=1)
