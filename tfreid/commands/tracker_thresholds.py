"""Prints the appearance threshold to give each tracker, from a model's calibration."""

from __future__ import annotations

from tfrecords.errors import UserError, command_line
from tfreid.commands.parser import CommandParser

USUAL_RATE = "0.001"


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
    parser.add_argument("--rate", default=USUAL_RATE, metavar="RATE",
                        help="share of the pairs of different people, one of those of `tfreid "
                        "calibrate --false-positive-rates` (default: %(default)s)")
    parsed = parser.parse_args(arguments)

    from tfreid.evaluation.results import ruled_table
    from tfreid.tracking.thresholds import SETTINGS

    distance = calibrated_distance(parsed.model, parsed.rate)
    rows = [(one.tracker, one.name, f"{one.number(distance):.4f}", one.meaning)
            for one in SETTINGS]
    print(ruled_table([[("tracker", "setting", "number", "what is compared with it")], rows]))
    print(f"cosine distance {distance:.4f}: one in {1 / float(parsed.rate):,.0f} pairs of "
          "different people is nearer")


def calibrated_distance(model: str, rate: str) -> float:
    """Returns the cosine distance of an export at a false-positive rate.

    Raises:
        UserError: If there is no export, or it was not calibrated for such a distance.
    """
    from tfreid.serving.client import exported_thresholds
    from tfreid.tracking.thresholds import cosine_distance

    thresholds = exported_thresholds(model)
    if not thresholds:
        raise UserError(f"{model} was exported without a calibration; run tfreid calibrate and "
                        "export it again, or give the tracker a distance of your own.")
    return cosine_distance(next(iter(thresholds.values())), rate)
