"""The rendered dataset read as tracklets."""

from __future__ import annotations

import collections
import itertools
import re

import pytest

from tfrecords.build import main
from tfrecords.rendered import scan_synthetic
from tfreid.evaluation.pooling import group_tracklets
from tfreid.records import Records

# 3 + 4 people x 2 of 4 cameras x 3 images, 5 distractors and 2 boxes of junk.
OPTIONS = {"train_identities": 3, "test_identities": 4, "cameras": 4, "images_per_camera": 3,
           "cameras_per_identity": 2, "distractors": 5, "junk": 2, "seed": 6}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("rendered") / "people"
    scan_synthetic(root, **OPTIONS)
    return root


@pytest.fixture(scope="module")
def scan(root):
    return scan_synthetic(root, tracklets=True, **OPTIONS)


def _tracklets(entries):
    """Returns the runs of images of one tracklet id, by id."""
    runs = [(number, list(run)) for number, run in itertools.groupby(
        entries, key=lambda entry: entry.tracklet_id)]
    assert len(dict(runs)) == len(runs)  # the images of a tracklet stand together
    return dict(runs)


def test_ids_count_from_one_over_the_dataset(scan):
    train, query, gallery = (_tracklets(scan.splits[name])
                             for name in ("train", "query", "gallery"))
    assert list(train) == list(range(1, 7))  # 3 people in 2 cameras
    assert list(query) == list(range(7, 11))  # one of each of 4 people
    assert list(gallery) == list(range(11, 20))  # their other 4, and 5 distractors
    assert scan.dropped == {"junk": 2}


def test_a_tracklet_is_one_walk_past_a_camera_in_order(scan):
    for split, entries in scan.splits.items():
        for tracklet in _tracklets(entries).values():
            names = [re.fullmatch(r"\w+/(\d+)_c(\d)s(\d)_(\d{6})_(\d\d)\.jpg", entry.path)
                     for entry in tracklet]
            assert len({(name[1], name[2], name[3]) for name in names}) == 1
            assert {(entry.person_id, entry.camera_id) for entry in tracklet} == {
                (int(names[0][1]), int(names[0][2]))}
            if tracklet[0].person_id == 0:
                assert split == "gallery" and len(tracklet) == 1
                continue
            frames = [int(name[4]) for name in names]
            assert frames == [frames[0], frames[0] + 25, frames[0] + 50]
            assert [int(name[5]) for name in names] == [0, 1, 2]


def test_the_first_camera_of_a_person_is_the_query(scan):
    cameras = collections.defaultdict(dict)
    for split in ("query", "gallery"):
        for entry in scan.splits[split]:
            if entry.person_id:
                cameras[entry.person_id].setdefault(split, set()).add(entry.camera_id)
    assert len(cameras) == 4
    for seen in cameras.values():
        assert len(seen["query"]) == 1 and max(seen["query"]) < min(seen["gallery"])
    paths = [{entry.path for entry in scan.splits[split]} for split in ("query", "gallery")]
    assert not paths[0] & paths[1]


def test_the_same_images_serve_both_ways(root, scan):
    before = (root / "synthetic.json").read_bytes()
    plain = scan_synthetic(root, **OPTIONS)
    assert (root / "synthetic.json").read_bytes() == before
    assert b"tracklets" not in before
    assert plain.options == OPTIONS and scan.options == {**OPTIONS, "tracklets": True}
    everything = [{entry.path for entries in read.splits.values() for entry in entries}
                  for read in (plain, scan)]
    assert everything[0] == everything[1]
    assert {entry.tracklet_id for entry in plain.splits["train"]} == {None}


def test_built_splits_are_ranked_by_tracklets(root, tmp_path, capsys):
    flags = [text for name, value in OPTIONS.items()
             for text in ("--" + name.replace("_", "-"), str(value))]
    command = ["synthetic", "--root", str(root), "--output", str(tmp_path), "--shards", "1",
               "--workers", "1", *flags]
    assert main([*command, "--tracklets"]) == 0
    for split, rows in (("train", 6), ("query", 4), ("gallery", 9)):
        grouped = group_tracklets(split, Records(tmp_path)[split].index, tmp_path)
        assert (grouped.unit, len(grouped)) == ("tracklets", rows)
    capsys.readouterr()
    assert main(command) == 2
    assert "with another tracklets" in capsys.readouterr().err
