"""CUHK01: 971 identities with two images by each of two cameras, 100 of them drawn for testing."""

from __future__ import annotations

import argparse
import os
import re

from tfrecords.arguments import whole
from tfrecords.datasets import Dataset
from tfrecords.errors import UserError
from tfrecords.identity_splits import add_split_options, draw_identity_splits
from tfrecords.layout import Counts, FileNames, compare_with_protocol, find_root, list_people
from tfrecords.manifest import STORED_SPLIT
from tfrecords.scan import ImageEntry, Scan

LAYOUT = """\
ROOT/          the folder that holds campus
    campus/    0001001.png: person (4 digits) and image (3): 001 and 002 by camera 1, 003 and 004
               by camera 2
Protocol: 3,884 images of 971 identities, two by each camera. Each split trains on 871 identities
and tests the other 100: camera 1's images are the queries, camera 2's the gallery. Results are
averaged over the splits."""
_FOLDER = "campus"
_NAMES = FileNames(
    "CUHK01", re.compile(r"(?P<person>\d{4})00[1-4]\.(png|jpg|jpeg)", re.IGNORECASE),
    "0001001.png", "person, image 1 to 4")
_PROTOCOL = {STORED_SPLIT: Counts(3884, 971)}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the drawing."""
    add_split_options(parser)
    parser.add_argument(
        "--test-identities", type=whole(), metavar="N",
        help="identities that a split tests; some papers test 486 (default: %(default)s)")


def scan_cuhk01(
    root: str | os.PathLike, *, splits: int = 10, seed: int = 0, test_identities: int = 100
) -> Scan:
    """Lists CUHK01 (Li et al. 2012) and draws its identity splits.

    Args:
        root: The folder that holds `campus`.
        splits: Number of splits.
        seed: Seed of the drawing.
        test_identities: Number of identities that each split tests.

    Raises:
        UserError: If `campus` is missing or holds no image that is named like CUHK01's, or a
            setting is out of range.
    """
    if test_identities < 1:
        raise UserError(f"--test-identities must be at least 1, but is {test_identities}.")
    scan = Scan(
        find_root(root, [_FOLDER], "CUHK01"),
        options={"splits": splits, "seed": seed, "test_identities": test_identities})
    images = [entry._replace(camera_id=_camera(entry))
              for entry in list_people(scan, _FOLDER, _NAMES)]
    scan.splits[STORED_SPLIT] = images
    scan.warnings += compare_with_protocol("CUHK01", scan.splits, _PROTOCOL)
    scan.identity_splits = draw_identity_splits(images, test=test_identities, splits=splits,
                                                seed=seed)
    return scan


def _camera(entry: ImageEntry) -> int:
    image = int(entry.path.rpartition(".")[0][-3:])
    return 1 if image <= 2 else 2


DATASET = Dataset(scan_cuhk01, "CUHK01, 871/100 identities, in drawn splits", LAYOUT, add_options)
