"""Market-1501, and every dataset that keeps its folders and file names."""

from __future__ import annotations

import argparse
import os
import re
from collections import Counter

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
    """Adds Market-1501's own flags."""
    parser.add_argument(
        "--multi-query", action="store_true",
        help="also write split multi_query from gt_bbox: all boxes of a query person in the "
             "query's camera, for evaluations that pool them into one query")


def scan_market1501(root: str | os.PathLike, *, multi_query: bool = False) -> Scan:
    """Lists Market-1501.

    Junk boxes (person -1) are dropped; distractors (person 0) stay in the gallery, where they match
    no query.

    Args:
        root: the dataset folder, or its parent.
        multi_query: adds the boxes of `gt_bbox` that share person and camera with a query.

    Raises:
        UserError: if a folder is missing or holds no image with a name of Market-1501's kind.
    """
    folders = dict(_FOLDERS, **({"multi_query": _MULTI_QUERY_FOLDER} if multi_query else {}))
    root = find_root(root, list(folders.values()), _DATASET_FOLDER)
    dropped: Counter[str] = Counter()
    warnings: list[str] = []
    splits = {split: list_people(root, folder, MARKET_NAMES, dropped, warnings)
              for split, folder in folders.items()}
    if multi_query:
        wanted = {(entry.person_id, entry.camera_id) for entry in splits["query"]}
        kept = [entry for entry in splits["multi_query"]
                if (entry.person_id, entry.camera_id) in wanted]
        dropped["not_of_a_query"] = len(splits["multi_query"]) - len(kept)
        splits["multi_query"] = kept
    return Scan(root, splits, dict(dropped), {"multi_query": multi_query}, warnings, DISTRACTOR)


DATASET = Dataset(scan_market1501, "Market-1501 and datasets in its layout", LAYOUT, add_options)
