"""Market-1501, and datasets with the same folders and file names."""

from __future__ import annotations

import argparse
import os
import re

from tfrecords.datasets import Dataset
from tfrecords.layout import FileNames, find_root, list_people
from tfrecords.scan import Scan

LAYOUT = """\
ROOT/                     Market-1501-v15.09.15, or the folder that holds it
    bounding_box_train/   0002_c1s1_000451_03.jpg: person, camera and sequence, frame, box
    query/
    bounding_box_test/    the gallery: person -1 is junk and dropped, 0000 are distractors
    gt_bbox/              for --multi-query only
Protocol: train 12,936 images of 751 identities, query 3,368 of 750, gallery 15,913 (13,115 of 750
identities and 2,798 distractors), 6 cameras."""
DISTRACTOR = 0
# The release has some .jpg.jpg.
MARKET_NAMES = FileNames(
    "Market-1501",
    re.compile(r"(?P<person>-1|\d+)_c(?P<camera>\d+)s\d+_\d+_\d+(\.jpg|\.jpeg|\.png)+",
               re.IGNORECASE),
    "0002_c1s1_000451_03.jpg", "person, camera and sequence, frame, box")
_DATASET_FOLDER = "Market-1501-v15.09.15"
_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
_MULTI_QUERY_FOLDER = "gt_bbox"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds Market-1501's own flag."""
    parser.add_argument(
        "--multi-query", action="store_true",
        help="also write split multi_query from gt_bbox: all boxes of a query person in the "
             "query's camera, for evaluations that pool them into one query")


def scan_market1501(root: str | os.PathLike, *, multi_query: bool = False) -> Scan:
    """Lists Market-1501 (Zheng et al., "Scalable Person Re-identification: A Benchmark", 2015).

    Junk boxes (person -1) are dropped; distractors (person 0) stay in the gallery, where they match
    no query.

    Args:
        root: The dataset folder, or its parent.
        multi_query: Whether to add the boxes of `gt_bbox` that share person and camera with a
            query.

    Raises:
        UserError: If a folder is missing or holds no image that is named like Market-1501's.
    """
    folders = dict(_FOLDERS, **({"multi_query": _MULTI_QUERY_FOLDER} if multi_query else {}))
    scan = Scan(find_root(root, list(folders.values()), _DATASET_FOLDER),
                options={"multi_query": multi_query}, distractor_id=DISTRACTOR)
    for split, folder in folders.items():
        scan.splits[split] = list_people(scan, folder, MARKET_NAMES)
    if multi_query:
        wanted = {(entry.person_id, entry.camera_id) for entry in scan.splits["query"]}
        boxes = scan.splits["multi_query"]
        kept = [entry for entry in boxes if (entry.person_id, entry.camera_id) in wanted]
        scan.dropped["not_of_a_query"] = len(boxes) - len(kept)
        scan.splits["multi_query"] = kept
    return scan


DATASET = Dataset(scan_market1501, "Market-1501 and datasets in its layout", LAYOUT, add_options)
