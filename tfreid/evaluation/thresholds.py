"""From where on two images count as one identity, by each metric, and how that was chosen."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfrecords.errors import UserError
from tfrecords.manifest import write_json
from tfreid.config import Config
from tfreid.evaluation.distances import find_metric, pairwise_distances
from tfreid.weights.files import weight_keys

THRESHOLDS_NAME = "thresholds.json"
# What a calibration wrote before: one threshold, with the metric inside.
_OLD_NAME = "threshold.json"
# The metric whose threshold is a logit from which images show one identity.
PROBABILITY = "probability"
MOST_ACCURATE = "the most accurate"
# Metrics that the length of the features does not change.
_SCALE_FREE = ("cosine", "correlation")


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A calibrated threshold. Rates are fractions in 0..1.

    Attributes:
        threshold: Images at this distance or nearer show the same identity; of the metric
            `probability`, those of this logit or a higher one.
        metric: Name of the distance, as `pairwise_distances` knows it, or `probability`.
        minkowski_p: Exponent of the Minkowski distance.
        feature: The model's output that is compared, `neck` or `embedding`.
        normalized: Whether features are unit vectors.
        chosen_by: The rule by which the threshold was chosen.
        true_positive_rate: Share of the positive pairs that are accepted.
        false_positive_rate: Share of the negative pairs that are accepted.
        dataset: What it was measured on.
        split: Which images: `query x gallery`, or a split paired with itself.
        weights: The weight file.
        fingerprint: Of the weights' values; see `weights_fingerprint`.
        measured: Everything else that was measured, for the reader.
    """

    threshold: float
    metric: str
    minkowski_p: float
    feature: str
    normalized: bool
    chosen_by: str
    true_positive_rate: float | None
    false_positive_rate: float | None
    dataset: str
    split: str | None
    weights: str | None
    fingerprint: str
    measured: dict = dataclasses.field(default_factory=dict)

    def distances(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Computes float32 distances [n, m] of embeddings [n, d] and [m, d] by this metric."""
        return pairwise_distances(first, second, self.metric, self.minkowski_p)

    def check_fits(self, model: keras.Model, config: Config) -> None:
        """Raises a `UserError` where the threshold was calibrated for something else."""
        fix = ("run tools/calibrate_threshold.py again, or delete the file to export without a "
               "threshold")
        if self.fingerprint != weights_fingerprint(model):
            raise UserError(f"the threshold was calibrated for other weights ({self.weights}); "
                            f"{fix}.")
        if self.feature != config.evaluation.feature:
            raise UserError(f"the threshold was calibrated for evaluation.feature={self.feature}, "
                            f"not {config.evaluation.feature}; {fix}.")
        if self.normalized != config.export.normalize and self.metric not in _SCALE_FREE:
            raise UserError(
                f"the threshold was calibrated with export.normalize="
                f"{str(self.normalized).lower()}, on which its {self.metric} distances depend; "
                f"{fix}."
            )


def save_thresholds(thresholds: Mapping[str, Threshold], path: str | Path) -> None:
    """Writes metric -> threshold as JSON, replacing the file in one step."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {metric: dataclasses.asdict(one) for metric, one in thresholds.items()})


def find_thresholds(folder: str | Path) -> Path | None:
    """Returns the file of thresholds in a folder, also one of before, or None."""
    for name in (THRESHOLDS_NAME, _OLD_NAME):
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    return None


def load_thresholds(path: str | Path) -> dict[str, Threshold]:
    """Reads metric -> threshold, also from files of before; at least one.

    Raises:
        UserError: The file is missing or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no thresholds there; tools/calibrate_threshold.py writes them.")
    try:
        thresholds = {metric: Threshold(**one) for metric, one in
                      _entries(json.loads(path.read_text(encoding="utf-8"))).items()}
        for metric, one in thresholds.items():
            if metric != PROBABILITY:
                find_metric(metric, one.minkowski_p)
            if metric != one.metric or not np.isfinite(one.threshold + one.minkowski_p):
                raise ValueError("not this metric's threshold")
        next(iter(thresholds))
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError, UserError):
        raise UserError(
            f"{path} holds no thresholds of this version; delete it, or calibrate or train again."
        ) from None
    return thresholds


def fitting_thresholds(
    model: keras.Model, minkowski_p: float, path: Path | None
) -> dict[str, Threshold]:
    """Reads the thresholds in a file that were calibrated for a network and an exponent.

    Args:
        model: The network.
        minkowski_p: Exponent of the Minkowski distance.
        path: The file; one that is missing has none.

    Raises:
        UserError: The file holds something else.
    """
    if path is None or not path.exists():
        return {}
    fingerprint = weights_fingerprint(model)
    return {metric: one for metric, one in load_thresholds(path).items()
            if one.fingerprint == fingerprint
            and (metric != "minkowski" or one.minkowski_p == minkowski_p)}


def choose_threshold(thresholds: Mapping[str, Threshold], metric: str) -> Threshold:
    """Returns the threshold of a metric, or the first one where that has none."""
    return thresholds.get(metric, next(iter(thresholds.values())))


def weights_fingerprint(model: keras.Model) -> str:
    """Returns a SHA-256 over the names and values of a model's weights except the classifier's."""
    digest = hashlib.sha256()
    for key, variable in sorted(weight_keys(model).items()):
        if not key.startswith("classifier/"):
            digest.update(key.encode())
            digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()


def _entries(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns metric -> fields of a threshold, of files of now and of before."""
    if "metric" in content:
        return {content["metric"]: content}
    if "values" not in content:
        return content
    content["values"][PROBABILITY]  # what a Siamese network needs
    return {metric: dict(
        threshold=value, metric=metric, minkowski_p=content["minkowski_p"], feature="embedding",
        normalized=False, chosen_by=MOST_ACCURATE, true_positive_rate=None,
        false_positive_rate=None, dataset=content["calibrated_on"], split=None, weights=None,
        fingerprint=content["fingerprint"],
    ) for metric, value in content["values"].items()}
