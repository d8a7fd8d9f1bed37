"""The numbers of trackers, worked out by hand, and calibrations that give none."""

from __future__ import annotations

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.evaluation.distances import pairwise_distances
from tfreid.evaluation.thresholds import Threshold
from tfreid.tracking.thresholds import SETTINGS, cosine_distance, share_note


def calibrated(metric="cosine", normalized=True, **distances):
    return Threshold(
        threshold=0.5, metric=metric, minkowski_p=2.0, feature="embedding", normalized=normalized,
        chosen_by="equal error rate", true_positive_rate=0.9, false_positive_rate=0.1,
        dataset="people", split=None, weights=None, fingerprint="", measured={
            "at_false_positive_rates": {
                rate: {"threshold": distance} for rate, distance in distances.items()}})


def test_each_tracker_gets_its_number_for_one_distance():
    """At the cosine distance 0.3 the cosine is 0.7, half the distance 0.15 and its rest 0.85."""
    numbers = {(one.tracker, one.name): one.number(0.3) for one in SETTINGS}
    expected = {
        ("BoxMOT 17 and later, BoT-SORT", "appearance_thresh"): 0.3,
        ("BoxMOT up to 16, BoT-SORT", "appearance_thresh"): 0.15,
        ("BoxMOT, StrongSORT", "max_cos_dist"): 0.3,
        ("BoxMOT, HybridSORT", "longterm_reid_correction_thresh"): 0.3,
        ("BoxMOT, HybridSORT", "longterm_reid_correction_thresh_low"): 0.3,
        ("BoxMOT, OccluBoost", "recovery_appearance_thresh"): 0.7,
        ("BoxMOT, OccluBoost", "second_appearance_thresh"): 0.7,
        ("BoxMOT, OccluBoost", "gta_appearance_thresh"): 0.7,
        ("Ultralytics, BoT-SORT", "appearance_thresh"): 0.85,
        ("DeepSORT", "max_cosine_distance"): 0.3,
        ("DeepStream", "minMatchingScore4ReidSimilarity"): 0.7,
        ("tfreid track", "--distance"): 0.3,
    }
    assert numbers == pytest.approx(expected)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda one: f"{one.tracker}, {one.name}")
def test_trackers_decide_as_the_calibration_does(setting):
    """Of random pairs, what a tracker accepts by its number is what the distance accepts."""
    rng = np.random.default_rng(0)
    first, second = (unit / np.linalg.norm(unit, axis=1, keepdims=True)
                     for unit in rng.normal(size=(2, 200, 4)))
    cosines = (first * second).sum(1)
    compared = {
        "cosine distance, at most": -(1 - cosines),
        "half the cosine distance, at most": -(1 - cosines) / 2,
        "cosine similarity, at least": cosines,
        "1 minus half the cosine distance, at least": 1 - (1 - cosines) / 2,
    }[setting.meaning]
    number = setting.number(0.4) * (-1 if setting.meaning.endswith("at most") else 1)
    distances = pairwise_distances(first, second, "cosine").diagonal()
    assert ((compared >= number) == (distances <= 0.4)).all()
    assert 0 < (distances <= 0.4).sum() < 200


def test_the_distance_at_a_rate():
    threshold = calibrated(**{"0.001": 0.2, "0.01": 0.3})
    assert cosine_distance(threshold, 1e-3) == 0.2
    assert cosine_distance(threshold, 0.01) == 0.3


def test_few_pairs_cannot_show_a_rare_share():
    threshold = calibrated(**{"0.001": 0.2})
    threshold.measured["negative_pairs"] = 1000
    assert share_note(threshold, 0.001) == "one in 1,000 pairs of different people is nearer"
    threshold.measured["negative_pairs"] = 999
    assert share_note(threshold, 0.001).startswith("none of only 999 pairs")


def test_a_calibration_without_distances_is_refused():
    with pytest.raises(UserError, match="no distances at false-positive rates; .*--distance"):
        cosine_distance(calibrated(), 0.001)


def test_a_euclidean_distance_of_unit_vectors():
    """Vectors at 60 degrees: the Euclidean distance is 1, the cosine 1/2."""
    assert cosine_distance(calibrated("euclidean", **{"0.001": 1.0}), 0.001) == 0.5


@pytest.mark.parametrize("threshold", [
    calibrated("euclidean", normalized=False, **{"0.001": 1.0}),
    calibrated("cityblock", **{"0.001": 1.0})], ids=["lengths", "metric"])
def test_distances_that_are_no_cosines_are_refused(threshold):
    with pytest.raises(UserError, match="evaluation.metric=cosine"):
        cosine_distance(threshold, 0.001)


def test_a_rate_that_was_not_measured_is_refused_with_those_that_were():
    with pytest.raises(UserError, match=r"rate 0\.05, but for 0\.001, 0\.01; .*calibrate"):
        cosine_distance(calibrated(**{"0.001": 0.2, "0.01": 0.3}), 0.05)


def test_the_distance_of_galleries_is_never_above_the_threshold():
    threshold = calibrated(**{"0.001": 0.2, "0.1": 0.7})
    assert [threshold.distance_at(rate) for rate in ("0.001", "0.1", "0.05")] == [0.2, 0.5, 0.5]
