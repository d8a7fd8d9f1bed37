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
    Setting("BoxMOT, OccluBoost", "recovery_appearance_thresh", lambda d: 1 - d, _SIMILARITY),
    Setting("BoxMOT, OccluBoost", "second_appearance_thresh", lambda d: 1 - d, _SIMILARITY),
    Setting("Ultralytics, BoT-SORT", "appearance_thresh", lambda d: 1 - d / 2,
            "1 minus half the cosine distance, at least"),
    Setting("DeepSORT", "max_cosine_distance", lambda d: d, _DISTANCE),
    Setting("DeepStream", "minMatchingScore4ReidSimilarity", lambda d: 1 - d, _SIMILARITY),
    Setting("tfreid track", "--distance", lambda d: d, _DISTANCE),
)


def cosine_distance(threshold: Threshold, rate: str) -> float:
    """Returns the cosine distance at which a calibration accepts a share of different people.

    Trackers compare by the cosine. Between unit vectors, a Euclidean distance e is the cosine
    distance e^2 / 2.

    Args:
        threshold: The calibration.
        rate: A share that it measured, such as `0.001`.

    Raises:
        UserError: If it did not measure the share, or measured distances that are no function of
            the cosine.
    """
    measured = threshold.measured.get("at_false_positive_rates", {})
    if rate not in measured:
        raise UserError(f"the calibration has no distance for the rate {rate}, but for "
                        f"{', '.join(measured) or 'none'}; run `tfreid calibrate "
                        f"--false-positive-rates {rate}` and export again.")
    distance = measured[rate]["threshold"]
    if threshold.metric == "cosine":
        return distance
    if threshold.metric == "euclidean" and threshold.normalized:
        return distance**2 / 2
    raise UserError(f"the threshold was calibrated for the {threshold.metric} distance, and "
                    "trackers compare by the cosine; calibrate and export with "
                    "evaluation.metric=cosine.")
