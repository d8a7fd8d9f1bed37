"""The synthetic dataset: rendered where it is not there yet, then read like Market-1501."""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path

from tfrecords.market1501 import scan_market1501
from tfrecords.scan import Scan

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
    """Adds one flag per setting of the renderer."""
    from tfrecords.synthetic import SyntheticOptions

    for setting in dataclasses.fields(SyntheticOptions):
        parser.add_argument(
            "--" + setting.name.replace("_", "-"), type=int, default=setting.default, metavar="N",
            help=f"{_REASONS.get(setting.name, setting.name)} (default: %(default)s)")


def scan_synthetic(root: str | os.PathLike, *, workers: int = 1, progress: bool = False,
                   **options: int) -> Scan:
    """Renders the dataset into `root`, or what is missing of it, and lists it.

    Args:
        root: the folder of the rendered images; made if it does not exist.
        workers: processes that render.
        progress: shows a bar on standard error.
        **options: fields of `tfrecords.synthetic.SyntheticOptions`.

    Raises:
        UserError: if an option is out of range or `root` holds something else.
    """
    from tfrecords.synthetic import SyntheticOptions, render_dataset

    settings = SyntheticOptions(**options)
    render_dataset(Path(root), settings, workers=workers, progress=progress)
    scan = scan_market1501(root)
    return dataclasses.replace(scan, options=dataclasses.asdict(settings))
