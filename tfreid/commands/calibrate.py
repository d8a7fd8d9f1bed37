"""Finds the distance up to which two images count as one person, and keeps it for serving."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tfrecords.errors import command_line
from tfreid.commands.parser import command_parser


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and calibrates."""
    parser = command_parser(
        __doc__,
        "A ranking needs no threshold; saying 'the same person' does. This measures all "
        "pairs of the records, draws their distances and the ROC curve, and writes "
        "RUN/thresholds.json, which tools/export_model.py puts into the export. Calibrate on "
        "images like those that will be served: on another camera or dataset the same threshold "
        "has another false-positive rate. example: tfreid calibrate --run "
        "runs/first --choose 0.001",
    )
    parser.add_argument("--run", required=True, metavar="RUN", help="folder of a trained run")
    parser.add_argument("--records", metavar="DIR",
                        help="records whose pairs are measured (default: the run's own)")
    parser.add_argument("--split", metavar="NAME",
                        help="pair one split's images with each other, such as train (default: "
                        "query with gallery). Training images lie nearer each other than new "
                        "people's, so a threshold from them is too strict")
    parser.add_argument("--weights", default="best", metavar="best|last|FILE",
                        help="which weights; the export must be of the same ones (default: those "
                        "of the best evaluation)")
    parser.add_argument("--false-positive-rates", type=_rates, metavar="RATE,RATE...",
                        default="0.001,0.01,0.1",
                        help="shares of the pairs of two persons that may pass, at which the share "
                        "of the pairs of one person that is found is reported (default: "
                        "%(default)s)")
    parser.add_argument("--choose", type=_choice, default="eer", metavar="eer|RATE",
                        help="which threshold is kept: that of the equal error rate, where false "
                        "matches are as frequent as misses, or the highest with at most this "
                        "false-positive rate, for when false matches cost more (default: eer)")
    parser.add_argument("--output", metavar="DIR",
                        help="folder for thresholds.json, pair_distances.png and roc.png (default: "
                        "RUN, where the export looks)")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value",
                        help="settings on top of the run's, such as evaluation.metric=euclidean; "
                        "features are unit vectors where export.normalize is true, as served")
    parsed = parser.parse_intermixed_args(arguments)

    from tfreid.systems.registry import make_system
    from tfreid.training.run_folder import open_run

    records = [f"data.records={json.dumps(parsed.records)}"] if parsed.records else []
    run, config = open_run(parsed.run, [*parsed.overrides, *records])
    output = Path(parsed.output or run.path)
    make_system(config).calibrate(
        run.weights(parsed.weights), output, false_positive_rates=parsed.false_positive_rates,
        chosen_rate=parsed.choose, split=parsed.split)
    print(f"wrote {output}/thresholds.json, pair_distances.png and roc.png")


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 < rate < 1:
        raise argparse.ArgumentTypeError(f"must be a rate between 0 and 1, not {text!r}")
    return rate


def _rates(text: str) -> list[float]:
    return [_rate(part) for part in text.split(",")]


def _choice(text: str) -> float | None:
    return None if text == "eer" else _rate(text)
