"""The synthetic dataset: rendered where it is not there yet, then read like Market-1501."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
from collections.abc import Iterable
from pathlib import Path

from tfrecords.datasets import Dataset
from tfrecords.market1501 import DISTRACTOR, scan_market1501
from tfrecords.scan import ImageEntry, Scan

_REASONS = {
    "train_identities": "people to train on; more of them train a better model and take longer",
    "test_identities": "other people, in query and gallery",
    "cameras": "cameras that look at the scene",
    "images_per_camera": "images of a person in one camera; P x K batches need some",
    "cameras_per_identity": "cameras that a person passes; two or more, so that queries have "
                            "matches",
    "distractors": "gallery images of people who match no query, which makes ranking harder",
    "junk": "boxes without a person, which the builder drops as it does Market-1501's",
    "seed": "names the world: the same seed renders the same images",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds one flag per setting of the renderer, and how its images are read."""
    from tfrecords.synthetic import SyntheticOptions

    for setting in dataclasses.fields(SyntheticOptions):
        parser.add_argument(
            "--" + setting.name.replace("_", "-"), type=int, default=setting.default, metavar="N",
            help=f"{_REASONS.get(setting.name, setting.name)} (default: %(default)s)")
    parser.add_argument(
        "--tracklets", action="store_true",
        help="all images of a person by a camera, in the order of their frames, are one tracklet, "
             "as in MARS; of a test person the tracklet by the lowest-numbered camera is a query "
             "and the others are gallery, so that every query has a match by another camera; the "
             "rendered images are the same")


def scan_synthetic(root: str | os.PathLike, *, workers: int = 1, progress: bool = False,
                   tracklets: bool = False, **options: int) -> Scan:
    """Renders the dataset into `root`, or what is missing of it, and lists it.

    Args:
        root: The folder of the rendered images; made if it does not exist.
        workers: Processes that render.
        progress: Shows a bar on standard error.
        tracklets: Makes the images of a person by a camera a tracklet, which is query or gallery
            as a whole.
        **options: Fields of `tfrecords.synthetic.SyntheticOptions`.

    Raises:
        UserError: If an option is out of range or `root` holds something else.
    """
    from tfrecords.synthetic import SyntheticOptions, render_dataset

    settings = SyntheticOptions(**options)
    render_dataset(Path(root), settings, workers=workers, progress=progress)
    scan = scan_market1501(root)
    made = dataclasses.asdict(settings)
    if not tracklets:
        return dataclasses.replace(scan, options=made)
    return dataclasses.replace(scan, splits=_split_tracklets(scan.splits),
                               options={**made, "tracklets": True})


def _split_tracklets(splits: dict[str, list[ImageEntry]]) -> dict[str, list[ImageEntry]]:
    """Returns the splits with tracklets, whose ids count from 1 over all of them."""
    train = _group_tracklets(splits["train"])
    query, gallery, queried = [], [], {DISTRACTOR}
    for tracklet in _group_tracklets([*splits["query"], *splits["gallery"]]):
        person = tracklet[0].person_id
        (gallery if person in queried else query).append(tracklet)
        queried.add(person)
    numbers = itertools.count(1)
    return {split: [entry._replace(tracklet_id=number)
                    for tracklet, number in zip(tracklets, numbers) for entry in tracklet]
            for split, tracklets in (("train", train), ("query", query), ("gallery", gallery))}


def _group_tracklets(entries: Iterable[ImageEntry]) -> list[list[ImageEntry]]:
    """Groups images by person and camera, in this order; distractors stay alone."""
    found: dict[tuple[int, int, str], list[ImageEntry]] = {}
    # Names of one person by one camera differ in the frame, which has six digits.
    for entry in sorted(entries, key=lambda entry: entry.path.rpartition("/")[2]):
        alone = entry.path if entry.person_id == DISTRACTOR else ""
        found.setdefault((entry.person_id, entry.camera_id, alone), []).append(entry)
    return [found[key] for key in sorted(found)]


DATASET = Dataset(scan_synthetic, "rendered people, to try everything without a dataset",
                  add_options=add_options, renders=True)
