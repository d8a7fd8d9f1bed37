"""Market-1501 with more distractors in the gallery (Market-1501+500K)."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tfrecords import market1501
from tfrecords.datasets import Dataset
from tfrecords.errors import UserError
from tfrecords.layout import JUNK, count_dropped
from tfrecords.market1501 import DISTRACTOR, MARKET_NAMES
from tfrecords.scan import ImageEntry, Scan, list_images, name_some
from tfrecords.source import FolderSource

LAYOUT = f"""\
{market1501.LAYOUT}
DISTRACTORS/          any *.jpg (the published archive distractors_500k has them in images/)
Protocol with distractors: the same training and queries; the gallery is 15,913 images and all of
DISTRACTORS, 500,000 as published. They have identity 0, which no query has, and an unknown camera,
so each of them is a wrong match for every query."""
_IMAGES_FOLDER = "images"
_MOUNT = "distractors"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of Market-1501 and the folder of the distractors."""
    market1501.add_options(parser)
    parser.add_argument(
        "--distractors", metavar="DIR",
        help="folder of the additional gallery images, or its parent if that calls it images; take "
             f"a smaller folder for a smaller experiment (default: ROOT/{_IMAGES_FOLDER})")


def scan_market1501_500k(
    root: str | os.PathLike,
    *,
    distractors: str | os.PathLike | None = None,
    multi_query: bool = False,
) -> Scan:
    """Lists Market-1501 and adds distractors to its gallery.

    Distractors get person 0 whatever their names say, and an unknown camera: a camera matters only
    for images of a query's person.

    Args:
        root: Market-1501's folder, or its parent.
        distractors: Folder of the distractors; their paths in the records are distractors/NAME.
            Defaults to ROOT/images.
        multi_query: As for Market-1501.

    Raises:
        UserError: If a folder is missing or empty, or the distractors' names contain identities.
    """
    scan = market1501.scan_market1501(root, multi_query=multi_query)
    folder = _find_distractors(scan.root, distractors)
    names, others = list_images(folder)
    kept, junk = _without_junk(folder, names)
    if not kept:
        raise UserError(f"{folder} holds no JPEG or PNG files: --distractors must name the folder "
                        "of the distractor images.")
    scan.splits["gallery"] += [ImageEntry(f"{_MOUNT}/{name}", DISTRACTOR) for name in kept]
    count_dropped(scan, not_an_image=others, junk=junk)
    scan.options["added_distractors"] = len(kept)
    scan.source = FolderSource(str(scan.root), {_MOUNT: str(folder)})
    return scan


def _find_distractors(root: Path, distractors: str | os.PathLike | None) -> Path:
    if distractors is None:
        folder = root / _IMAGES_FOLDER
        if not folder.is_dir():
            raise UserError(f"{root} holds no folder {_IMAGES_FOLDER}: name the folder of the "
                            "distractors with --distractors.")
        return folder
    folder = Path(distractors)
    if not folder.is_dir():
        raise UserError(f"--distractors {folder} is not a folder: name the folder that holds the "
                        "distractor images.")
    inner = folder / _IMAGES_FOLDER
    return inner if inner.is_dir() else folder


def _without_junk(folder: Path, names: list[str]) -> tuple[list[str], int]:
    """Drops names that Market-1501 gives junk; refuses names of identities."""
    kept, strangers = [], []
    for name in names:
        match = MARKET_NAMES.pattern.fullmatch(name)
        person = DISTRACTOR if match is None else int(match["person"])
        if person > DISTRACTOR:
            strangers.append(name)
        elif person != JUNK:
            kept.append(name)
    if strangers:
        raise UserError(f"{folder} holds {len(strangers)} images of identities "
                        f"({name_some(strangers)}): --distractors must name a folder of "
                        "distractors only.")
    return kept, len(names) - len(kept)


DATASET = Dataset(scan_market1501_500k, "Market-1501 with the 500,000 distractors in its gallery",
                  LAYOUT, add_options)
