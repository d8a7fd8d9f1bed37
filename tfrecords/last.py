"""LaST: people in films, over years and in changing clothes; it has no cameras."""

from __future__ import annotations

import argparse
import os
import re
from collections import Counter

from tfrecords.datasets import Dataset
from tfrecords.layout import Counts, FileNames, compare_with_protocol, find_root, list_people
from tfrecords.scan import Scan

LAYOUT = """\
ROOT/                 last, or the folder that holds it
    train/PERSON/     000001_..._01.jpg: the first number of a name is the person
    val/query/        val/gallery/PERSON/
    test/query/       test/gallery/PERSON/
Protocol: train 71,248 images of 5,000 identities; test: query 10,176 of 5,805, gallery 125,353 of
5,806; val: query 100 and gallery 21,279 of 56. There are no cameras: every image of the query's
person in the gallery counts as a match."""
_DATASET_FOLDER = "last"
_NAMES = FileNames(
    "LaST",
    re.compile(r"(?P<person>\d+)_.*\.(jpg|jpeg|png)", re.IGNORECASE),
    "000001_..._01.jpg", "the first number is the person")
_TRAIN = Counts(71248, 5000)
_PROTOCOL = {
    "test": {"train": _TRAIN, "query": Counts(10176, 5805), "gallery": Counts(125353, 5806)},
    "val": {"train": _TRAIN, "query": Counts(100, 56), "gallery": Counts(21279, 56)},
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds LaST's own flag."""
    parser.add_argument(
        "--evaluate-on", choices=list(_PROTOCOL),
        help="which of the dataset's two evaluation sets becomes query and gallery: val is small "
             "and for choosing settings, test is what papers report (default: %(default)s)")


def scan_last(root: str | os.PathLike, *, evaluate_on: str = "test") -> Scan:
    """Lists LaST.

    The authors' own evaluation gives every image another camera, which excludes nothing. Records
    say the same with the unknown camera, which is equal to no other. Gallery persons without a
    query keep their identity.

    Args:
        root: the dataset folder, or its parent.
        evaluate_on: "test" or "val", the folder of query and gallery.

    Raises:
        UserError: if a folder is missing or holds no image with a name of LaST's kind.
    """
    if evaluate_on not in _PROTOCOL:
        raise ValueError(f"`evaluate_on` must be one of {list(_PROTOCOL)}. Received: "
                         f"{evaluate_on!r}")
    folders = {"train": "train", "query": f"{evaluate_on}/query",
               "gallery": f"{evaluate_on}/gallery"}
    root = find_root(root, list(folders.values()), _DATASET_FOLDER)
    dropped: Counter[str] = Counter()
    warnings: list[str] = []
    splits = {split: list_people(root, folder, _NAMES, dropped, warnings, nested=True)
              for split, folder in folders.items()}
    warnings += compare_with_protocol(_NAMES.dataset, splits, _PROTOCOL[evaluate_on])
    return Scan(root, splits, dict(dropped), {"evaluate_on": evaluate_on}, warnings)


DATASET = Dataset(scan_last, "LaST, people in films, without cameras", LAYOUT, add_options)
