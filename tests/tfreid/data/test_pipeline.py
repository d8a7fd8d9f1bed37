"""Training batches: their pixels, and that (seed, epoch, position) alone fixes them."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.config import AugmentationConfig, DataConfig
from tfreid.data.batches import IdentityBatches
from tfreid.records import Records, decode_image

PLAIN = AugmentationConfig(flip_probability=0.0, pad=0, erasing_probability=0.0)
SIZE = (64, 32)


@pytest.fixture(scope="module")
def table(records):
    return Records(records)["train"].load()


def make(table, seed=0, size=SIZE, **data) -> IdentityBatches:
    config = DataConfig(**{"identities_per_batch": 4, "images_per_identity": 2, **data})
    return IdentityBatches(table, config, *size, seed)


def read(dataset) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(images.numpy(), labels.numpy()) for images, labels in dataset]


def assert_equal(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def difference(one, other) -> float:
    return np.abs(one.astype(float) - other).mean()


def bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Enlarges by linear interpolation between pixel centres, the border pixels repeated."""
    for axis, size in ((0, height), (1, width)):
        old = image.shape[axis]
        centres = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
        below = np.minimum(centres.astype(int), old - 2)
        weight = (centres - below).reshape([-1 if a == axis else 1 for a in range(3)])
        image = (np.take(image, below, axis) * (1 - weight)
                 + np.take(image, below + 1, axis) * weight)
    return image


def test_erased_rectangles_have_the_colour_of_the_settings(table):
    plain = read(make(table, augmentation=PLAIN).epoch(0, 1))
    erasing = dataclasses.replace(PLAIN, erasing_probability=1.0, erasing_color=[1, 250, 3])
    erased = read(make(table, augmentation=erasing).epoch(0, 1))
    for before, after in zip(plain[0][0], erased[0][0]):
        changed = np.any(before != after, axis=2)
        assert changed.mean() > 0.01
        np.testing.assert_array_equal(np.unique(after[changed], axis=0), [[1, 250, 3]])


def test_batches_have_the_recipes_shape_and_types(table):
    pipeline = make(table)
    dataset = pipeline.epoch(0, 3)
    assert dataset.element_spec[0].shape.as_list() == [8, *SIZE, 3]
    batches = read(dataset)
    assert len(batches) == 3
    assert pipeline.batch_size == 8
    for images, labels in batches:
        assert (images.shape, images.dtype) == ((8, *SIZE, 3), np.uint8)
        assert (labels.shape, labels.dtype) == ((8,), np.int32)
        assert len(np.unique(labels)) == 4
        np.testing.assert_array_equal(labels[::2], labels[1::2])


def test_pixels_match_numpy_where_augmentation_is_off(table):
    decoded = [decode_image(encoded).numpy() for encoded in table.encoded]
    # Nothing shrinks, so that plain interpolation is what to expect.
    size = np.max([image.shape[:2] for image in decoded], axis=0) + (7, 4)
    images, labels = read(make(table, size=size, augmentation=PLAIN).epoch(0, 1))[0]
    enlarged = np.array([bilinear(image.astype(float), *size) for image in decoded])
    found = [int(np.argmin(np.abs(enlarged - image).mean(axis=(1, 2, 3)))) for image in images]
    np.testing.assert_allclose(images, enlarged[found], atol=1.1)
    np.testing.assert_array_equal(labels, table.index.labels[found])
    assert len(set(found)) == 8


def test_the_same_batches_from_two_instances_and_again(table):
    first = make(table)
    expected = read(first.epoch(2, 3))
    read(first.epoch(0, 2))
    assert_equal(read(first.epoch(2, 3)), expected)
    assert_equal(read(make(table).epoch(2, 3)), expected)
    assert_equal(read(make(table, workers=1).epoch(2, 3)), expected)


def test_a_dataset_can_be_read_twice(table):
    dataset = make(table).epoch(0, 2)
    assert_equal(read(dataset), read(dataset))


@pytest.mark.parametrize("first", [0, 1, 4, 5])
def test_a_resumed_epoch_is_the_tail_of_the_whole(table, first):
    pipeline = make(table, augmentation=AugmentationConfig(color_probability=0.5))
    whole = read(pipeline.epoch(1, 5))
    assert_equal(read(pipeline.epoch(1, 5, first=first)), whole[first:])
    assert_equal(read(pipeline.epoch(1, 5, 1, np.array([0, 3]))), [whole[1], whole[4]])


def test_epochs_and_seeds_have_other_batches(table):
    batches = [make(table, seed).epoch(epoch, 1) for seed in (0, 1) for epoch in (0, 1)]
    images = [read(dataset)[0][0] for dataset in batches]
    for one in range(4):
        for other in range(one):
            assert difference(images[one], images[other]) > 1


def test_the_same_image_is_augmented_anew_each_time(table):
    lone = dataclasses.replace(
        table, encoded=table.encoded[:1] * 8,
        index=dataclasses.replace(table.index, labels=np.arange(8) // 2))
    images = read(make(lone).epoch(0, 1))[0][0]
    for one in range(8):
        for other in range(one):
            assert difference(images[one], images[other]) > 1


def replaced(table, image) -> object:
    """The table with one image in the place of all."""
    return dataclasses.replace(table, encoded=[image] * len(table.encoded))


def jpeg(pixels, quality=100) -> bytes:
    return cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


@pytest.mark.parametrize("has_rgb", [True, False])
def test_channels_are_rgb_whatever_opencv_can_decode_to(table, monkeypatch, has_rgb):
    if not has_rgb:
        monkeypatch.setattr("tfreid.data.image_batches._READ_RGB", None)
    red = np.full((40, 20, 3), (200, 30, 60), np.uint8)
    images = read(make(replaced(table, jpeg(red)), augmentation=PLAIN).epoch(0, 1))[0][0]
    np.testing.assert_allclose(images, np.broadcast_to((200, 30, 60), images.shape), atol=3)


def test_no_tag_turns_an_image_of_a_record(table, tag_orientation):
    pixels = np.zeros((40, 20, 3), np.uint8)
    pixels[:20] = 200
    image = tag_orientation(jpeg(pixels), 6)
    images = read(make(replaced(table, image), augmentation=PLAIN).epoch(0, 1))[0][0]
    assert images[:, :28].min() > 190
    assert images[:, 36:].max() < 10


def test_grey_png_images_become_rgb(table):
    grey = np.arange(200, dtype=np.uint8).reshape(20, 10)
    image = cv2.imencode(".png", grey)[1].tobytes()
    images = read(make(replaced(table, image), size=(20, 10), augmentation=PLAIN).epoch(0, 1))[0][0]
    np.testing.assert_array_equal(images[0], np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("damaged", [b"no image", b"", b"\xff\xd8\xff\xda\xff\xd9"])
def test_an_image_that_cannot_be_decoded_is_kept_as_an_error_that_names_it(table, damaged):
    pipeline = make(replaced(table, damaged))
    with pytest.raises(tf.errors.OpError):
        read(pipeline.epoch(0, 1))
    assert isinstance(pipeline.error, UserError)
    assert str(pipeline.error).split(":")[0] in set(table.index.paths)
    assert "cannot be decoded" in str(pipeline.error)


def test_too_few_identities_are_refused(table):
    with pytest.raises(UserError, match=r"data\.identities_per_batch is 9"):
        make(table, identities_per_batch=9)


def test_everything_on_resumes_with_the_same_pixels_and_other_threads(table):
    everything = AugmentationConfig().everything()
    whole = read(make(table, augmentation=everything).epoch(1, 4))
    again = make(table, augmentation=everything, workers=1)
    assert_equal(read(again.epoch(1, 4, first=2)), whole[2:])
    assert_equal(read(again.epoch(1, 4)), whole)


def test_batches_are_balanced_by_the_cameras_of_the_records(table):
    cameras = table.index.cameras
    lone = dataclasses.replace(table, index=dataclasses.replace(
        table.index, cameras=np.full_like(cameras, -1)))
    with pytest.raises(UserError, match="data.balance_cameras"):
        make(lone, balance_cameras=True)
    plan = make(table, balance_cameras=True)._sampler.epoch(0, 30).reshape(-1, 2)
    for first, second in plan:
        own = np.unique(cameras[table.index.labels == table.index.labels[first]])
        assert len(np.unique(cameras[[first, second]])) == min(2, len(own))
