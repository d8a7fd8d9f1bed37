"""Market-1501, and every dataset that keeps its folders and file names."""

from __future__ import annotations

import argparse
import os
import re
from collections import Counter
from pathlib import Path

from tfrecords.errors import UserError
from tfrecords.scan import NOT_AN_IMAGE, ImageEntry, Scan, existing_root, list_images, name_some

DATASET_FOLDER = "Market-1501-v15.09.15"
JUNK = -1
DISTRACTOR = 0
_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
_MULTI_QUERY_FOLDER = "gt_bbox"
# 0002_c1s1_000451_03.jpg: person, camera, sequence, frame, box. The release has some .jpg.jpg.
_FILE_NAME = re.compile(r"(?P<person>-1|\d+)_c(?P<camera>\d+)s\d+_\d+_\d+(\.jpg|\.jpeg|\.png)+",
                        re.IGNORECASE)


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
    root = existing_root(root)
    folders = dict(_FOLDERS, **({"multi_query": _MULTI_QUERY_FOLDER} if multi_query else {}))
    if not (root / _FOLDERS["train"]).is_dir() and (root / DATASET_FOLDER).is_dir():
        root = root / DATASET_FOLDER
    missing = [folder for folder in folders.values() if not (root / folder).is_dir()]
    if missing:
        raise UserError(f"{root} holds no folder {' and no '.join(missing)}: --root must name the "
                        f"folder that holds {', '.join(folders.values())}.")
    dropped: Counter[str] = Counter()
    warnings: list[str] = []
    splits = {split: _list_folder(root, folder, dropped, warnings)
              for split, folder in folders.items()}
    if multi_query:
        wanted = {(entry.person_id, entry.camera_id) for entry in splits["query"]}
        kept = [entry for entry in splits["multi_query"]
                if (entry.person_id, entry.camera_id) in wanted]
        dropped["not_of_a_query"] = len(splits["multi_query"]) - len(kept)
        splits["multi_query"] = kept
    return Scan(root, splits, dict(dropped), {"multi_query": multi_query}, warnings, DISTRACTOR)


def _list_folder(
    root: Path, folder: str, dropped: Counter[str], warnings: list[str]
) -> list[ImageEntry]:
    names, others = list_images(root / folder)
    entries, strangers, junk = [], [], 0
    for name in names:
        match = _FILE_NAME.fullmatch(name)
        if match is None:
            strangers.append(name)
        elif int(match["person"]) == JUNK:
            junk += 1
        else:
            entries.append(
                ImageEntry(f"{folder}/{name}", int(match["person"]), int(match["camera"])))
    if not entries:
        raise UserError(f"{root / folder} holds no image named like 0002_c1s1_000451_03.jpg "
                        "(person, camera and sequence, frame, box): put Market-1501's files there.")
    if strangers:
        warnings.append(f"{len(strangers)} images of {folder} have names that are not like "
                        f"0002_c1s1_000451_03.jpg and are left out: {name_some(strangers)}")
    for reason, count in (("junk", junk), (NOT_AN_IMAGE, others), ("unknown_name", len(strangers))):
        if count:
            dropped[reason] += count
    return entries
