"""Records of several folders: what is joined, what stays apart, what is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfrecords.records import build_records
from tfrecords.scan import ImageEntry, Scan
from tfreid.config import DataConfig, SubsetConfig
from tfreid.data.subsets import draw_subset, validation_records
from tfreid.records import JoinedRecords, Records, open_first, open_records, open_training
from tfreid.records.images import JoinedImages
from tfreid.records.shards import SplitIndex
from tfreid.records.sources import _join, find_left_out, name_folders


@pytest.fixture
def both(records, other_records):
    return DataConfig(records=[str(records), str(other_records)])


def index_of(ids, labels, cameras, tracklets, paths) -> SplitIndex:
    sides = np.full(len(ids), 8)
    return SplitIndex(*map(np.array, (ids, labels, cameras, paths, tracklets)), sides, sides)


def test_labels_cameras_and_tracklets_are_apart_by_hand():
    """The second source's numbers go on behind the largest of the first; unknown stays unknown."""
    first = index_of([7, 7, 2], [1, 1, 0], [3, -1, 0], [-1, -1, -1], ["a", "b", "c"])
    second = index_of([7, 9, 0], [0, 2, 1], [0, 3, -1], [4, -1, 0], ["a", "d", "e"])
    third = index_of([1], [0], [0], [0], ["a"])
    joined = _join([first, second, third], ["market", "viper", "mine"])
    assert joined.ids.tolist() == [7, 7, 2, 15, 17, 8, 19]
    assert joined.labels.tolist() == [1, 1, 0, 2, 4, 3, 5]
    assert joined.cameras.tolist() == [3, -1, 0, 4, 7, -1, 8]
    assert joined.tracklets.tolist() == [-1, -1, -1, 4, -1, 0, 5]
    assert joined.paths.tolist() == ["market/a", "market/b", "market/c", "viper/a", "viper/d",
                                     "viper/e", "mine/a"]


def test_the_training_images_of_both_folders(both, records, other_records):
    opened = open_training(both)
    table = opened.load_training()
    assert list(opened.trained) == list(opened.tested) == ["records", "others"]
    mine, theirs = (Records(folder)["train"] for folder in (records, other_records))
    assert len(table.index) == len(mine) + len(theirs) == 48 + 20
    assert list(table.encoded) == [*mine.encoded, *theirs.encoded]
    assert np.unique(table.index.labels).tolist() == list(range(8 + 5))
    assert not {*table.index.cameras[:48]} & {*table.index.cameras[48:]}
    assert table.sources.of_image.tolist() == [0] * 48 + [1] * 20
    assert table.description == ("68 images of 13 identities (records: 48 images of 8 identities; "
                                 "others: 20 images of 5 identities)")
    some = table.take(np.array([50, 3]))
    assert some.sources.of_image.tolist() == [1, 0] and some.encoded[1] == table.encoded[3]


def test_images_that_do_not_fit_are_read_when_needed(both):
    """The first folder's images fit into half a megabyte, with the second's they do not."""
    opened = open_training(both)
    sizes = [one["train"].load(0).megabytes for one in opened.sources.values()]
    limit = sizes[0] + sizes[1] / 2
    table = opened.load_training(limit)
    assert table.limit == limit and table.megabytes == pytest.approx(sum(sizes))
    assert isinstance(table.encoded, JoinedImages) and len(table.encoded) == 68
    whole = open_training(both).load_training()
    assert list(table.encoded) == whole.encoded and whole.limit is None


def test_subsets_are_of_each_source_and_those_of_the_source_alone(both):
    config, opened = SubsetConfig(validation=2, seed=3), open_training(both)
    table = opened.load_training(choose=lambda index: draw_subset(index, config).training)
    assert np.unique(table.index.labels).tolist() == list(range(6 + 3))
    starts = [0, 1 + max(opened.sources["records"]["train"].index.ids)]
    for number, (name, one) in enumerate(opened.trained.items()):
        held_out = {*validation_records(one, config)["query"].index.ids}
        trained = {*(table.index.ids[table.sources.of_image == number] - starts[number])}
        alone = one["train"].index
        assert len(held_out) == 2 and not held_out & trained, name
        assert trained == {*alone.ids[draw_subset(alone, config).training]}
    with pytest.raises(UserError, match=r"others: data\.subset\.identities is 6 but there are only "
                                        "5 training identities"):
        opened.load_training(choose=lambda index: draw_subset(
            index, SubsetConfig(identities=6)).training)


@pytest.mark.parametrize("leave_out", ["others", 1])
def test_one_is_left_out_by_name_or_place(both, leave_out):
    opened = open_training(dataclasses.replace(both, leave_out=leave_out))
    assert list(opened.trained) == ["records"] and list(opened.tested) == ["others"]
    assert len(opened.load_training().index) == 48


def test_names_of_folders(tmp_path):
    named = name_folders([tmp_path / "a" / "records", tmp_path / "b" / "records", "my, records"])
    assert list(named) == ["records", "records-2", "my, records"]
    data = DataConfig(records=[str(folder) for folder in named.values()], leave_out="records-2")
    assert find_left_out(data) == "records-2"
    assert find_left_out(dataclasses.replace(data, leave_out=2)) == "my, records"
    data = DataConfig(records=["7", "8"], leave_out=7)  # a name that YAML reads as a number
    assert find_left_out(data) == "7"


def test_one_folder_in_a_list_is_that_folder(records):
    data = DataConfig(records=[str(records)])
    assert data == DataConfig(records=str(records)) and data.named == str(records)
    assert isinstance(open_training(data), Records)


@pytest.mark.parametrize(("more", "changes", "words"), [
    (["SAME"], {}, "is named twice"),
    (["MISSING"], {}, "missing holds no manifest.json"),
    (["EMPTY"], {}, "empty holds no manifest.json"),
    (["OLD"], {}, r"old/manifest.json has schema version 0 but this code reads"),
    (["OTHER"], {"leave_out": "viper"},
     r"has the sources records \(0\), others \(1\); give one of these names or numbers"),
    (["OTHER"], {"leave_out": 2}, "data.leave_out is 2, but data.records has the sources"),
    ([], {"leave_out": 0}, "data.records is one folder; name several"),
    (["OTHER"], {"fold": 1}, "data.fold is 1 but .*records has no folds"),
    (["TRAIN"], {"leave_out": 1}, "train has no query and gallery to test on"),
    (["TEST"], {}, "has no split 'train'; it has query, gallery"),
])
def test_what_does_not_fit_is_one_sentence(records, other_records, tmp_path, more, changes, words):
    folders = {"SAME": f"{records}/../records", "OTHER": str(other_records)}
    for name in ("missing", "empty", "old", "train", "test"):
        folders[name.upper()] = str(tmp_path / name)
    (tmp_path / "empty").mkdir()
    for name, kept in (("old", None), ("train", ["train"]), ("test", ["query", "gallery"])):
        shutil.copytree(other_records, tmp_path / name)
        path = tmp_path / name / "manifest.json"
        content = json.loads(path.read_text())
        if kept is None:
            content["schema_version"] = 0
        else:
            content["splits"] = {split: content["splits"][split] for split in kept}
        path.write_text(json.dumps(content))
    data = DataConfig(records=[str(records), *map(folders.get, more)], **changes)
    with pytest.raises(UserError, match=words) as caught:
        open_training(data).load_training()
    assert "\n" not in str(caught.value)


def test_what_takes_one_folder_says_so(both, records):
    with pytest.raises(UserError, match=r"names 2 folders, but this takes .* data\.records=/"):
        open_records(both)
    assert open_first(both).directory == records


def test_a_fold_is_that_of_the_records_that_have_folds(records, tmp_path):
    import cv2

    entries = []
    for person in range(4):
        for camera in range(2):
            path = f"{person}{camera}.png"
            cv2.imwrite(str(tmp_path / path), np.full((16, 8, 3), 30 * person + camera, np.uint8))
            entries.append(ImageEntry(path, person, camera))
    folds = [{"train": [0, 1], "test": [2, 3]}, {"train": [1, 3], "test": [0, 2]}]
    build_records(Scan(tmp_path, {"images": entries}, identity_splits=folds), "drawn",
                  tmp_path / "drawn", shards=1)
    opened_with = DataConfig(records=[str(records), str(tmp_path / "drawn")], fold=1)
    opened = JoinedRecords(opened_with)
    assert [one.description for one in opened.sources.values()] == ["synthetic", "drawn, fold 1"]
    assert open_first(opened_with).description == "synthetic"
    index = opened.load_training().index
    assert np.unique(index.labels).tolist() == list(range(10))
    assert {path[:-5] for path in index.paths[48:]} == {"drawn/1", "drawn/3"}
