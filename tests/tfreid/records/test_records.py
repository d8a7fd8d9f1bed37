"""Records read back: complete, in order, and refused where they are not whole."""

from __future__ import annotations

import dataclasses
import json
import shutil
import zlib

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tfrecords.errors import UserError
from tfrecords.manifest import (
    MANIFEST_NAME,
    Manifest,
    Shard,
    SplitEntry,
    read_manifest,
    write_manifest,
)
from tfrecords.schema import SCHEMA_VERSION, encode_record, parse_records
from tfreid.config import DataConfig
from tfreid.layers.preprocessing import InputSize
from tfreid.records import Records, decode_image, open_records

SIZE = InputSize(32, 16)
READERS = {
    "index": lambda split: split.index,
    "table": lambda split: split.load(),
    "batches": lambda split: list(split.batches(SIZE, 4)),
    "encoded": lambda split: split.encoded[0],
}


def jpeg(seed: int, height: int = 40, width: int = 20) -> bytes:
    small = np.random.default_rng(seed).integers(0, 256, (4, 2, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", cv2.resize(small, (width, height)))[1].tobytes()


@pytest.fixture
def write_records(tmp_path):
    """Returns a function that writes one shard of a split "train" and a manifest that fits it."""

    def write(images, claimed=None, directory=tmp_path / "records"):
        directory.mkdir(exist_ok=True)
        file = directory / "train-00000-of-00001.tfrecord"
        with tf.io.TFRecordWriter(str(file)) as writer:
            for number, image in enumerate(images):
                writer.write(encode_record(image, "jpeg", 40, 20, f"train/{number:04d}.jpg",
                                           10 + number, number, number % 3))
        content, count = file.read_bytes(), len(images) if claimed is None else claimed
        shard = Shard(file.name, count, len(content), f"{zlib.crc32(content):08x}")
        split = SplitEntry(count, count, 3, 0, (shard,))
        write_manifest(directory, Manifest(SCHEMA_VERSION, "test", {}, {"train": split}, {}))
        return directory

    return write


@pytest.fixture
def copied(records, tmp_path):
    return shutil.copytree(records, tmp_path / "copied")


def shard(directory, split="query"):
    return sorted(directory.glob(f"{split}-*.tfrecord"))[0]


def parsed_by_hand(directory, split) -> list[dict]:
    files = sorted(map(str, directory.glob(f"{split}-*.tfrecord")))
    rows = [raw.numpy() for file in files for raw in tf.data.TFRecordDataset(file)]
    return [{name: value[0].numpy() for name, value in parse_records([row]).items()}
            for row in rows]


@pytest.mark.parametrize("split", ["train", "query", "gallery"])
@pytest.mark.parametrize("verify", ["size", "checksum"])
def test_the_index_is_the_records_in_order(records, split, verify):
    opened = Records(records, verify=verify)
    index, rows = opened[split].index, parsed_by_hand(records, split)
    expected = read_manifest(records).splits[split].images
    assert len(opened[split]) == len(index) == len(rows) == expected
    np.testing.assert_array_equal(index.ids, [row["person/id"] for row in rows])
    np.testing.assert_array_equal(index.labels, [row["person/label"] for row in rows])
    np.testing.assert_array_equal(index.cameras, [row["camera/id"] for row in rows])
    np.testing.assert_array_equal(index.tracklets, [-1] * len(rows))
    np.testing.assert_array_equal(index.heights, [row["image/height"] for row in rows])
    np.testing.assert_array_equal(index.widths, [row["image/width"] for row in rows])
    assert list(index.paths) == [row["image/path"].decode() for row in rows]


def test_the_table_holds_every_training_image_and_label(records):
    table = Records(records)["train"].load()
    rows = parsed_by_hand(records, "train")
    assert table.encoded == [row["image/encoded"] for row in rows]
    assert set(table.index.labels) == set(range(8))
    assert table.megabytes == pytest.approx(sum(len(row["image/encoded"]) for row in rows) / 1e6)


def test_a_label_beyond_the_identities_is_refused(write_records):
    """It would make a classifier of that size."""
    directory = write_records([jpeg(0)] * 3)
    path = directory / MANIFEST_NAME
    content = json.loads(path.read_text())
    content["splits"]["train"]["identities"] = 2
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="labels from 0 to 2 but its manifest says 2 ident"):
        len(Records(directory)["train"])


def test_long_splits_stay_in_order(write_records):
    """More images than one parsed block holds."""
    directory = write_records([jpeg(0)] * 2100)
    np.testing.assert_array_equal(Records(directory)["train"].index.ids, 10 + np.arange(2100))


@pytest.mark.parametrize("batch_size", [1, 5, 1000])
@pytest.mark.parametrize("workers", [0, 3])
def test_the_stream_is_every_image_once_in_order(records, batch_size, workers):
    places, batches = zip(*Records(records)["gallery"].batches(SIZE, batch_size, workers))
    rows = parsed_by_hand(records, "gallery")
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    images = np.concatenate(batches)
    np.testing.assert_array_equal(np.concatenate(places), np.arange(len(rows)))
    assert images.dtype == np.float32
    expected = [tf.image.resize(decode_image(row["image/encoded"]), (32, 16),
                                antialias=True).numpy() for row in rows]
    np.testing.assert_allclose(images, expected, atol=0.05)


def test_batches_of_some_positions_in_any_order(records):
    split = Records(records)["gallery"]
    everything = np.concatenate([images for _, images in split.batches(SIZE, 4)])
    wanted = np.array([4, 0, len(split) - 1, 3])
    some = list(split.batches(SIZE, 3, positions=wanted))
    assert [places.tolist() for places, _ in some] == [[0, 1, 2], [3]]
    np.testing.assert_array_equal(np.concatenate([images for _, images in some]),
                                  everything[wanted])
    assert list(split.batches(SIZE, 3, positions=wanted[:0])) == []


@pytest.mark.parametrize("indices", [None, np.array([0, 3, 4, 9])])
def test_the_undistorted_stream_is_every_image_once_in_batches_of_one_size(records, indices):
    rows = parsed_by_hand(records, "gallery")
    chosen = rows if indices is None else [rows[index] for index in indices]
    size, seen, sizes = InputSize(1, 1, 40), [], set()
    for places, images in Records(records)["gallery"].batches(size, 3, positions=indices):
        assert 0 < len(images) <= 3 and max(images.shape[1:3]) == 40
        sizes.add(images.shape[1:3])
        for place, image in zip(places, images):
            decoded = decode_image(chosen[place]["image/encoded"])
            height, width = decoded.shape[:2]
            assert abs(image.shape[1] / image.shape[0] - width / height) < 1 / 40
            expected = tf.image.resize(decoded, image.shape[:2], antialias=True)
            np.testing.assert_allclose(image, expected, atol=0.05)
            seen.append(place)
    assert sorted(seen) == list(range(len(chosen))) and len(sizes) > 1


def test_encoded_images_of_some_positions(records):
    rows, encoded = parsed_by_hand(records, "query"), Records(records)["query"].encoded
    assert len(encoded) == len(rows)
    for position in (5, 1, 2):
        assert encoded[position] == rows[position]["image/encoded"]


def test_png_and_grey_images_decode_to_rgb():
    grey = np.arange(200, dtype=np.uint8).reshape(20, 10)
    decoded = decode_image(tf.constant(cv2.imencode(".png", grey)[1].tobytes()))
    assert decoded.dtype == tf.uint8
    np.testing.assert_array_equal(decoded, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize(("present", "claimed"), [(3, 4), (3, 2), (0, 2)])
def test_records_that_disagree_with_their_manifest(write_records, present, claimed):
    directory = write_records([jpeg(i) for i in range(present)], claimed)
    for read in READERS.values():
        with pytest.raises(UserError, match=f"train has {present} images .* says {claimed}"):
            read(Records(directory)["train"])


def test_an_empty_split_is_refused(write_records):
    with pytest.raises(UserError, match="train.*0 images"):
        Records(write_records([]))["train"].load()


def test_a_shard_of_another_size_is_refused(copied):
    shard(copied).write_bytes(shard(copied).read_bytes()[:-7])
    for read in READERS.values():
        with pytest.raises(UserError, match=shard(copied).name):
            read(Records(copied)["query"])


def test_a_damaged_shard_is_named_as_damaged(copied):
    content = bytearray(shard(copied).read_bytes())
    content[len(content) // 2] ^= 0xFF
    shard(copied).write_bytes(content)
    for read in READERS.values():
        with pytest.raises(UserError, match="a shard of split query is damaged") as caught:
            read(Records(copied)["query"])
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=f"{shard(copied).name} has another checksum"):
        len(Records(copied, verify="checksum")["query"])


@pytest.mark.parametrize("place", [0, 2, 9])
def test_a_shard_with_a_damaged_head_is_named_as_damaged(copied, place):
    content = bytearray(shard(copied).read_bytes())
    content[place] ^= 0xFF
    shard(copied).write_bytes(content)
    with pytest.raises(UserError, match="a shard of split query is damaged"):
        len(Records(copied)["query"])


def test_records_of_another_schema_are_damaged(tmp_path, write_records):
    directory = write_records([jpeg(0)])
    file = shard(directory, "train")
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(tf.train.Example().SerializeToString())
    manifest = read_manifest(directory)
    split = manifest.splits["train"]
    fitting = dataclasses.replace(split.shards[0], bytes=file.stat().st_size)
    split = dataclasses.replace(split, shards=(fitting,))
    write_manifest(directory, dataclasses.replace(manifest, splits={"train": split}))
    for read in READERS.values():
        with pytest.raises(UserError, match="a shard of split train is damaged"):
            read(Records(directory)["train"])


def test_missing_records_and_splits_are_named(copied, tmp_path):
    with pytest.raises(UserError, match="manifest.json"):
        Records(tmp_path / "none")
    with pytest.raises(UserError, match="no split 'val'; it has .*query"):
        Records(copied)["val"]
    (copied / MANIFEST_NAME).write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(UserError, match="schema version 99"):
        Records(copied)


def test_a_truncated_image_is_named(write_records):
    images = [jpeg(i) for i in range(5)]
    images[3] = images[3][:len(images[3]) // 3]
    directory = write_records(images)
    with pytest.raises(UserError, match=r"train/0003\.jpg: the image cannot be decoded"):
        list(Records(directory)["train"].batches(SIZE, 2))
    with pytest.raises(UserError, match=r"train/0003\.jpg: the image cannot be decoded"):
        Records(directory)["train"].load()
    images[4] = b"no image"
    with pytest.raises(UserError, match=r"train/0003\.jpg \(and 1 more\): the image"):
        Records(write_records(images))["train"].load()


def test_an_undecodable_image_outside_the_wanted_ones_does_no_harm(write_records):
    directory = write_records([jpeg(0), b"no image", jpeg(2)])
    batches = list(Records(directory)["train"].batches(SIZE, 2, positions=np.array([0, 2])))
    assert [len(images) for _, images in batches] == [2]


def test_the_manifest_and_each_shard_are_read_once(records, count_reads):
    opened = Records(records)
    assert opened.dataset == opened.description == "synthetic" and "query" in opened
    assert not count_reads.shards
    for name in ("query", "train"):
        for read in READERS.values():
            read(opened[name])
    assert count_reads.manifests == 1
    assert sorted(count_reads.shards) == sorted(
        path.name for name in ("query", "train") for path in records.glob(f"{name}-*.tfrecord"))


def test_missing_settings_are_named():
    with pytest.raises(UserError, match="data.records is not set"):
        open_records(DataConfig())
