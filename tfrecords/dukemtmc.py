"""DukeMTMC-reID."""

from __future__ import annotations

import os
import re
from collections import Counter

from tfrecords.datasets import Dataset
from tfrecords.layout import Counts, FileNames, compare_with_protocol, find_root, list_people
from tfrecords.scan import Scan

LAYOUT = """\
ROOT/                     DukeMTMC-reID, or the folder that holds it
    bounding_box_train/   0002_c1_f0044158.jpg: person, camera, frame
    query/
    bounding_box_test/    the gallery
Protocol: train 16,522 images of 702 identities, query 2,228 of 702, gallery 17,661 of 1,110 (408 of
them are never queried), 8 cameras. Its authors withdrew the dataset: this reads a copy at hand."""
_DATASET_FOLDER = "DukeMTMC-reID"
_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
_NAMES = FileNames(
    "DukeMTMC-reID",
    re.compile(r"(?P<person>-1|\d+)_c(?P<camera>\d+)_f\d+\.(jpg|jpeg|png)", re.IGNORECASE),
    "0002_c1_f0044158.jpg", "person, camera, frame")
_PROTOCOL = {
    "train": Counts(16522, 702),
    "query": Counts(2228, 702),
    "gallery": Counts(17661, 1110),
}


def scan_dukemtmc(root: str | os.PathLike) -> Scan:
    """Lists DukeMTMC-reID.

    Gallery persons without a query keep their identity; no query can match them.

    Args:
        root: the dataset folder, or its parent.

    Raises:
        UserError: if a folder is missing or holds no image with a name of DukeMTMC-reID's kind.
    """
    root = find_root(root, list(_FOLDERS.values()), _DATASET_FOLDER)
    dropped: Counter[str] = Counter()
    warnings: list[str] = []
    splits = {split: list_people(root, folder, _NAMES, dropped, warnings)
              for split, folder in _FOLDERS.items()}
    warnings += compare_with_protocol(_NAMES.dataset, splits, _PROTOCOL)
    return Scan(root, splits, dict(dropped), warnings=warnings)


DATASET = Dataset(scan_dukemtmc, "DukeMTMC-reID (withdrawn by its authors)", LAYOUT)
