"""VIPeR: 632 identities with one image by each of two cameras, half of them drawn for testing."""

from __future__ import annotations

import os
import re

from tfrecords.datasets import Dataset
from tfrecords.identity_splits import add_split_options, draw_identity_splits
from tfrecords.layout import Counts, FileNames, compare_with_protocol, find_root, list_people
from tfrecords.manifest import STORED_SPLIT
from tfrecords.scan import Scan

LAYOUT = """\
ROOT/         VIPeR, or the folder that holds it
    cam_a/    000_45.bmp: person and viewing angle; camera 1
    cam_b/    000_90.bmp: camera 2
Protocol: 1,264 images of 632 identities, one by each camera. Each split trains on 316 identities
and tests the other 316: cam_a's images are the queries, cam_b's the gallery. Results are averaged
over the splits, usually 10. Bitmaps are stored as PNG, which keeps every pixel."""
_FOLDERS = {"cam_a": 1, "cam_b": 2}
_NAMES = FileNames(
    "VIPeR", re.compile(r"(?P<person>\d+)_\d+\.(bmp|png|jpg|jpeg)", re.IGNORECASE),
    "000_45.bmp", "person, viewing angle")
_PROTOCOL = {STORED_SPLIT: Counts(1264, 632)}


def scan_viper(root: str | os.PathLike, *, splits: int = 10, seed: int = 0) -> Scan:
    """Lists VIPeR (Gray et al. 2007) and draws its identity splits.

    Args:
        root: The dataset folder, or its parent.
        splits: Number of splits.
        seed: Seed of the drawing.

    Raises:
        UserError: If a folder is missing or holds no image that is named like VIPeR's, or a setting
            is out of range.
    """
    root = find_root(root, list(_FOLDERS), "VIPeR")
    scan = Scan(root, options={"splits": splits, "seed": seed})
    images = [
        entry._replace(camera_id=camera) for folder, camera in _FOLDERS.items()
        for entry in list_people(scan, folder, _NAMES)]
    scan.splits[STORED_SPLIT] = images
    scan.warnings += compare_with_protocol("VIPeR", scan.splits, _PROTOCOL)
    test = len({entry.person_id for entry in images}) // 2
    scan.identity_splits = draw_identity_splits(images, test=test, splits=splits, seed=seed)
    return scan


DATASET = Dataset(scan_viper, "VIPeR, 316/316 identities, in drawn splits", LAYOUT,
                  add_split_options)
