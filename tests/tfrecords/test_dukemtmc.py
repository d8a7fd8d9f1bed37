"""DukeMTMC-reID's rules, on a tree with the quirks of copies."""

from __future__ import annotations

import shutil

import pytest

from tfrecords.dukemtmc import scan_dukemtmc
from tfrecords.errors import UserError
from tfrecords.scan import ImageEntry
from tfreid.records import Records


def test_names_tell_person_and_camera(duke_root):
    scan = scan_dukemtmc(duke_root)
    assert scan.splits["train"] == [
        ImageEntry("bounding_box_train/0001_c2_f0046182.jpg", 1, 2),
        ImageEntry("bounding_box_train/0001_c8_f0046302.JPG", 1, 8),
        ImageEntry("bounding_box_train/0020_c5_f0058841.jpg", 20, 5)]
    assert [entry.person_id for entry in scan.splits["gallery"]] == [5, 5, 41]
    assert scan.dropped == {"not_an_image": 3}
    assert scan.distractor_id is None


def test_the_build_holds_what_the_tree_does(duke_root, build_dataset):
    output, manifest = build_dataset("dukemtmc", duke_root)
    counts = {name: (split.images, split.identities, split.cameras, split.distractors)
              for name, split in manifest.splits.items()}
    assert counts == {"train": (3, 2, 3, 0), "query": (2, 1, 2, 0), "gallery": (3, 2, 3, 0)}
    train, gallery = Records(output)["train"].index, Records(output)["gallery"].index
    assert train.labels.tolist() == [0, 0, 1]
    assert gallery.ids.tolist() == [5, 5, 41]
    assert gallery.cameras.tolist() == [2, 5, 1]
    assert gallery.labels.tolist() == [-1, -1, -1]


@pytest.mark.parametrize("deeper", [False, True])
def test_the_parent_folder_will_do(duke_root, deeper):
    if deeper:
        (duke_root / "DukeMTMC-reID").mkdir()
        for folder in ("bounding_box_train", "query", "bounding_box_test"):
            (duke_root / folder).rename(duke_root / "DukeMTMC-reID" / folder)
    root = duke_root if deeper else duke_root.parent
    assert len(scan_dukemtmc(root).splits["train"]) == 3


def test_other_counts_than_published_are_reported(duke_root):
    [warning] = scan_dukemtmc(duke_root).warnings
    assert "gallery has 3 images of 2 identities, not 17,661 of 1,110" in warning


def test_junk_and_strangers_are_left_out_and_person_zero_stays(duke_root, encode_image):
    for name in ("-1_c3_f0000001.jpg", "0000_c3_f0000001.jpg", "0001_c1s1_001051_00.jpg"):
        (duke_root / "bounding_box_test" / name).write_bytes(encode_image())
    scan = scan_dukemtmc(duke_root)
    assert [entry.person_id for entry in scan.splits["gallery"]] == [0, 5, 5, 41]
    assert (scan.dropped["junk"], scan.dropped["unknown_name"]) == (1, 1)
    assert "0001_c1s1_001051_00.jpg" in scan.warnings[0]


def test_a_missing_or_empty_folder_is_named(duke_root):
    shutil.rmtree(duke_root / "query")
    with pytest.raises(UserError, match="no folder query: --root must name"):
        scan_dukemtmc(duke_root)
    (duke_root / "query").mkdir()
    with pytest.raises(UserError, match="query holds no image named like 0002_c1_f0044158.jpg"):
        scan_dukemtmc(duke_root)
