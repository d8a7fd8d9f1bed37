"""Market-1501's rules, on a tree with the quirks of the release."""

from __future__ import annotations

import shutil

import pytest

from tfrecords.errors import UserError
from tfrecords.market1501 import scan_market1501
from tfrecords.scan import ImageEntry


def test_splits_follow_the_folders(market_root):
    scan = scan_market1501(market_root)
    assert {split: len(entries) for split, entries in scan.splits.items()} == {
        "train": 6, "query": 3, "gallery": 7}
    assert scan.splits["query"] == [
        ImageEntry("query/0001_c1s1_001051_00.jpg", 1, 1),
        ImageEntry("query/0001_c2s1_000301_00.jpg.jpg", 1, 2),
        ImageEntry("query/0003_c4s6_015641_00.jpg", 3, 4)]
    assert scan.warnings == []


def test_junk_is_dropped_and_distractors_are_kept(market_root):
    scan = scan_market1501(market_root)
    assert scan.dropped == {"junk": 2, "not_an_image": 3}
    assert scan.distractor_id == 0
    people = [entry.person_id for entry in scan.splits["gallery"]]
    assert people == [0, 0, 0, 1, 1, 3, 3]


def test_multi_query_keeps_person_and_camera_of_a_query(market_root):
    scan = scan_market1501(market_root, multi_query=True)
    assert [entry.path for entry in scan.splits["multi_query"]] == [
        "gt_bbox/0001_c1s1_001051_00.jpg", "gt_bbox/0001_c1s1_001076_00.jpg",
        "gt_bbox/0003_c4s6_015641_00.jpg"]
    assert scan.dropped["not_of_a_query"] == 2
    assert scan.options == {"multi_query": True}


def test_the_parent_folder_will_do(market_root, tmp_path):
    market_root.rename(tmp_path / "Market-1501-v15.09.15")
    scan = scan_market1501(tmp_path)
    assert scan.root == tmp_path / "Market-1501-v15.09.15"
    assert len(scan.splits["train"]) == 6


def test_cameras_of_two_digits_are_read(market_root, encode_image):
    (market_root / "query" / "0003_c15s6_015641_00.jpg").write_bytes(encode_image())
    assert scan_market1501(market_root).splits["query"][2].camera_id == 15


def test_images_with_other_names_are_counted_and_named(market_root, encode_image):
    (market_root / "query" / "holiday.jpg").write_bytes(encode_image())
    scan = scan_market1501(market_root)
    assert scan.dropped["unknown_name"] == 1
    assert "holiday.jpg" in scan.warnings[0]


def test_missing_folders_are_named(market_root):
    shutil.rmtree(market_root / "query")
    shutil.rmtree(market_root / "bounding_box_test")
    with pytest.raises(UserError, match="no folder query and no bounding_box_test: --root must"):
        scan_market1501(market_root)


def test_gt_bbox_is_needed_for_multi_query_only(market_root):
    shutil.rmtree(market_root / "gt_bbox")
    scan_market1501(market_root)
    with pytest.raises(UserError, match="no folder gt_bbox"):
        scan_market1501(market_root, multi_query=True)


def test_a_folder_without_market_names_is_refused(market_root, encode_image):
    shutil.rmtree(market_root / "query")
    (market_root / "query").mkdir()
    (market_root / "query" / "a.jpg").write_bytes(encode_image())
    with pytest.raises(UserError, match="query holds no image named like 0002_c1s1_000451_03.jpg"):
        scan_market1501(market_root)


def test_a_root_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(UserError, match="nowhere is not a folder"):
        scan_market1501(tmp_path / "nowhere")
