"""Finds the distance up to which two images count as the same person, and saves it."""

from __future__ import annotations

import argparse

from tfrecords.errors import command_line
from tfrecords.storage import as_path
from tfreid.commands.parser import (
    RUN,
    CommandParser,
    open_weights,
    records_override,
    work_folder,
)


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and calibrates."""
    parser = CommandParser(
        __doc__,
        "Ranking needs no threshold, but verification does. This measures all pairs of the "
        "records, draws their distances and the ROC curve, and writes RUN/thresholds.json, which "
        "`tfreid export` includes in the export. Calibrate on images like those that will be "
        "served: with another camera or dataset the same threshold has another false-positive "
        "rate. example: tfreid calibrate --run runs/first --choose 0.001",
    )
    parser.add_model(RUN)
    parser.add_argument("--records", metavar="DIR",
                        help="records whose pairs are measured (default: the run's own)")
    parser.add_argument("--split", metavar="NAME",
                        help="pair one split's images with each other, such as train (default: "
                        "query with gallery). Training images of a person are closer together than "
                        "those of new people, so their threshold is too strict")
    parser.add_argument("--false-positive-rates", type=_rates, metavar="RATE,RATE...",
                        default="0.001,0.01,0.1",
                        help="false-positive rates at which the true-positive rate is reported "
                        "(default: %(default)s)")
    parser.add_argument("--choose", type=_choice, default="eer", metavar="eer|RATE",
                        help="threshold to keep: that of the equal error rate, or the highest with "
                        "at most this false-positive rate, for when false matches cost more than "
                        "missed ones (default: eer)")
    parser.add_argument("--output", metavar="DIR",
                        help="folder for thresholds.json, pair_distances.png and roc.png (default: "
                        "RUN, where `tfreid export` looks; with --config, runs/NAME-evaluation)")
    parser.add_overrides("settings on top, such as evaluation.metric=euclidean; with "
                         "export.normalize=true features are unit vectors, as served")
    parsed = parser.parse_intermixed_args(arguments)
    config, weights, run = open_weights(
        parsed, parsed.overrides + records_override(parsed.records))

    from tfreid.systems.registry import make_system

    output = as_path(parsed.output or work_folder(config, run).path)
    make_system(config).calibrate(
        weights, output, false_positive_rates=parsed.false_positive_rates,
        chosen_rate=parsed.choose, split=parsed.split)
    print(f"wrote {output}/thresholds.json, pair_distances.png and roc.png")


def rate(text: str) -> float:
    """Reads a rate between 0 and 1 of a command line."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 < found < 1:
        raise argparse.ArgumentTypeError(f"must be a rate between 0 and 1, not {text!r}")
    return found


def _rates(text: str) -> list[float]:
    return [rate(part) for part in text.split(",")]


def _choice(text: str) -> float | None:
    return None if text == "eer" else rate(text)
