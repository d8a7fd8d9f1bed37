"""LaST: people in films, over years and in changing clothes; it has no cameras."""

from __future__ import annotations

import argparse
import os
import re

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
        help="evaluation set that becomes query and gallery: val is small and for choosing "
             "settings, test is what papers report (default: %(default)s)")


def scan_last(root: str | os.PathLike, *, evaluate_on: str = "test") -> Scan:
    """Lists LaST (Shu et al., "Large-Scale Spatio-Temporal Person Re-identification", 2021).

    The authors' evaluation gives every image a camera of its own, which excludes nothing; the
    unknown camera of the records has the same effect. Gallery identities without a query keep
    their person id.

    Args:
        root: The dataset folder, or its parent.
        evaluate_on: The folder of query and gallery, "test" or "val".

    Raises:
        UserError: If a folder is missing or holds no image that is named like LaST's.
    """
    if evaluate_on not in _PROTOCOL:
        raise ValueError(f"`evaluate_on` must be one of {list(_PROTOCOL)}. Received: "
                         f"{evaluate_on!r}")
    folders = {"train": "train", "query": f"{evaluate_on}/query",
               "gallery": f"{evaluate_on}/gallery"}
    scan = Scan(find_root(root, list(folders.values()), _DATASET_FOLDER),
                options={"evaluate_on": evaluate_on})
    for split, folder in folders.items():
        scan.splits[split] = list_people(scan, folder, _NAMES, nested=True)
    scan.warnings += compare_with_protocol(_NAMES.dataset, scan.splits, _PROTOCOL[evaluate_on])
    return scan


DATASET = Dataset(scan_last, "LaST, people in films, without cameras", LAYOUT, add_options)
