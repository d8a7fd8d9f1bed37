"""The synthetic dataset: rendered unless it exists, then read like Market-1501."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
from collections.abc import Iterable
from pathlib import Path

from tfrecords.arguments import whole
from tfrecords.datasets import Dataset
from tfrecords.market1501 import DISTRACTOR, scan_market1501
from tfrecords.scan import ImageEntry, Scan

_REASONS = {
    "train_identities": "training identities; more of them take longer and give a better model",
    "test_identities": "other identities, in query and gallery",
    "cameras": "number of cameras",
    "images_per_camera": "images of an identity by one camera; P x K batches need several",
    "cameras_per_identity": "cameras that see an identity; two or more, so that queries have "
                            "matches",
    "distractors": "gallery images of people who match no query, which makes ranking harder",
    "junk": "boxes without a person, which the builder drops like those of Market-1501",
    "seed": "seed of people and cameras: the same seed renders the same images",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for each setting of the renderer, and `--tracklets`."""
    from tfrecords.synthetic import STYLES, SyntheticOptions

    parser.add_argument(
        "--style", choices=STYLES, default=SyntheticOptions.style,
        help="plain figures in bold clothes, which a small network learns in minutes, or varied "
             "ones that train models for real cameras (default: %(default)s)")
    for setting in dataclasses.fields(SyntheticOptions):
        if setting.name == "style":
            continue
        parser.add_argument(
            "--" + setting.name.replace("_", "-"), type=whole(0, 2**32 - 1),
            default=setting.default, metavar="N",
            help=f"{_REASONS.get(setting.name, setting.name)} (default: %(default)s)")
    parser.add_argument(
        "--tracklets", action="store_true",
        help="make all images of an identity by a camera, in the order of their frames, one "
             "tracklet, as in MARS; a test identity's tracklet by the lowest-numbered camera is a "
             "query and the others are gallery, so that every query has a match by another "
             "camera; the rendered images are the same")


def scan_synthetic(root: str | os.PathLike, *, workers: int = 1, progress: bool = False,
                   tracklets: bool = False, **options: int | str) -> Scan:
    """Renders what is missing of the dataset in `root`, and lists it.

    Args:
        root: The folder of the rendered images; created if it does not exist.
        workers: Number of processes that render.
        progress: Whether to show a progress bar on standard error.
        tracklets: Whether the images of an identity by a camera are one tracklet, which is query or
            gallery as a whole.
        **options: Fields of `tfrecords.synthetic.SyntheticOptions`.

    Raises:
        UserError: If an option is out of range or `root` holds something else.
    """
    from tfrecords.synthetic import SyntheticOptions, render_dataset

    settings = SyntheticOptions(**options)
    render_dataset(Path(root), settings, workers=workers, progress=progress)
    scan = scan_market1501(root)
    made = dataclasses.asdict(settings)
    if settings.style == SyntheticOptions.style:
        del made["style"]  # so that records are older than it
    if not tracklets:
        return dataclasses.replace(scan, options=made)
    return dataclasses.replace(scan, splits=_split_tracklets(scan.splits),
                               options={**made, "tracklets": True})


def _split_tracklets(splits: dict[str, list[ImageEntry]]) -> dict[str, list[ImageEntry]]:
    """Returns the splits with tracklet ids, which count from 1 over all splits."""
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
    """Groups images by person and camera, in this order; each distractor is a group."""
    found: dict[tuple[int, int, str], list[ImageEntry]] = {}
    # Names of one person by one camera differ in the frame, which has six digits.
    for entry in sorted(entries, key=lambda entry: entry.path.rpartition("/")[2]):
        alone = entry.path if entry.person_id == DISTRACTOR else ""
        found.setdefault((entry.person_id, entry.camera_id, alone), []).append(entry)
    return [found[key] for key in sorted(found)]


DATASET = Dataset(scan_synthetic, "rendered people, to try everything without a dataset",
                  add_options=add_options, renders=True)
