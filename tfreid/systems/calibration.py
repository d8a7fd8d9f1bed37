"""Finds the largest distance at which two images show the same person, on pairs of records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from tfrecords.storage import as_path
from tfreid.config import Config
from tfreid.evaluation.distances import describe_metric, find_metric, unit_rows
from tfreid.evaluation.features import FeatureExtractor
from tfreid.evaluation.protocol import (
    FeatureDistances,
    Labels,
    Protocol,
    check_features,
    check_spread,
)
from tfreid.evaluation.results import ruled_table
from tfreid.evaluation.thresholds import (
    THRESHOLDS_NAME,
    Threshold,
    save_thresholds,
    weights_fingerprint,
)
from tfreid.evaluation.verification import (
    VerificationCurve,
    protocol_pairs,
    streamed_verification_curve,
)
from tfreid.records import Records, open_records
from tfreid.visualization.threshold_plot import draw_pair_distances, draw_roc
from tfreid.weights.choice import describe_weights, find_chosen_on, marked

_TEST_PAIRS = "query x gallery"
_EQUAL_ERROR = "equal error rate"


def calibrate(config: Config, weights: str | Path, output: str | Path,
              load: Callable[[], keras.Model],
              false_positive_rates: Sequence[float] = (1e-3, 1e-2, 1e-1),
              chosen_rate: float | None = None, split: str | None = None) -> Threshold:
    """Calibrates a threshold, prints a table and writes `thresholds.json` and two pictures.

    Pairs are formed as in the evaluation, without junk and without images of one identity by the
    same camera. Features are compared as they are served, as unit vectors if `export.normalize` is
    true.

    Args:
        config: The settings; `data.records` names the records, `evaluation` feature and metric.
        weights: The weight file; table and pictures say if test images chose it.
        output: Folder for `thresholds.json`, `pair_distances.png` and `roc.png`.
        load: Builds the embedding model with these weights.
        false_positive_rates: Rates to report, in 0..1.
        chosen_rate: False-positive rate that the threshold must not exceed; None chooses the
            threshold of the equal error rate.
        split: One split whose images are paired with each other; None pairs query and gallery.

    Returns:
        The threshold, which is also in the file.

    Raises:
        UserError: If the settings or the records are wrong, or there are no positive or no negative
            pairs.
    """
    records, evaluation = open_records(config.data), config.evaluation
    find_metric(evaluation.metric, evaluation.minkowski_p)
    sides = ["query", "gallery"] if split is None else [split]
    indices = [records[side].index for side in sides]
    model = load()
    extract = FeatureExtractor(model, config, records)
    features = [extract(side) for side in sides]
    if config.export.normalize:
        features = [unit_rows(side) for side in features]
    query, gallery = check_features(features[0], features[-1])
    check_spread(gallery)
    distances = FeatureDistances(query, gallery, evaluation.metric, evaluation.minkowski_p)
    protocol = Protocol(
        Labels("query", len(query), indices[0].ids, indices[0].cameras),
        Labels("gallery", len(gallery), indices[-1].ids, indices[-1].cameras),
        distances if split is None else lambda positions: _later(distances(positions), positions),
    )
    passes = iter(("counting pairs", "finding thresholds"))
    wanted = sorted({*false_positive_rates, *([] if chosen_rate is None else [chosen_rate])})
    curve = streamed_verification_curve(
        lambda: protocol_pairs(protocol, progress=True, description=next(passes)), wanted
    )
    threshold = _threshold(curve, wanted, chosen_rate, model, config, records, weights, split)
    chosen_on = find_chosen_on(weights)
    print(_table(curve, wanted, threshold, describe_weights(weights, chosen_on)))
    _write(curve, wanted, threshold, as_path(output), chosen_on)
    return threshold


def _later(distances: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Keeps each pair of a split's images once, and pairs no image with itself."""
    distances[np.arange(distances.shape[1]) <= positions[:, np.newaxis]] = np.inf
    return distances


def _threshold(curve: VerificationCurve, rates: Sequence[float], chosen_rate: float | None,
               model: keras.Model, config: Config, records: Records, weights: str | Path,
               split: str | None) -> Threshold:
    evaluation = config.evaluation
    if chosen_rate is None:
        point, rule = curve.equal_error_point(), _EQUAL_ERROR
    else:
        point = curve.at_false_positive_rate(chosen_rate)
        rule = f"false-positive rate of at most {chosen_rate:g}"
    return Threshold(
        **point._asdict(), metric=evaluation.metric, minkowski_p=evaluation.minkowski_p,
        feature=evaluation.feature, normalized=config.export.normalize, chosen_by=rule,
        dataset=records.description, split=split or _TEST_PAIRS, weights=str(weights),
        fingerprint=weights_fingerprint(model), flip=evaluation.flip,
        measured={
            "positive_pairs": curve.num_positives,
            "negative_pairs": curve.num_negatives,
            "roc_area": curve.area,
            "equal_error_rate": curve.equal_error_rate,
            "equal_error_threshold": curve.equal_error_point().threshold,
            "at_false_positive_rates": {
                f"{rate:g}": curve.at_false_positive_rate(rate)._asdict() for rate in rates},
        })


def _table(curve: VerificationCurve, rates: Sequence[float], threshold: Threshold,
           weights: str) -> str:
    points = [("at false-positive rate", "threshold", "true positives", "false positives")]
    found = [(f"{rate:g}", curve.at_false_positive_rate(rate)) for rate in rates]
    for name, point in [*found, (_EQUAL_ERROR, curve.equal_error_point())]:
        points.append((name, f"{point.threshold:.4f}", f"{point.true_positive_rate:.2%}",
                       f"{point.false_positive_rate:.4%}"))
    facts = [
        ("pairs", f"{threshold.dataset}, {threshold.split}"),
        ("weights", weights),
        ("positive pairs", f"{curve.num_positives:,}"),
        ("negative pairs", f"{curve.num_negatives:,}"),
        ("distance", describe_metric(threshold.metric, threshold.minkowski_p)),
        ("area under the ROC curve", f"{curve.area:.5f}"),
        (_EQUAL_ERROR, f"{curve.equal_error_rate:.3%}"),
        ("threshold kept", f"{threshold.threshold:.4f}"),
        ("chosen by", threshold.chosen_by),
    ]
    lines = [ruled_table([points[:1], points[1:], facts])]
    unresolved = [rate for rate in rates if 0 < rate * curve.num_negatives < 1]
    if unresolved:
        lines.append(
            f"note: {curve.num_negatives:,} negative pairs cannot resolve a false-positive rate of "
            f"{unresolved[-1]:g}; its threshold accepts none of them."
        )
    return "\n".join(lines)


def _write(curve: VerificationCurve, rates: Sequence[float], threshold: Threshold,
           output: Path, chosen_on: str | None) -> None:
    save_thresholds({threshold.metric: threshold}, output / THRESHOLDS_NAME)
    points = {f"FPR {rate:g}": curve.at_false_positive_rate(rate) for rate in rates}
    points["EER"] = curve.equal_error_point()
    draw_pair_distances(
        curve.distances, curve.positives, curve.negatives, output / "pair_distances.png",
        thresholds={name: point.threshold for name, point in points.items()},
        label=f"{describe_metric(threshold.metric, threshold.minkowski_p)} distance",
        title=marked("Distances of pairs", chosen_on),
    )
    draw_roc(
        curve.false_positive_rates, curve.true_positive_rates, output / "roc.png",
        points={name: (point.false_positive_rate, point.true_positive_rate)
                for name, point in points.items()},
        area=curve.area, title=marked("Receiver operating characteristic", chosen_on),
    )
