"""Splits of folds: who is in them, labels and positions, by hand and through records."""

from __future__ import annotations

import dataclasses
import shutil

import cv2
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfrecords.images import ImageInfo
from tfrecords.manifest import Manifest, read_manifest, write_manifest
from tfrecords.records import build_records
from tfrecords.scan import ImageEntry, Scan
from tfreid.layers.preprocessing import InputSize
from tfreid.records import Records, decode_image
from tfreid.records.folds import select_images, split_names

SIZE = InputSize(16, 8)
# (person, camera) in record order; person 7 was seen by one camera, 5 by three.
IMAGES = [(5, 2), (3, 1), (7, 2), (5, 1), (3, 2), (9, 4), (5, 3), (9, 3), (5, 1), (9, 4), (3, 1)]
FOLDS = [{"train": [3, 7], "val": [9], "test": [5]},
          {"train": [5, 7, 9], "test": [3]}]
# Fold -> split -> (positions in the record order, labels).
BY_HAND = [
    {"train": ([1, 2, 4, 10], [0, 1, 0, 0]),
     "val_query": ([7], [-1]), "val_gallery": ([5, 9], [-1, -1]),
     "query": ([3, 8], [-1, -1]), "gallery": ([0, 6], [-1, -1])},
    {"train": ([0, 2, 3, 5, 6, 7, 8, 9], [0, 1, 0, 2, 0, 2, 0, 2]),
     "query": ([1, 10], [-1, -1]), "gallery": ([4], [-1])},
]
CASES = [(fold, name) for fold, splits in enumerate(BY_HAND) for name in splits]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Records of IMAGES with two folds, three shards; read only."""
    root = tmp_path_factory.mktemp("folds")
    entries = []
    for position, (person, camera) in enumerate(IMAGES):
        image = np.full((20, 10, 3), 20 * position, np.uint8)
        cv2.imwrite(str(root / f"{position:02}.png"), image)
        entries.append(ImageEntry(f"{position:02}.png", person, camera))
    scan = Scan(root, {"images": entries}, identity_splits=FOLDS)
    build_records(scan, "drawn", root / "records", shards=3)
    return root / "records"


@pytest.fixture
def copied(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "copied")


@pytest.mark.parametrize(("fold", "name"), CASES)
def test_a_split_by_hand(fold, name):
    positions, labels = select_images(FOLDS[fold], name, *np.array(IMAGES).T)
    assert (positions.tolist(), labels.tolist()) == BY_HAND[fold][name]


@pytest.mark.parametrize(("fold", "name"), CASES)
@pytest.mark.parametrize("limit", [None, 0])
def test_all_readers_see_the_split(drawn, fold, name, limit):
    positions, labels = BY_HAND[fold][name]
    split = Records(drawn, fold)[name]
    table, index = split.load(limit), split.index
    assert index.paths.tolist() == [f"{position:02}.png" for position in positions]
    assert index.labels.tolist() == labels
    assert list(zip(index.ids, index.cameras)) == [IMAGES[position] for position in positions]
    greys = [int(decode_image(image)[0, 0, 0]) for image in table.encoded]
    assert greys == [20 * position for position in positions]
    assert table.index.paths.tolist() == index.paths.tolist()
    assert table.megabytes == pytest.approx(sum(map(len, table.encoded)) / 1e6)
    streamed = np.concatenate([images for _, images in split.batches(SIZE, 2)])
    assert streamed[:, 0, 0, 0].round().tolist() == greys
    assert list(split.encoded) == list(table.encoded)
    assert (len(split), split.identities) == (
        len(positions), len({IMAGES[position][0] for position in positions}))


def test_positions_count_within_the_split(drawn):
    wanted = np.array([1, 3])
    (_, streamed), = Records(drawn)["train"].batches(SIZE, 4, positions=wanted)
    assert streamed[:, 0, 0, 0].round().tolist() == [20 * 2, 20 * 10]
    assert int(decode_image(Records(drawn, 1)["train"].encoded[5])[0, 0, 0]) == 20 * 7


def test_names_of_the_splits(drawn, records):
    assert Records(drawn).splits == ["train", "val_query", "val_gallery", "query", "gallery"]
    assert "val_query" in Records(drawn) and "images" not in Records(drawn)
    opened = Records(records)
    assert set(opened.splits) == set(read_manifest(records).splits)
    assert Records(drawn, 1).description == "drawn, fold 1"
    assert opened.description == "synthetic"
    train = read_manifest(records).splits["train"]
    assert (len(opened["train"]), opened["train"].identities) == (train.images, train.identities)
    halves = Manifest(1, "viper", {}, {}, {}, [{"train": [1], "test": [2]}])
    assert split_names(halves) == ["train", "query", "gallery"]


def test_all_splits_of_a_fold_share_one_scan(drawn, count_reads):
    opened = Records(drawn)
    table = opened["train"].load()
    for name in opened.splits:
        assert len(opened[name]) == len(opened[name].encoded)
    assert table.encoded[0] is opened["train"].encoded[0]
    assert count_reads.manifests == 1
    assert count_reads.shards == [path.name for path in sorted(drawn.glob("images-*"))]


def test_a_fold_out_of_range(drawn, records):
    for fold in (2, -1):
        with pytest.raises(UserError, match=f"data.fold is {fold} but .*records has 2 folds; set "
                                            "it to 0 to 1"):
            Records(drawn, fold)
    with pytest.raises(UserError, match="data.fold is 1 but .* has no folds; set it to 0"):
        Records(records, 1)


READERS = {
    "index": lambda split: split.index,
    "table": lambda split: split.load(),
    "stream": lambda split: list(split.batches(SIZE, 4)),
    "encoded": lambda split: split.encoded,
    "identities": lambda split: split.identities,
}


@pytest.mark.parametrize("reader", READERS)
def test_splits_that_are_not_there(drawn, reader):
    for name in ("images", "val", "multi_query"):
        with pytest.raises(UserError, match=f"no split '{name}'; it has train, val_query, "):
            Records(drawn)[name]
    with pytest.raises(UserError, match="no image belongs to val_query of fold 1"):
        READERS[reader](Records(drawn, 1)["val_query"])


def test_shards_are_checked_as_those_of_any_split(copied):
    manifest = read_manifest(copied)
    broken = copied / "images-00001-of-00003.tfrecord"
    broken.write_bytes(broken.read_bytes()[:-3])
    with pytest.raises(UserError, match="images-00001-of-00003.tfrecord has"):
        len(Records(copied)["train"])
    write_manifest(copied, dataclasses.replace(manifest, identity_splits=[]))
    with pytest.raises(UserError, match="no split 'train'; it has images"):
        Records(copied)["train"]


def test_a_stream_names_the_undecodable_image_of_its_split(tmp_path, monkeypatch, encode_jpeg):
    whole, cut = encode_jpeg(1), encode_jpeg(2)
    contents = {"0.jpg": cut, "1.jpg": whole, "2.jpg": cut}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    entries = [ImageEntry("0.jpg", 1, 1), ImageEntry("1.jpg", 2, 1), ImageEntry("2.jpg", 2, 2)]
    scan = Scan(tmp_path, {"images": entries}, identity_splits=[{"train": [1], "test": [2]}])
    monkeypatch.setattr("tfrecords.writer.stored_image", _store_cut_images(cut))
    build_records(scan, "cut", tmp_path / "records", shards=1)
    assert len(list(Records(tmp_path / "records")["query"].batches(SIZE, 4))) == 1
    with pytest.raises(UserError, match="2.jpg: the image cannot be decoded"):
        list(Records(tmp_path / "records")["gallery"].batches(SIZE, 4))


@pytest.fixture
def encode_jpeg():
    def encode(seed):
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 10, 3), dtype=np.uint8)
        return cv2.imencode(".jpg", pixels)[1].tobytes()

    return encode


def _store_cut_images(cut):
    """Returns the writer's function, which stores one image cut off instead of refusing it."""
    def store(data, max_pixels):
        return data[:len(data) // 3] if data == cut else data, ImageInfo("jpeg", 20, 10)

    return store
