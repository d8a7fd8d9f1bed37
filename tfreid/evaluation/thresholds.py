"""Calibrated thresholds: up to which distance two images count as the same identity."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

import keras
import numpy as np
from pydantic import TypeAdapter

from tfrecords.errors import UserError
from tfrecords.files import read_json
from tfrecords.storage import as_path
from tfrecords.writing import write_json
from tfreid.config import Config
from tfreid.evaluation.distances import find_metric, pairwise_distances
from tfreid.weights.files import weight_keys

THRESHOLDS_NAME = "thresholds.json"
# Older calibrations wrote one threshold, with its metric.
_OLD_NAME = "threshold.json"
_FIX = "delete it, or calibrate or train again"
# The metric whose threshold is a logit; higher ones mean the same identity.
PROBABILITY = "probability"
MOST_ACCURATE = "the most accurate"
# Metrics that do not depend on the length of the features.
_SCALE_FREE = ("cosine", "correlation")


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A calibrated threshold. Rates are fractions in 0..1.

    Attributes:
        threshold: Images at this distance or nearer show the same identity; with the metric
            `probability`, images with this logit or a higher one.
        metric: Name of the distance in `pairwise_distances`, or `probability`.
        minkowski_p: Exponent of the Minkowski distance.
        feature: The model's output that is compared, `neck` or `embedding`.
        normalized: Whether features are unit vectors.
        chosen_by: The rule by which the threshold was chosen.
        true_positive_rate: Share of the positive pairs that are accepted.
        false_positive_rate: Share of the negative pairs that are accepted.
        dataset: The test set.
        split: The images: `query x gallery`, or a split paired with itself.
        weights: The weight file.
        fingerprint: The `weights_fingerprint`.
        measured: Further figures, for the reader.
        flip: Whether features are means over an image and its mirror image.
    """

    threshold: float
    metric: str
    minkowski_p: float
    feature: str
    normalized: bool
    chosen_by: str
    true_positive_rate: Optional[float]
    false_positive_rate: Optional[float]
    dataset: str
    split: Optional[str]
    weights: Optional[str]
    fingerprint: str
    measured: dict = dataclasses.field(default_factory=dict)
    flip: bool = False

    def distances(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Computes float32 distances [n, m] between embeddings [n, d] and [m, d]."""
        return pairwise_distances(first, second, self.metric, self.minkowski_p)

    def distance_at(self, rate: str) -> float:
        """Returns the distance at a false-positive rate, or the threshold if that is smaller.

        Args:
            rate: One that the calibration measured, such as `0.001`; of others the threshold is
                returned.
        """
        point = self.measured.get("at_false_positive_rates", {}).get(rate, {})
        return min(point.get("threshold", np.inf), self.threshold)

    def check_fits(self, model: keras.Model, config: Config) -> None:
        """Raises a `UserError` if the threshold was calibrated for another model or settings."""
        fix = ("run tfreid calibrate again, or delete the file to export without a "
               "threshold")
        if self.fingerprint != weights_fingerprint(model):
            raise UserError(f"the threshold was calibrated for other weights ({self.weights}); "
                            f"{fix}.")
        for name in ("feature", "flip"):
            then, now = (str(getattr(owner, name)).lower() for owner in (self, config.evaluation))
            if then != now:
                raise UserError(f"the threshold was calibrated for evaluation.{name}={then}, not "
                                f"{now}; {fix}.")
        if self.normalized != config.export.normalize and self.metric not in _SCALE_FREE:
            raise UserError("the threshold was calibrated with "
                            f"export.normalize={str(self.normalized).lower()}, on which its "
                            f"{self.metric} distances depend; {fix}.")


_THRESHOLD = TypeAdapter(Threshold)


def save_thresholds(thresholds: Mapping[str, Threshold], path: str | Path) -> None:
    """Writes metric -> threshold as JSON, replacing the file in one step."""
    path = as_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {metric: dataclasses.asdict(one) for metric, one in thresholds.items()})


def find_thresholds(folder: str | Path) -> Path | None:
    """Returns the file of thresholds in a folder, in the present or old format, or None."""
    for name in (THRESHOLDS_NAME, _OLD_NAME):
        if (as_path(folder) / name).is_file():
            return as_path(folder) / name
    return None


def load_thresholds(path: str | Path) -> dict[str, Threshold]:
    """Reads metric -> threshold, at least one, also from files in an old format.

    Raises:
        UserError: If the file is missing or is not of this kind.
    """
    path = as_path(path)
    if not path.is_file():
        raise UserError(f"{path}: no thresholds there; tfreid calibrate writes them.")
    return parse_thresholds(read_json(path, _FIX), path)


def parse_thresholds(content: Mapping[str, Any], path: str | Path,
                     fix: str = _FIX) -> dict[str, Threshold]:
    """Returns metric -> threshold of JSON that `path` holds; see `load_thresholds`."""
    try:
        thresholds = {metric: _THRESHOLD.validate_json(json.dumps(one), strict=True)
                      for metric, one in _entries(content).items()}
        for metric, one in thresholds.items():
            if metric != PROBABILITY:
                find_metric(metric, one.minkowski_p)
            rates = one.true_positive_rate or 0, one.false_positive_rate or 0
            if metric != one.metric or not 0 <= min(rates) <= max(rates) <= 1:
                raise ValueError("not this metric's threshold")
        next(iter(thresholds))
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError, UserError):
        raise UserError(f"{path} is broken (not a file of thresholds); {fix}.") from None
    return thresholds


def fitting_thresholds(model: keras.Model, minkowski_p: float,
                       path: Path | None) -> dict[str, Threshold]:
    """Reads the thresholds that were calibrated for a model and an exponent, if the file exists.

    Raises:
        UserError: As in `load_thresholds`.
    """
    if path is None or not path.exists():
        return {}
    fingerprint = weights_fingerprint(model)
    return {metric: one for metric, one in load_thresholds(path).items()
            if one.fingerprint == fingerprint
            and (metric != "minkowski" or one.minkowski_p == minkowski_p)}


def choose_threshold(thresholds: Mapping[str, Threshold], metric: str) -> Threshold:
    """Returns the threshold of a metric, or else the first one."""
    return thresholds.get(metric, next(iter(thresholds.values())))


def weights_fingerprint(model: keras.Model) -> str:
    """Returns the SHA-256 of a model's weights, names and values, except the classifier's."""
    digest = hashlib.sha256()
    for key, variable in sorted(weight_keys(model).items()):
        if not key.startswith("classifier/"):
            digest.update(key.encode())
            digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()


def _entries(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns metric -> fields of a threshold, for present and old formats."""
    if "metric" in content:
        return {content["metric"]: content}
    if "values" not in content:
        return content
    content["values"][PROBABILITY]  # required by Siamese networks
    return {metric: dict(
        threshold=value, metric=metric, minkowski_p=content["minkowski_p"], feature="embedding",
        normalized=False, chosen_by=MOST_ACCURATE, true_positive_rate=None,
        false_positive_rate=None, dataset=content["calibrated_on"], split=None, weights=None,
        fingerprint=content["fingerprint"],
    ) for metric, value in content["values"].items()}
