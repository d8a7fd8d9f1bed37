"""The command `tfreid`, which runs all others: `tfreid train --config ...`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from tfrecords.errors import UserError, command_line, nearest, shortened


class Command(NamedTuple):
    """Where a command's `main` is, and what it does in a few words."""

    module: str
    summary: str


COMMANDS = {
    "build": Command("tfrecords.build", "turn a dataset folder into TFRecords"),
    "train": Command("tfreid.commands.train", "train a recipe"),
    "test": Command("tfreid.commands.test", "evaluate a trained model, or verify a pair of images"),
    "export": Command("tfreid.commands.export", "write what TF Serving or a device loads"),
    "query": Command("tfreid.commands.query", "compare image files with an exported model"),
    "extract-features": Command("tfreid.commands.extract_features",
                                "write the features of records or image files into one file"),
    "embed-images": Command("tfreid.commands.embed_images",
                            "embed many images into Parquet shards, here or on Apache Beam"),
    "crop-people": Command("tfreid.commands.crop_people", "cut the people out of films"),
    "render-films": Command("tfreid.commands.render_films",
                            "render films of people, to try everything without real ones"),
    "track": Command("tfreid.commands.track", "number the people in a film"),
    "score-tracks": Command("tfreid.commands.score_tracks", "measure IDF1 and HOTA of tracks"),
    "tracker-thresholds": Command("tfreid.commands.tracker_thresholds",
                                  "print the appearance threshold to give each tracker"),
    "gallery": Command("tfreid.commands.gallery", "find a person in a gallery of images"),
    "calibrate": Command("tfreid.commands.calibrate", "choose the distance that means same person"),
    "convert": Command("tfreid.commands.convert", "convert a PyTorch checkpoint"),
    "settings": Command("tfreid.config.__main__", "list every setting with its explanation"),
    "info": Command("tfreid.commands.info", "print a model's size and cost"),
    "benchmark": Command("tfreid.commands.benchmark", "measure speed and memory"),
    "plot-cmc": Command("tfreid.commands.plot_cmc", "draw the CMC curves of several runs"),
    "average-folds": Command("tfreid.commands.average_folds",
                             "average results over random identity splits"),
    "distractor-curve": Command("tfreid.commands.distractor_curve",
                                "measure mAP against the number of distractors"),
    "visualize-csn": Command("tfreid.commands.visualize_csn", "draw what a CSN compares"),
    "visualize-embedding": Command("tfreid.commands.visualize_embedding",
                                   "draw what an embedding looks at"),
    "visualize-augmentation": Command("tfreid.commands.visualize_augmentation",
                                      "draw the training images of a recipe"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that the first argument names.

    Returns:
        Its exit code; 2 for an unknown command.
    """
    name, *rest = arguments if arguments is not None else sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(_usage())
        return 0
    if name == "--version":
        from tfreid import __version__

        print(f"tfreid {__version__}")
        return 0
    return _run(name, rest)


@command_line
def _run(name: str, arguments: list[str]) -> int:
    if name not in COMMANDS:
        raise UserError(f"there is no command {shortened(repr(name))}; the nearest is "
                        f"`tfreid {nearest(name, COMMANDS)}`, and `tfreid --help` lists all.")
    return importlib.import_module(COMMANDS[name].module).main(arguments)


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: tfreid COMMAND [options]", "",
                      "Person re-identification for TensorFlow and Keras.", "", "commands:",
                      *lines, "", "tfreid COMMAND --help explains each of them."])
