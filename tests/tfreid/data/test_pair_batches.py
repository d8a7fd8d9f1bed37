"""Batches of pairs read from records: their pixels, and that (seed, epoch, position) fixes them."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.config import AugmentationConfig, DataConfig, PairDataConfig
from tfreid.data.batches import IdentityBatches, PairBatches
from tfreid.data.pair_sampling import PairSampler
from tfreid.records import Records

PLAIN = AugmentationConfig(flip_probability=0.0, pad=0, erasing_probability=0.0)
CSN = AugmentationConfig(pad=0, translation=0.05, erasing_probability=0.0)
SIZE = (64, 32)
MODES = ("dataset", "batch")


@pytest.fixture(scope="module")
def table(records):
    return Records(records)["train"].load()


def make(table, seed=0, augmentation=CSN, workers=0, **pairs) -> PairBatches:
    pairs = PairDataConfig(**{"batch_size": 12, "samples": 2, **pairs})
    config = DataConfig(pairs=pairs, augmentation=augmentation, workers=workers)
    return PairBatches(table, config, *SIZE, seed)


def read(dataset) -> list[list[np.ndarray]]:
    return [[part.numpy() for part in batch] for batch in dataset]


def assert_equal(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others):
        for part, expected in zip(one, other):
            np.testing.assert_array_equal(part, expected)


def plain_pixels(table) -> np.ndarray:
    """Every image of the table without augmentation, [images, height, width, 3]."""
    size = len(table.index)
    alone = dataclasses.replace(
        table, index=dataclasses.replace(table.index, labels=np.arange(size)))
    config = DataConfig(identities_per_batch=size, images_per_identity=2, augmentation=PLAIN)
    images, labels = next(iter(IdentityBatches(alone, config, *SIZE, 0).epoch(0, 1)))
    pixels = np.empty((size, *SIZE, 3), np.uint8)
    pixels[labels.numpy()] = images.numpy()
    return pixels


@pytest.mark.parametrize(("mode", "images_per_batch"), [("dataset", 24), ("batch", 8)])
def test_batches_have_the_recipes_shapes_and_types(table, mode, images_per_batch):
    pipeline = make(table, negatives=mode)
    # 8 identities with 2 images in each of 3 cameras: 12 pairs across cameras each, shown twice.
    assert pipeline.batches_per_epoch == 8 * 12 * 2 * 3 / 12
    assert (pipeline.batch_size, pipeline.images_per_batch) == (12, images_per_batch)
    dataset = pipeline.epoch(0, 3)
    assert [part.shape.as_list() for part in dataset.element_spec] == [
        [images_per_batch, *SIZE, 3], [12], [12], [12]]
    assert [part.dtype for part in dataset.element_spec] == [tf.uint8] + [tf.int32] * 3
    assert len(read(dataset)) == 3


@pytest.mark.parametrize("mode", MODES)
def test_images_are_those_that_the_sampler_planned(table, mode):
    pixels = plain_pixels(table)
    pipeline = make(table, augmentation=PLAIN, negatives=mode)
    plan = PairSampler(table.index.labels, table.index.cameras, 12, 2, 2, mode, 0).epoch(1, 6)
    labels = table.index.labels
    for row, (images, first, second, match) in enumerate(read(pipeline.epoch(1, 6))):
        np.testing.assert_array_equal(images, pixels[plan.images[row]])
        np.testing.assert_array_equal(first, plan.first[row])
        np.testing.assert_array_equal(second, plan.second[row])
        found = np.array([np.flatnonzero((pixels == image).all(axis=(1, 2, 3)))[0]
                          for image in images])
        np.testing.assert_array_equal(match, labels[found[first]] == labels[found[second]])


def test_enlarged_sets_hold_originals_shifted_copies_and_a_flipped_one(table):
    """Subramaniam et al. 2016: all pairs of an identity's images and copies, two negatives each.

    8 identities of 6 images, and 2 + 1 copies of each: 24 * 23 / 2 positives an identity.
    """
    drawn = np.empty((len(table.index), *SIZE, 3), np.uint8)
    drawn[:] = 4 + np.arange(len(drawn)).reshape(-1, 1, 1, 1)
    drawn[:, 0, 0] = 255  # the corner that tells where an image went
    numbered = dataclasses.replace(
        table, encoded=[cv2.imencode(".png", image)[1].tobytes() for image in drawn])
    augmentation = AugmentationConfig(pad=0, translation=0.1, erasing_probability=0.0)
    pipeline = make(numbered, augmentation=augmentation, matching="enlarged", batch_size=120)
    assert pipeline.description == ("2,208 positive pairs of 48 images, each with 2 shifted copies "
                                    "and a flipped one")
    assert pipeline.batches_per_epoch == 2208 * 3 // 120
    labels, cameras = table.index.labels, table.index.cameras
    kinds, pairs = [], []
    for images, first, second, match in read(pipeline.epoch(0, 20)):
        rows = images[:, 30, 15, 0].astype(int) - 4
        kinds.append([images[:, 0, side, 0] == 255 for side in (0, -1)])
        np.testing.assert_array_equal(match, labels[rows[first]] == labels[rows[second]])
        pairs.append(np.stack([rows[first], rows[second]])[:, match == 1])
    original, flipped = np.concatenate(kinds, axis=1).mean(axis=1)
    # Half are shifted, of which one in 13 x 7 by nothing.
    assert abs(flipped - 1 / 4) < 0.03 and abs(original - (1 / 4 + 1 / 2 / 91)) < 0.03
    first, second = np.concatenate(pairs, axis=1)
    # Of 276 pairs of an identity 6 x 6 are of one image, and 3 x 28 of one camera.
    assert abs((first == second).mean() - 36 / 276) < 0.04
    assert abs((cameras[first] == cameras[second]).mean() - 84 / 276) < 0.05


def test_an_image_is_augmented_anew_at_each_place_and_in_each_epoch(table):
    alike = dataclasses.replace(table, encoded=table.encoded[:1] * len(table.encoded))
    augmentation = AugmentationConfig(color_probability=1.0)
    pipeline = make(alike, augmentation=augmentation, negatives="batch")
    images = np.concatenate([
        batch[0] for epoch in (0, 1) for batch in read(pipeline.epoch(epoch, 2))]).astype(float)
    for one in range(len(images)):
        for other in range(one):
            assert np.abs(images[one] - images[other]).mean() > 0.1


@pytest.mark.parametrize("mode", MODES)
def test_the_same_batches_from_two_instances_and_again(table, mode):
    first = make(table, negatives=mode)
    expected = read(first.epoch(2, 4))
    read(first.epoch(0, 2))
    assert_equal(read(first.epoch(2, 4)), expected)
    assert_equal(read(make(table, negatives=mode, workers=1).epoch(2, 4)), expected)
    for other in (first.epoch(1, 4), make(table, seed=1, negatives=mode).epoch(2, 4)):
        assert (read(other)[0][0] != expected[0][0]).mean() > 0.5


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("first", [0, 1, 4, 5])
def test_a_resumed_epoch_is_the_tail_of_the_whole(table, mode, first):
    pipeline = make(table, augmentation=AugmentationConfig(color_probability=0.5), negatives=mode)
    whole = read(pipeline.epoch(1, 5))
    assert_equal(read(pipeline.epoch(1, 5, first=first)), whole[first:])
    assert_equal(read(pipeline.epoch(1, 6, first=first))[: 5 - first], whole[first:])
    assert_equal(read(pipeline.epoch(1, 5, 1, np.array([0, 3]))), [whole[1], whole[4]])


@pytest.mark.parametrize("pairs", [{}, {"negatives": "batch"}, {"matching": "enlarged"}])
def test_every_step_of_the_augmentation_serves_pairs(table, pairs):
    everything = make(table, augmentation=AugmentationConfig().everything(), **pairs)
    plain = make(table, augmentation=PLAIN, **pairs)
    whole = read(everything.epoch(1, 3))
    assert_equal(read(everything.epoch(1, 3, first=2)), whole[2:])
    for batch, before in zip(whole, read(plain.epoch(1, 3))):
        assert (batch[0] != before[0]).mean() > 0.5
        assert_equal([batch[1:]], [before[1:]])


@pytest.mark.parametrize("first", [1, 4])
def test_a_resumed_epoch_of_drawn_pairs_is_the_tail_of_the_whole(table, first):
    pipeline = make(table, augmentation=AugmentationConfig(color_probability=0.5),
                    matching="drawn", samples=1, negatives_per_positive=1)
    whole = read(pipeline.epoch(1, 5))
    assert_equal(read(pipeline.epoch(1, 5, first=first)), whole[first:])


def test_an_image_that_cannot_be_decoded_is_kept_as_an_error_that_names_it(table):
    pipeline = make(dataclasses.replace(table, encoded=[b"no image"] * len(table.encoded)))
    with pytest.raises(tf.errors.OpError):
        read(pipeline.epoch(0, 1))
    assert isinstance(pipeline.error, UserError)
    assert str(pipeline.error).split(":")[0] in set(table.index.paths)


def test_records_without_matching_pairs_are_refused(table):
    labels = np.arange(len(table.index))
    lone = dataclasses.replace(table, index=dataclasses.replace(table.index, labels=labels))
    with pytest.raises(UserError, match="no positive pair"):
        make(lone)


def test_drawn_pairs_carry_the_labels_of_their_images_where_asked_for(table):
    settings = DataConfig(
        augmentation=PLAIN, pairs=PairDataConfig(batch_size=6, negatives_per_positive=1,
                                                 matching="drawn"))
    pipeline = PairBatches(table, settings, *SIZE, 0, with_labels=True)
    assert pipeline.description == f"pairs drawn of {len(table.index)} images"
    batches = list(pipeline.epoch(0, 3))
    for images, first, second, match, labels in batches:
        assert images.shape == (12, *SIZE, 3) and labels.shape == (12,)
        same = labels.numpy()[first.numpy()] == labels.numpy()[second.numpy()]
        np.testing.assert_array_equal(same, match.numpy() == 1)
        assert match.numpy().sum() == 3
    # What is resumed in its middle goes on with the same batches.
    for mine, expected in zip(next(iter(pipeline.epoch(0, 3, 2))), batches[2]):
        np.testing.assert_array_equal(mine, expected)
