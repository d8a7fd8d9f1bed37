"""What to tell a tracker: a calibrated distance as the number that its setting takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tfrecords.errors import UserError
from tfreid.evaluation.thresholds import Threshold


class Setting(NamedTuple):
    """A setting of a tracker that says up to where two appearances are one person.

    Attributes:
        tracker: The tracker, and which versions of it.
        name: The setting.
        number: Function of the largest cosine distance that returns the number to give it.
        meaning: What the tracker compares with the number.
    """

    tracker: str
    name: str
    number: Callable[[float], float]
    meaning: str


_DISTANCE, _HALF = "cosine distance, at most", "half the cosine distance, at most"
_SIMILARITY = "cosine similarity, at least"

# Read in their public code; a cosine distance is 1 minus the cosine, from 0 to 2.
SETTINGS = (
    Setting("BoxMOT 17 and later, BoT-SORT", "appearance_thresh", lambda d: d, _DISTANCE),
    Setting("BoxMOT up to 16, BoT-SORT", "appearance_thresh", lambda d: d / 2, _HALF),
    Setting("BoxMOT, StrongSORT", "max_cos_dist", lambda d: d, _DISTANCE),
    Setting("BoxMOT, HybridSORT", "longterm_reid_correction_thresh", lambda d: d, _DISTANCE),
    Setting("BoxMOT, HybridSORT", "longterm_reid_correction_thresh_low", lambda d: d, _DISTANCE),
    Setting("BoxMOT, OccluBoost", "recovery_appearance_thresh", lambda d: 1 - d, _SIMILARITY),
    Setting("BoxMOT, OccluBoost", "second_appearance_thresh", lambda d: 1 - d, _SIMILARITY),
    Setting("BoxMOT, OccluBoost", "gta_appearance_thresh", lambda d: 1 - d, _SIMILARITY),
    Setting("Ultralytics, BoT-SORT", "appearance_thresh", lambda d: 1 - d / 2,
            "1 minus half the cosine distance, at least"),
    Setting("DeepSORT", "max_cosine_distance", lambda d: d, _DISTANCE),
    Setting("DeepStream", "minMatchingScore4ReidSimilarity", lambda d: 1 - d, _SIMILARITY),
    Setting("tfreid track", "--distance", lambda d: d, _DISTANCE),
)


def cosine_distance(threshold: Threshold, rate: float) -> float:
    """Returns the cosine distance at which a calibration accepts a share of different people.

    Trackers compare by the cosine. Between unit vectors, a Euclidean distance e is the cosine
    distance e^2 / 2.

    Args:
        threshold: The calibration.
        rate: A share that it measured.

    Raises:
        UserError: If it did not measure the share, or measured distances that are no function of
            the cosine.
    """
    measured = threshold.measured.get("at_false_positive_rates", {})
    if not measured:
        raise UserError("the calibration of this export has no distances at false-positive rates; "
                        "give the tracker a distance of your own (tfreid track: --distance).")
    key = f"{rate:g}"
    if key not in measured:
        raise UserError(f"the calibration has no distance for the rate {key}, but for "
                        f"{', '.join(measured)}; run `tfreid calibrate "
                        f"--false-positive-rates {key}` and export again.")
    distance = measured[key]["threshold"]
    if threshold.metric == "cosine":
        return distance
    if threshold.metric == "euclidean" and threshold.normalized:
        return distance**2 / 2
    raise UserError(f"the threshold was calibrated for the {threshold.metric} distance, and "
                    "trackers compare by the cosine; calibrate and export with "
                    "evaluation.metric=cosine, or give a distance of your own (tfreid track: "
                    "--distance).")


def share_note(threshold: Threshold, rate: float) -> str:
    """Says what share of the pairs of different people is nearer than `cosine_distance`."""
    pairs = threshold.measured.get("negative_pairs")
    if pairs is not None and pairs * rate < 1:
        return (f"none of only {pairs:,} pairs of different people is nearer; calibrate on more "
                f"images for a rate of {rate:g}")
    return f"one in {1 / rate:,.0f} pairs of different people is nearer"
