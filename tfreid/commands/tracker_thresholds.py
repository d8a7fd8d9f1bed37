"""Prints the appearance threshold to give each tracker, from a model's calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfrecords.errors import UserError, command_line
from tfreid.commands.calibrate import rate
from tfreid.commands.parser import CommandParser

if TYPE_CHECKING:
    from tfreid.evaluation.thresholds import Threshold

USUAL_RATE = 0.001


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and prints."""
    parser = CommandParser(
        __doc__,
        "The distance is the one at which calibration accepts a share of the pairs of different "
        "people. Each tracker wants another number for it: a distance or a similarity, halved or "
        "not. Calibrate on images of the cameras that are tracked. example: tfreid "
        "tracker-thresholds --model served/reid",
    )
    parser.add_argument("--model", required=True, metavar="DIR",
                        help="export of a calibrated model, in any format")
    parser.add_argument("--rate", type=rate, default=USUAL_RATE, metavar="RATE",
                        help="share of the pairs of different people, one of those of `tfreid "
                        "calibrate --false-positive-rates` (default: %(default)s)")
    parsed = parser.parse_args(arguments)

    from tfreid.evaluation.results import ruled_table
    from tfreid.tracking.thresholds import SETTINGS, cosine_distance, share_note

    threshold = exported_threshold(parsed.model)
    distance = cosine_distance(threshold, parsed.rate)
    rows = [(one.tracker, one.name, f"{one.number(distance):.4f}", one.meaning)
            for one in SETTINGS]
    print(ruled_table([[("tracker", "setting", "number", "what is compared with it")], rows]))
    print(f"cosine distance {distance:.4f}: {share_note(threshold, parsed.rate)}")


def exported_threshold(model: str) -> Threshold:
    """Returns the calibration of an export.

    Raises:
        UserError: If there is no export, or it was not calibrated.
    """
    from tfreid.serving.client import exported_thresholds

    thresholds = exported_thresholds(model)
    if not thresholds:
        raise UserError(f"{model} was exported without a calibration; run tfreid calibrate and "
                        "export it again, or give the tracker a distance of your own.")
    return next(iter(thresholds.values()))
