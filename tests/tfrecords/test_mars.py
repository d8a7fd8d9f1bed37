"""MARS: tracklets by tables of rows, junk dropped, distractors kept."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf
from scipy.io import savemat

from tfrecords.build import main
from tfrecords.errors import UserError
from tfrecords.manifest import shard_paths
from tfrecords.mars import scan_mars
from tfrecords.schema import parse_records

# Person, camera, number and frames of each tracklet; the list of test names has frames 999 and
# 1000 of one tracklet in the order of their names as text.
TRAIN = [("0001", 1, 1, (1, 2, 3)), ("0001", 2, 1, (1, 2)), ("0003", 6, 1, (1,))]
TEST = [("00-1", 1, 1, (1, 2)), ("0000", 3, 1, (1, 2)), ("0000", 4, 2, (1,)),
        ("0002", 1, 1, (1, 2)), ("0002", 2, 1, (1000, 999)), ("0004", 1, 1, (1,)),
        ("0004", 5, 1, (1, 2)), ("00-1", 2, 2, (1,))]
QUERIES = [6, 4]


def _names(tracklets) -> list[str]:
    return [f"{person}C{camera}T{number:04}F{frame:03}.jpg"
            for person, camera, number, frames in tracklets for frame in frames]


def _table(tracklets) -> np.ndarray:
    lasts = np.cumsum([len(frames) for *_, frames in tracklets])
    return np.array([(last - len(frames) + 1, last, -1 if person == "00-1" else int(person), camera)
                     for last, (person, camera, _, frames) in zip(lasts, tracklets)], np.int32)


def _write_info(root, **changes):
    """Writes the folder info; `changes` replaces a list of names or a variable of a .mat."""
    content = {"train_name": _names(TRAIN), "test_name": _names(TEST),
               "track_train_info": _table(TRAIN), "track_test_info": _table(TEST),
               "query_IDX": np.array([QUERIES], np.uint16), **changes}
    info = root / "info"
    info.mkdir(exist_ok=True)
    for name in ("train_name", "test_name"):
        (info / f"{name}.txt").write_text("".join(f"{line}\n" for line in content[name]))
    for half in ("train", "test"):
        savemat(info / f"tracks_{half}_info.mat",
                {f"track_{half}_info": content[f"track_{half}_info"]})
    savemat(info / "query_IDX.mat", {"query_IDX": content["query_IDX"]})


def _with_row(table, row, values) -> np.ndarray:
    table = table.copy()
    table[row - 1] = values
    return table


@pytest.fixture
def root(tmp_path, write_images, clutter):
    """MARS in miniature, in a folder above it."""
    root = tmp_path / "data" / "MARS"
    for folder, tracklets in (("bbox_train", TRAIN), ("bbox_test", TEST)):
        write_images(root / folder, [f"{name[:4]}/{name}" for name in _names(tracklets)])
    clutter(root / "bbox_test" / "0002")
    _write_info(root)
    return root


def _rows(entries) -> list[tuple[int, int, int]]:
    return [(entry.person_id, entry.camera_id, entry.tracklet_id) for entry in entries]


def test_rows_of_the_tables_are_tracklets(root):
    scan = scan_mars(root.parent)
    assert _rows(scan.splits["train"]) == [(1, 1, 1)] * 3 + [(1, 2, 2)] * 2 + [(3, 6, 3)]
    # Row 6 is the first entry of query_IDX; the gallery is what is neither query nor junk.
    assert _rows(scan.splits["query"]) == [(4, 1, 6), (2, 1, 4), (2, 1, 4)]
    assert _rows(scan.splits["gallery"]) == [
        (0, 3, 2), (0, 3, 2), (0, 4, 3), (2, 2, 5), (2, 2, 5), (4, 5, 7), (4, 5, 7)]
    assert scan.splits["train"][3].path == "bbox_train/0001/0001C2T0001F001.jpg"
    assert scan.dropped == {"junk": 3, "not_an_image": 3}
    assert scan.distractor_id == 0


def test_images_of_a_tracklet_are_in_the_order_of_frames(root):
    paths = [entry.path for entry in scan_mars(root).splits["gallery"] if entry.tracklet_id == 5]
    assert paths == [f"bbox_test/0002/0002C2T0001F{frame}.jpg" for frame in ("999", "1000")]


def test_the_authors_gallery_holds_the_queries_too(root):
    scan = scan_mars(root, queries_in_gallery=True)
    assert sorted({entry.tracklet_id for entry in scan.splits["gallery"]}) == [2, 3, 4, 5, 6, 7]
    assert set(scan.splits["query"]) < set(scan.splits["gallery"])
    assert scan.options == {"queries_in_gallery": True}
    [warning] = scan.warnings
    assert "gallery has 10 images of 2 identities, not 657,709 of 634" in warning
    [warning] = scan_mars(root).warnings
    assert "train has 6 images of 2 identities, not 509,914 of 625" in warning
    assert "gallery has 7 images of 2 identities, not 543,216 of 620" in warning


def test_the_build_holds_tracklet_ids(root, build_dataset):
    output, manifest = build_dataset("mars", root)
    assert {name: (split.images, split.identities, split.cameras, split.distractors)
            for name, split in manifest.splits.items()} == {
        "train": (6, 2, 3, 0), "query": (3, 2, 1, 0), "gallery": (7, 2, 4, 3)}
    assert manifest.options == {"queries_in_gallery": False, "shards": 2}
    assert manifest.dropped == {"junk": 3, "not_an_image": 3}
    shards = [str(path) for path in shard_paths(output, manifest, "gallery", "checksum")]
    parsed = parse_records(list(tf.data.TFRecordDataset(shards).as_numpy_iterator()))
    assert parsed["tracklet/id"].numpy().tolist() == [2, 2, 3, 5, 5, 7, 7]
    assert parsed["image/encoded"].numpy()[0] == (
        root / "bbox_test/0000/0000C3T0001F001.jpg").read_bytes()


def test_files_without_a_row_are_left_out_with_a_warning(root, write_images):
    write_images(root / "bbox_test", ["0004/0004C5T0001F003.jpg", "0009/0009C5T0001F001.jpg"])
    _write_info(root, train_name=[*_names(TRAIN), "0003C6T0001F002.jpg"])
    scan = scan_mars(root)
    assert scan.warnings[:2] == [
        "1 images of train_name.txt belong to no row of tracks_train_info.mat and are left out",
        "2 images of bbox_test are not in test_name.txt and are left out: "
        "0004/0004C5T0001F003.jpg, 0009/0009C5T0001F001.jpg"]
    assert scan.dropped["unlisted"] == 3
    assert len(scan.splits["train"]) == 6 and len(scan.splits["gallery"]) == 7


def test_junk_need_not_be_there(root):
    for file in (root / "bbox_test" / "00-1").iterdir():
        file.unlink()
    assert scan_mars(root).dropped["junk"] == 3


def test_rows_without_their_images_are_named(root, tmp_path, capsys):
    (root / "bbox_test/0004/0004C1T0001F001.jpg").unlink()
    (root / "bbox_test/0002/0002C2T0001F999.jpg").unlink()
    assert main(["mars", "--root", str(root), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "tracks_test_info.mat: 2 problems: " in error
    assert ("row 5: 1 of its 2 images are not there (bbox_test/0002/0002C2T0001F999.jpg); row 6: "
            "none of its 1 images is there (bbox_test/0004/0004C1T0001F001.jpg)") in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("changes", "message"), [
    ({"track_train_info": _with_row(_table(TRAIN), 2, (4, 3, 1, 2))},
     r"tracks_train_info.mat: 1 problem: row 2: the tracklet has no images \(first 4, last 3\)"),
    ({"track_train_info": _with_row(_table(TRAIN), 3, (6, 9, 3, 6))},
     "row 3: images 6 to 9 are not among the 6 names of train_name.txt"),
    ({"track_train_info": _with_row(_table(TRAIN), 1, (0, 3, 1, 1))},
     "row 1: images 0 to 3 are not among"),
    ({"track_train_info": _with_row(_table(TRAIN), 2, (3, 5, 1, 2))},
     "row 2: image 3 belongs to row 1 already"),
    ({"track_test_info": _with_row(_table(TEST), 4, (6, 7, 3, 1))},
     "row 4: it says person 3 and camera 1 but holds 0002C1T0001F001.jpg"),
    ({"track_test_info": _with_row(_table(TEST), 4, (6, 7, 2, 4))},
     "row 4: it says person 2 and camera 4 but holds 0002C1T0001F001.jpg"),
    ({"train_name": _names(TRAIN)[1:]}, "row 3: images 6 to 6 are not among the 5 names"),
    ({"train_name": ["0001.jpg", *_names(TRAIN)]},
     "train_name.txt: 1 problem: line 1: '0001.jpg' is not a name like 0001C1T0001F001.jpg"),
    ({"train_name": []}, "train_name.txt is empty: take the folder info from"),
    ({"track_train_info": _table(TRAIN)[:, :3]}, r"track_train_info has the shape \(3, 3\) where"),
    ({"track_train_info": _table(TRAIN) + 0.5}, "must hold whole numbers only"),
    ({"track_train_info": np.full((3, 4), np.nan)}, "must hold whole numbers only"),
    ({"track_train_info": np.array(["a"], object)}, "must hold whole numbers only"),
    ({"train_name": _names(TEST), "track_train_info": _table(TEST)[1:]},
     r"row 1: distractors \(person 0\) cannot train; row 2: distractors"),
    ({"query_IDX": np.array([[9, 4, 4, 1, 2]])},
     "query_IDX.mat: 4 problems: entry 1: row 9 is not among the 8 rows of tracks_test_info.mat; "
     "entry 3: row 4 is entry 2 already; entry 4: row 1 is of person -1, which is not an identity; "
     "entry 5: row 2 is of person 0"),
    ({"query_IDX": np.zeros((1, 0))}, "leaves no image for split query"),
])
def test_broken_info_files_are_one_sentence(root, write_images, changes, message):
    if "train_name" in changes:  # for the case of test images that train
        write_images(root / "bbox_train", [f"{name[:4]}/{name}" for name in _names(TEST)])
    _write_info(root, **changes)
    with pytest.raises(UserError) as caught:
        scan_mars(root)
    assert re.search(message, str(caught.value)), caught.value
    assert "\n" not in str(caught.value)


def test_at_most_ten_problems_are_named(root):
    names = [f"nobody{line}.jpg" for line in range(13)]
    _write_info(root, train_name=names)
    with pytest.raises(UserError, match="13 problems: line 1: .*line 10: .*; and 3 more"):
        scan_mars(root)


def test_another_file_in_place_of_an_info_file(root, tmp_path, capsys):
    for name, damage, message in (
            ("test_name.txt", lambda file: file.unlink(), "test_name.txt cannot be read (No"),
            ("test_name.txt", lambda file: file.write_bytes(b"\xff\xfe0"), "is not UTF-8 text"),
            ("query_IDX.mat", lambda file: savemat(file, {"query": 1}),
             "query_IDX.mat holds no variable query_IDX"),
            ("tracks_test_info.mat", lambda file: file.write_bytes(file.read_bytes()[:200]),
             "tracks_test_info.mat is damaged")):
        _write_info(root)
        damage(root / "info" / name)
        assert main(["mars", "--root", str(root), "--output", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    with pytest.raises(UserError, match="holds no folder bbox_train and no bbox_test and no info"):
        scan_mars(root / "info")
