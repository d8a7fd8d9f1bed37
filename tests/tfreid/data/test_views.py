"""Views of identity splits: who is in them, labels and positions, by hand and through records."""

from __future__ import annotations

import dataclasses
import shutil

import cv2
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfrecords.manifest import Manifest, read_manifest, write_manifest
from tfrecords.records import build_records
from tfrecords.scan import ImageEntry, Scan
from tfreid.data.records import (
    decode_image,
    describe_records,
    read_encoded,
    read_index,
    split_names,
    split_size,
    stream_images,
)
from tfreid.data.tables import load_table
from tfreid.data.views import available_splits, make_view

SIZE = (16, 8)
# (person, camera) in record order; person 7 was seen by one camera, 5 by three.
IMAGES = [(5, 2), (3, 1), (7, 2), (5, 1), (3, 2), (9, 4), (5, 3), (9, 3), (5, 1), (9, 4), (3, 1)]
SPLITS = [{"train": [3, 7], "val": [9], "test": [5]},
          {"train": [5, 7, 9], "test": [3]}]
# Split number -> view -> (positions in the record order, labels).
BY_HAND = [
    {"train": ([1, 2, 4, 10], [0, 1, 0, 0]),
     "val_query": ([7], [-1]), "val_gallery": ([5, 9], [-1, -1]),
     "query": ([3, 8], [-1, -1]), "gallery": ([0, 6], [-1, -1])},
    {"train": ([0, 2, 3, 5, 6, 7, 8, 9], [0, 1, 0, 2, 0, 2, 0, 2]),
     "query": ([1, 10], [-1, -1]), "gallery": ([4], [-1])},
]
CASES = [(number, name) for number, views in enumerate(BY_HAND) for name in views]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Records of IMAGES with two identity splits, three shards; read only."""
    root = tmp_path_factory.mktemp("views")
    entries = []
    for position, (person, camera) in enumerate(IMAGES):
        image = np.full((20, 10, 3), 20 * position, np.uint8)
        cv2.imwrite(str(root / f"{position:02}.png"), image)
        entries.append(ImageEntry(f"{position:02}.png", person, camera))
    scan = Scan(root, {"images": entries}, identity_splits=SPLITS)
    build_records(scan, "drawn", root / "records", shards=3)
    return root / "records"


@pytest.fixture
def copied(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "copied")


@pytest.mark.parametrize(("number", "name"), CASES)
def test_a_view_by_hand(number, name):
    manifest = Manifest(1, "drawn", {}, {}, {}, SPLITS)
    view = make_view(manifest, name, number, *np.array(IMAGES).T)
    positions, labels = BY_HAND[number][name]
    assert view.positions.tolist() == positions
    assert view.labels.tolist() == labels


@pytest.mark.parametrize(("number", "name"), CASES)
def test_all_readers_see_the_view(drawn, number, name):
    positions, labels = BY_HAND[number][name]
    index = read_index(drawn, name, number=number)
    assert index.paths.tolist() == [f"{position:02}.png" for position in positions]
    assert index.labels.tolist() == labels
    assert list(zip(index.ids, index.cameras)) == [IMAGES[position] for position in positions]
    table = load_table(drawn, name, number=number)
    greys = [int(decode_image(image)[0, 0, 0]) for image in table.encoded]
    assert greys == [20 * position for position in positions]
    assert table.index.paths.tolist() == index.paths.tolist()
    assert table.megabytes == pytest.approx(sum(map(len, table.encoded)) / 1e6)
    streamed = np.concatenate(list(stream_images(drawn, name, *SIZE, 2, number=number)))
    assert streamed[:, 0, 0, 0].round().tolist() == greys
    assert read_encoded(drawn, name, np.arange(100), number=number) == table.encoded
    assert split_size(drawn, name, number) == (
        len(positions), len({IMAGES[position][0] for position in positions}))


def test_positions_count_within_the_view(drawn):
    wanted = np.array([1, 3])
    streamed = np.concatenate(list(stream_images(drawn, "train", *SIZE, 4, indices=wanted)))
    assert streamed[:, 0, 0, 0].round().tolist() == [20 * 2, 20 * 10]
    [encoded] = read_encoded(drawn, "train", np.array([5]), number=1)
    assert int(decode_image(encoded)[0, 0, 0]) == 20 * 7


def test_names_of_the_splits(drawn, records):
    assert split_names(drawn) == ["train", "val_query", "val_gallery", "query", "gallery"]
    assert available_splits(read_manifest(drawn)) == set(split_names(drawn))
    assert set(split_names(records)) == set(read_manifest(records).splits)
    assert describe_records(drawn, 1) == "drawn, split 1"
    assert describe_records(records) == "synthetic"
    train = read_manifest(records).splits["train"]
    assert split_size(records, "train") == (train.images, train.identities)
    halves = Manifest(1, "viper", {}, {}, {}, [{"train": [1], "test": [2]}])
    assert available_splits(halves) == {"train", "query", "gallery"}


READERS = {
    "index": read_index,
    "table": load_table,
    "stream": lambda *where, number: list(stream_images(*where, *SIZE, 4, number=number)),
    "encoded": lambda *where, number: read_encoded(*where, np.arange(2), number=number),
    "size": lambda *where, number: split_size(*where, number=number),
    "names": lambda directory, split, number: split_names(directory, number),
    "description": lambda directory, split, number: describe_records(directory, number),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_number_out_of_range(drawn, records, reader):
    for number in (2, -1):
        with pytest.raises(UserError, match=f"data.fold is {number} but .*records holds 2 "
                                            "identity splits; set it to 0 to 1"):
            READERS[reader](drawn, "query", number=number)
    with pytest.raises(UserError, match="data.fold is 1 but .* no identity splits; set it to 0"):
        READERS[reader](records, "query", number=1)


@pytest.mark.parametrize("reader", [name for name in READERS if name not in (
    "names", "description")])
def test_splits_that_are_not_there(drawn, reader):
    for name in ("images", "val", "multi_query"):
        with pytest.raises(UserError, match=f"no split '{name}'; it has train, val_query, "):
            READERS[reader](drawn, name, number=0)
    with pytest.raises(UserError, match="no image belongs to val_query of identity split 1"):
        READERS[reader](drawn, "val_query", number=1)


def test_shards_are_checked_as_those_of_any_split(copied):
    manifest = read_manifest(copied)
    broken = copied / "images-00001-of-00003.tfrecord"
    broken.write_bytes(broken.read_bytes()[:-3])
    with pytest.raises(UserError, match="images-00001-of-00003.tfrecord has"):
        read_index(copied, "train")
    write_manifest(copied, dataclasses.replace(manifest, identity_splits=[]))
    with pytest.raises(UserError, match="no split 'train'; it has images"):
        read_index(copied, "train")


def test_a_stream_names_the_undecodable_image_of_its_view(tmp_path, monkeypatch, encode_jpeg):
    whole, cut = encode_jpeg(1), encode_jpeg(2)
    contents = {"0.jpg": cut, "1.jpg": whole, "2.jpg": cut}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    entries = [ImageEntry("0.jpg", 1, 1), ImageEntry("1.jpg", 2, 1), ImageEntry("2.jpg", 2, 2)]
    scan = Scan(tmp_path, {"images": entries}, identity_splits=[{"train": [1], "test": [2]}])
    monkeypatch.setattr("tfrecords.writer._make_record", _record_cut_images(cut))
    build_records(scan, "cut", tmp_path / "records", shards=1)
    assert len(list(stream_images(tmp_path / "records", "query", *SIZE, 4))) == 1
    with pytest.raises(UserError, match="2.jpg: the image cannot be decoded"):
        list(stream_images(tmp_path / "records", "gallery", *SIZE, 4))


@pytest.fixture
def encode_jpeg():
    def encode(seed):
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 10, 3), dtype=np.uint8)
        return cv2.imencode(".jpg", pixels)[1].tobytes()

    return encode


def _record_cut_images(cut):
    """Returns the writer's function, which stores one image cut off instead of refusing it."""
    from tfrecords.schema import encode_record

    def make(data, entry, label):
        data = data[:len(data) // 3] if data == cut else data
        return encode_record(data, "jpeg", 20, 10, entry.path, entry.person_id, label,
                             entry.camera_id)

    return make
