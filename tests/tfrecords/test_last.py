"""LaST: folders of persons, no cameras, two evaluation sets."""

from __future__ import annotations

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfrecords.last import scan_last
from tfrecords.scan import ImageEntry
from tfreid.evaluation.ranking import evaluate_ranking
from tfreid.records import Records


def test_the_first_number_is_the_person(last_root):
    scan = scan_last(last_root)
    assert scan.splits["train"] == [
        ImageEntry("train/000001/000001_0012_01.jpg", 1),
        ImageEntry("train/000001/000001_0013_02.JPG", 1),
        ImageEntry("train/000007/000007_0001_01.jpg", 7)]
    assert [entry.path for entry in scan.splits["query"]] == [
        "test/query/000001_0001_01.jpg", "test/query/000004_0001_01.jpg"]
    assert [entry.person_id for entry in scan.splits["gallery"]] == [1, 4, 4, 9]
    assert scan.dropped == {"not_an_image": 3}


def test_val_is_the_other_evaluation_set(last_root):
    scan = scan_last(last_root, evaluate_on="val")
    assert [entry.path for entry in scan.splits["gallery"]] == [
        "val/gallery/000003/000003_0002_01.jpg"]
    assert "query has 1 images of 1 identities, not 100 of 56" in scan.warnings[0]
    with pytest.raises(ValueError, match="'train'"):
        scan_last(last_root, evaluate_on="train")


def test_the_build_ignores_no_match(last_root, build_dataset):
    output, manifest = build_dataset("last", last_root.parent)
    assert manifest.options["evaluate_on"] == "test"
    assert {name: (split.images, split.identities, split.cameras)
            for name, split in manifest.splits.items()} == {
        "train": (3, 2, 0), "query": (2, 2, 0), "gallery": (4, 3, 0)}
    assert Records(output)["train"].index.labels.tolist() == [0, 0, 1]
    query, gallery = Records(output)["query"].index, Records(output)["gallery"].index
    assert set(query.cameras) == set(gallery.cameras) == {-1}
    # Person 1's one match ranks first, person 4's two rank 1 and 3, behind person 9: the average
    # precisions are 1 and (1 + 2/3) / 2.
    queries = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    images = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 2], [0, 2, 1]], np.float32)
    result = evaluate_ranking(queries, query.ids, query.cameras, images, gallery.ids,
                              gallery.cameras)
    assert result.num_valid_queries == 2
    assert result.mean_ap == pytest.approx((1 + (1 + 2 / 3) / 2) / 2)


def test_the_flag_reaches_the_builder(last_root, build_dataset):
    output, _ = build_dataset("last", last_root, "--evaluate-on", "val")
    assert Records(output)["query"].index.ids.tolist() == [3]


def test_a_missing_folder_and_foreign_names_are_refused(last_root):
    (last_root / "val" / "query").rename(last_root / "val" / "queries")
    assert len(scan_last(last_root).splits["query"]) == 2
    with pytest.raises(UserError, match="no folder val/query: --root must name"):
        scan_last(last_root, evaluate_on="val")
    for file in (last_root / "test" / "query").iterdir():
        file.rename(file.with_name("person" + file.name))
    with pytest.raises(UserError, match="query holds no image named like 000001_"):
        scan_last(last_root)
