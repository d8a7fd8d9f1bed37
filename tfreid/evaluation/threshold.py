"""The distance up to which two images count as one person, and where it came from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import keras
import numpy as np

from tfrecords.errors import UserError
from tfrecords.manifest import write_json
from tfreid.config import Config
from tfreid.evaluation.distances import pairwise_distances
from tfreid.weights.files import weight_keys

THRESHOLD_NAME = "threshold.json"
# Distances that the length of the features does not change.
_SCALE_FREE = ("cosine", "correlation")


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A calibrated threshold. Rates are fractions in 0..1.

    Attributes:
        threshold: images at this distance or nearer show the same person.
        metric: name of the distance, as `pairwise_distances` knows it.
        minkowski_p: its exponent.
        feature: the model's output that is compared, `neck` or `embedding`.
        normalized: whether features are unit vectors.
        chosen_by: the rule by which the threshold was chosen, in words.
        true_positive_rate: share of the pairs of one person that are accepted.
        false_positive_rate: share of the pairs of two persons that are accepted.
        dataset: what it was measured on.
        split: which images: `query x gallery`, or a split paired with itself.
        weights: the weight file.
        fingerprint: of the weights' values; see `weights_fingerprint`.
        measured: everything else that was measured, for the reader.
    """

    threshold: float
    metric: str
    minkowski_p: float
    feature: str
    normalized: bool
    chosen_by: str
    true_positive_rate: float
    false_positive_rate: float
    dataset: str
    split: str
    weights: str
    fingerprint: str
    measured: dict = dataclasses.field(default_factory=dict)

    def distances(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Computes float32 distances [n, m] of embeddings [n, d] and [m, d] by this metric."""
        return pairwise_distances(left, right, self.metric, self.minkowski_p)

    def check_fits(self, model: keras.Model, config: Config) -> None:
        """Raises a `UserError` where the threshold was calibrated for something else."""
        mend = ("run tools/calibrate_threshold.py again, or delete the file to export without a "
                "threshold")
        if self.fingerprint != weights_fingerprint(model):
            raise UserError(f"{THRESHOLD_NAME} was calibrated for other weights ({self.weights}); "
                            f"{mend}.")
        if self.feature != config.evaluation.feature:
            raise UserError(f"{THRESHOLD_NAME} was calibrated for evaluation.feature="
                            f"{self.feature}, not {config.evaluation.feature}; {mend}.")
        if self.normalized != config.export.normalize and self.metric not in _SCALE_FREE:
            raise UserError(
                f"{THRESHOLD_NAME} was calibrated with export.normalize="
                f"{str(self.normalized).lower()}, on which its {self.metric} distances depend; "
                f"{mend}."
            )


def save_threshold(threshold: Threshold, path: str | Path) -> None:
    """Writes a threshold as JSON, in one step."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, dataclasses.asdict(threshold))


def load_threshold(path: str | Path) -> Threshold:
    """Reads a threshold.

    Raises:
        UserError: The file is missing or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no threshold there; tools/calibrate_threshold.py writes one.")
    try:
        threshold = Threshold(**json.loads(path.read_text(encoding="utf-8")))
        pairwise_distances(np.zeros((1, 1)), np.zeros((1, 1)), threshold.metric,
                           threshold.minkowski_p)
        float(threshold.threshold)
    except (TypeError, ValueError, UserError):
        raise UserError(
            f"{path} holds no threshold of this version; write it again with "
            "tools/calibrate_threshold.py."
        ) from None
    return threshold


def weights_fingerprint(model: keras.Model) -> str:
    """Returns a SHA-256 over the names and values of a model's weights, the classifier's aside."""
    digest = hashlib.sha256()
    for key, variable in sorted(weight_keys(model).items()):
        if not key.startswith("classifier/"):
            digest.update(key.encode())
            digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()
