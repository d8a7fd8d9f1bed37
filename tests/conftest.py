"""A tiny rendered dataset, built into records once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

RENDERED = {
    "train_identities": 8,
    "test_identities": 4,
    "cameras": 3,
    "cameras_per_identity": 3,
    "images_per_camera": 2,
    "distractors": 3,
    "junk": 2,
}


@pytest.fixture(scope="session")
def records(tmp_path_factory) -> Path:
    """Records of 8 training and 4 test identities, each twice in each of 3 cameras; read only."""
    from tfrecords.records import build_records
    from tfrecords.rendered import scan_synthetic

    root = tmp_path_factory.mktemp("rendered")
    scan = scan_synthetic(root / "images", **RENDERED)
    build_records(scan, "synthetic", root / "records", shards=2)
    return root / "records"
