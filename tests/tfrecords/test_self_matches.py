"""Warnings of byte-identical images, and of queries that lost their matches."""

from __future__ import annotations

import numpy as np
import pytest

from tfrecords.records import build_records
from tfrecords.scan import ImageEntry, Scan

IMAGES = {
    "train": ["train/1.jpg", "train/2.jpg"],
    "query": ["query/1.jpg", "query/2.jpg", "query/3.jpg"],
    "gallery": ["gallery/1.jpg", "gallery/2.jpg", "gallery/3.jpg", "gallery/4.jpg"],
}
# Person and camera of each.
LABELS = {"train": [(8, 1), (9, 1)], "query": [(1, 1), (2, 1), (3, -1)],
          "gallery": [(1, 2), (2, 1), (3, -1), (2, 2)]}


@pytest.fixture
def scan(tmp_path, write_images):
    """Three people of whom each has a match, and two others for training."""
    write_images(tmp_path, [path for paths in IMAGES.values() for path in paths])
    return Scan(tmp_path, {split: [ImageEntry(path, *labels) for path, labels in
                                   zip(paths, LABELS[split])] for split, paths in IMAGES.items()})


def _copy(scan, source, target):
    (scan.root / target).write_bytes((scan.root / source).read_bytes())


def _build(scan, tmp_path, **settings):
    return build_records(scan, "test", tmp_path / "records", shards=2, **settings).warnings


def test_images_that_all_differ_are_no_warning(scan, tmp_path):
    assert _build(scan, tmp_path) == []


def test_queries_that_find_themselves_are_counted(scan, tmp_path):
    _copy(scan, "query/1.jpg", "gallery/1.jpg")
    _copy(scan, "query/2.jpg", "gallery/2.jpg")  # by the query's own camera: ignored
    _copy(scan, "query/2.jpg", "gallery/3.jpg")  # labelled as another person
    _copy(scan, "query/3.jpg", "gallery/3.jpg")  # no camera is known
    [warning] = _build(scan, tmp_path)
    assert warning.startswith("2 queries are byte-identical to gallery images that count as")
    assert warning.endswith("query/1.jpg = gallery/1.jpg, query/3.jpg = gallery/3.jpg")


def test_test_images_that_were_trained_on_are_counted(scan, tmp_path):
    _copy(scan, "train/2.jpg", "gallery/4.jpg")
    _copy(scan, "train/2.jpg", "query/3.jpg")
    [warning] = _build(scan, tmp_path)
    assert warning.startswith("2 images of query and gallery are byte-identical to training")
    assert warning.endswith(": query/3.jpg, gallery/4.jpg")


def test_galleries_of_their_own_decide(scan, tmp_path):
    _copy(scan, "query/1.jpg", "gallery/1.jpg")
    scan.query_galleries = [np.array([1, 2]), np.array([0, 3]), np.array([2])]
    assert _build(scan, tmp_path) == []


def test_a_resumed_build_compares_the_shards_of_before(scan, tmp_path):
    _copy(scan, "query/1.jpg", "gallery/1.jpg")
    [warning] = _build(scan, tmp_path)
    (tmp_path / "records" / "train-00000-of-00002.tfrecord").unlink()
    assert _build(scan, tmp_path) == [warning]


def test_drawn_splits_compare_all_images_of_a_person(scan, tmp_path):
    _copy(scan, "query/1.jpg", "gallery/1.jpg")
    _copy(scan, "query/2.jpg", "gallery/3.jpg")
    images = [entry for split in ("query", "gallery") for entry in scan.splits[split]]
    scan.splits = {"images": images}
    scan.identity_splits = [{"train": [1, 3], "test": [2]}]
    [warning] = _build(scan, tmp_path)
    assert warning.startswith("1 queries are byte") and "query/1.jpg = gallery/1.jpg" in warning


def test_queries_that_lose_their_matches_are_named(scan, tmp_path):
    (scan.root / "gallery/3.jpg").write_bytes(b"")
    (scan.root / "gallery/4.jpg").write_bytes(b"")
    [warning] = _build(scan, tmp_path, skip_corrupt=True)
    assert "2 queries have no match left" in warning and "query/2.jpg, query/3.jpg" in warning
