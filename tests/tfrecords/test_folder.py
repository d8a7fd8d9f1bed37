"""One folder per person: the drawing of the splits and the mistakes that are named."""

from __future__ import annotations

import os

import pytest

from tfrecords.errors import UserError
from tfrecords.folder import scan_folder


@pytest.fixture
def people_root(tmp_path, write_images):
    """Ten persons, p0 ... p9, with three images in cameras 1, 1 and 2."""
    root = tmp_path / "people"
    write_images(root, [f"p{person}/{image}_c{1 + image // 2}.jpg"
                        for person in range(10) for image in range(3)])
    return root


def _people(scan, split):
    return {entry.person_id for entry in scan.splits[split]}


def _error(root, **options) -> str:
    with pytest.raises(UserError) as caught:
        scan_folder(root, **options)
    return str(caught.value)


def test_half_of_the_persons_are_held_out(people_root):
    scan = scan_folder(people_root)
    assert {split: len(entries) for split, entries in scan.splits.items()} == {
        "train": 15, "query": 5, "gallery": 10}
    assert _people(scan, "query") == _people(scan, "gallery")
    assert not _people(scan, "train") & _people(scan, "query")
    assert len({entry.path for entries in scan.splits.values() for entry in entries}) == 30
    assert {entry.camera_id for entry in scan.splits["train"]} == {-1}


def test_the_seed_decides(people_root):
    first, again, other = (scan_folder(people_root, seed=seed) for seed in (5, 5, 6))
    assert first.splits == again.splits
    assert first.splits != other.splits
    assert first.options["seed"] == 5


def test_the_drawing_is_the_same_on_every_machine(people_root):
    scan = scan_folder(people_root, seed=0, test_fraction=0.3)
    # The first three of RandomState(0).permutation(10) are 2, 8 and 4; ids count from 1.
    assert _people(scan, "query") == {3, 9, 5}


def test_names_are_numbered_in_the_manifest_options(people_root):
    scan = scan_folder(people_root)
    assert scan.options["person_names"] == {f"p{index}": index + 1 for index in range(10)}


def test_several_queries_leave_a_match(people_root):
    scan = scan_folder(people_root, query_per_identity=5)
    assert (len(scan.splits["query"]), len(scan.splits["gallery"])) == (10, 5)


def test_with_cameras_every_query_keeps_a_match_in_another_camera(people_root):
    for seed in range(8):
        scan = scan_folder(people_root, seed=seed, query_per_identity=2,
                           camera_pattern=r"_c(\d+)")
        gallery = {(entry.person_id, entry.camera_id) for entry in scan.splits["gallery"]}
        assert len(scan.splits["query"]) >= 5
        for query in scan.splits["query"]:
            assert any(person == query.person_id and camera != query.camera_id
                       for person, camera in gallery)


def test_persons_of_one_camera_are_not_held_out(people_root):
    for person in range(8):
        (people_root / f"p{person}" / "2_c2.jpg").unlink()
    scan = scan_folder(people_root, test_fraction=0.2, camera_pattern=r"_c(\d+)")
    assert _people(scan, "query") == {9, 10}
    message = _error(people_root, test_fraction=0.3, camera_pattern=r"_c(\d+)")
    assert "10 people, of whom 2 can be queries" in message


@pytest.mark.parametrize(("share", "splits"), [(0, {"train"}), (1, {"query", "gallery"})])
def test_all_or_none_can_be_held_out(people_root, share, splits):
    assert set(scan_folder(people_root, test_fraction=share).splits) == splits


def test_persons_with_one_image_are_named_or_trained_on(people_root, write_images):
    write_images(people_root, ["lone/1.jpg", "solo/1.jpg"])
    assert "2 people with one image (lone, solo)" in _error(people_root)
    scan = scan_folder(people_root, allow_single=True, test_fraction=0.8)
    lone = scan.options["person_names"]["lone"]
    assert lone in _people(scan, "train")


def test_other_files_are_counted(people_root):
    (people_root / "p1" / "notes.txt").write_text("x")
    (people_root / "p1" / "sub").mkdir()
    (people_root / ".cache").mkdir()
    (people_root / "readme.md").write_text("x")
    os.mkfifo(people_root / "p1" / "pipe.jpg")
    (people_root / "p2" / "loop.jpg").symlink_to("loop.jpg")
    (people_root / "empty" / "deep").mkdir(parents=True)
    scan = scan_folder(people_root)
    assert scan.dropped == {"not_an_image": 3, "passed_over_folders": 2}
    assert "2 folders are passed over" in scan.warnings[0] and "empty/deep, p1/sub" in (
        scan.warnings[0])
    assert sum(map(len, scan.splits.values())) == 30


@pytest.mark.parametrize(("options", "message"), [
    ({"test_fraction": 1.5}, "--test-fraction must lie between 0 and 1, but is 1.5"),
    ({"test_fraction": float("nan")}, "--test-fraction must lie"),
    ({"query_per_identity": 0}, "--query-per-identity must be at least 1"),
    ({"seed": -1}, "--seed must lie"),
    ({"camera_pattern": "("}, "is not a regular expression"),
    ({"camera_pattern": "_c"}, "must have one group"),
    ({"camera_pattern": r"_d(\d)"}, "no camera number in 30 file names (p0/0_c1.jpg"),
    ({"camera_pattern": r"_(c\d)"}, "no camera number in 30 file names"),
])
def test_wrong_settings_are_named(people_root, options, message):
    assert message in _error(people_root, **options)


def test_a_folder_without_persons_is_refused(tmp_path, write_images):
    write_images(tmp_path, ["1.jpg", "2.jpg"])
    assert "holds 2 images and no folders of people" in _error(tmp_path)
    (tmp_path / "none").mkdir()
    assert "holds no folders with JPEG or PNG files" in _error(tmp_path / "none")


def test_one_person_cannot_be_split(tmp_path, write_images):
    write_images(tmp_path, ["a/1.jpg", "a/2.jpg"])
    assert "too few for --test-fraction 0.5" in _error(tmp_path)


def test_images_beside_the_folders_are_named(people_root, write_images):
    write_images(people_root, ["stray.jpg"])
    scan = scan_folder(people_root)
    assert scan.dropped == {"image_without_person": 1}
    assert "1 images lie in no person's folder and are left out: stray.jpg" in scan.warnings[0]


@pytest.mark.parametrize(("folders", "cameras"), [
    (("cam1", "cam2"), {1, 2}), (("camera_2", "camera_03"), {2, 3}), (("C3", "c11"), {3, 11}),
    (("cam_a", "cam_b"), {1, 2})])
def test_folders_of_cameras_are_read(tmp_path, write_images, folders, cameras):
    write_images(tmp_path, [f"p{person}/{folder}/{image}.jpg" for person in range(4)
                            for folder in folders for image in range(2)])
    scan = scan_folder(tmp_path)
    assert {entry.camera_id for entries in scan.splits.values() for entry in entries} == cameras
    assert sum(map(len, scan.splits.values())) == 16


def test_a_pattern_reads_other_folders_of_cameras(tmp_path, write_images):
    write_images(tmp_path, [f"p{person}/{folder}/{image}.jpg" for person in range(4)
                            for folder in ("01", "2") for image in range(2)])
    assert "p0/01 holds 2 images but is not called like a camera" in _error(tmp_path)
    scan = scan_folder(tmp_path, camera_pattern=r"^(\d+)/")
    assert {entry.camera_id for entry in scan.splits["gallery"]} == {1, 2}


@pytest.mark.parametrize(("paths", "message"), [
    (["bounding_box_train/1.jpg", "query/1.jpg", "bounding_box_test/1.jpg"], "build market1501 "),
    (["pytorch/train/1/1.jpg", "Bounding_Box_Train/1.jpg"], "called like splits (Bounding_Box_Tr"),
    (["cam_a/1.jpg", "cam_b/1.jpg"], "tfreid build viper "),
    (["train/1.jpg", "query/1.jpg", "gallery/1.jpg"], "train holds 1 images and no folders of peo"),
    (["train/a/1.jpg", "val/a/1.jpg"], "called like splits (train, val)"),
    (["Trains/a/1.jpg", "b/1.jpg"], "called like splits (Trains)"),
    (["train/a/1.jpg", "queries/a/1.jpg", "test/a/1.jpg"], "called like splits (queries, test, tr"),
    (["cam1/1.jpg", "cam2/1.jpg"], "called like cameras (cam1, cam2)"),
    (["camera_2/1.jpg", "c3/1.jpg", "Cam 1/1.jpg"], "called like cameras (Cam 1, c3, camera_2)"),
    (["data/p1/1.jpg", "data/p2/1.jpg"], "data/p1 holds 1 images but is not called like a camera"),
])
def test_other_layouts_are_refused_by_name(tmp_path, write_images, paths, message):
    write_images(tmp_path, paths)
    assert message in _error(tmp_path)


def test_a_pattern_reads_below_a_person_called_like_the_end_of_a_split(tmp_path, write_images):
    write_images(tmp_path, [f"{split}/{person}/{camera}_1.jpg" for camera in (1, 2)
                            for split in ("train", "query", "gallery") for person in ("y", "n")])
    scan = scan_folder(tmp_path, camera_pattern=r"^(\d+)_")
    assert {entry.camera_id for entry in scan.splits["query"]} == {1, 2}


def test_given_splits_are_read(tmp_path, write_images):
    write_images(tmp_path, [
        *(f"{split}/0{person}/0{person}_c{camera}s1_1_1.jpg" for camera in (1, 2)
          for split, people in (("train", "1"), ("train_all", "12"), ("val", "2"), ("gallery", "3"))
          for person in people),
        "query/03/03_c1s1_2_1.jpg", "gallery/-1/-1_c1s1_1_1.jpg", "gallery/00/00_c1s1_1_1.jpg"])
    scan = scan_folder(tmp_path, camera_pattern=r"_c(\d+)")
    assert {split: sorted({entry.person_id for entry in entries})
            for split, entries in scan.splits.items()} == {
        "train": [1, 2], "query": [3], "gallery": [0, 3]}
    assert scan.dropped == {"junk": 1, "passed_over_folders": 2}
    assert "2 folders are passed over" in scan.warnings[0] and "train, val" in scan.warnings[0]
    assert (scan.distractor_id, "seed" in scan.options) == (0, False)
    assert "leave out --test-fraction" in _error(tmp_path, seed=1)
    assert "seem to tell the camera (_c1, _c2)" in scan_folder(tmp_path).warnings[1]
    (tmp_path / "gallery" / "03" / "03_c2s1_1_1.jpg").unlink()
    message = _error(tmp_path, camera_pattern=r"_c(\d+)")
    assert "query/03/03_c1s1_2_1.jpg: query person 03 is in the gallery only in" in message


def test_a_pattern_that_never_ends_is_stopped(people_root, monkeypatch):
    monkeypatch.setattr("tfrecords.people_folders._SEARCH_SECONDS", 0.5)
    (people_root / "p1" / f"{'a' * 41}_c1.jpg").write_bytes(b"")
    assert "takes more than 0.5 seconds for 31 files" in _error(
        people_root, camera_pattern=r"^(a+)+$")
