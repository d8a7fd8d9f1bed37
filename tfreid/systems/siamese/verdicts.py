"""One person or two: how well a Siamese network tells pairs, and by which thresholds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from tfrecords.errors import UserError
from tfreid.evaluation.report import ruled_table
from tfreid.evaluation.threshold import weights_fingerprint
from tfreid.evaluation.verification import VerificationCurve, verification_curve
from tfreid.systems.siamese.pair_sets import PairSet
from tfreid.systems.siamese.scores import PROBABILITY, SiameseScores, sigmoid

# The logit of an even probability, which decides where no threshold was calibrated.
EVEN = 0.0


@dataclasses.dataclass(frozen=True)
class PairThresholds:
    """Thresholds of one network, from the pairs that it was validated on.

    Attributes:
        values: metric -> distance up to which two images show one person; `probability` -> the
            logit from which they do.
        calibrated_on: which pairs, in words.
        minkowski_p: exponent of the Minkowski distance.
        fingerprint: of the weights; see `weights_fingerprint`.
    """

    values: dict[str, float]
    calibrated_on: str
    minkowski_p: float
    fingerprint: str

    def of(self, model: keras.Model, minkowski_p: float) -> PairThresholds | None:
        """Returns those that hold for a network and an exponent, None for other weights."""
        if self.fingerprint != weights_fingerprint(model):
            return None
        kept = {name: value for name, value in self.values.items()
                if name != "minkowski" or self.minkowski_p == minkowski_p}
        return dataclasses.replace(self, values=kept)


@dataclasses.dataclass(frozen=True)
class Verdicts:
    """How well each score tells pairs of one person from pairs of two.

    Attributes:
        curves: metric -> distances of both kinds; of `probability` negated logits.
        description: what the pairs are.
    """

    curves: dict[str, VerificationCurve]
    description: str

    def thresholds(self) -> dict[str, float]:
        """Returns the most accurate threshold of each score, as `PairThresholds.values`."""
        return {name: _turned(name, curve.most_accurate_threshold())
                for name, curve in self.curves.items()}

    def accuracy(self, name: str, threshold: float) -> float:
        """Returns the share of pairs that a threshold of a score judges rightly."""
        return self.curves[name].accuracy(_turned(name, threshold))

    def figures(self, thresholds: Mapping[str, float]) -> dict[str, Any]:
        """Returns the figures of every score, ready for JSON; that of a probability as such.

        Args:
            thresholds: as `PairThresholds.values`, to report the accuracy at.
        """
        any_curve = self.curves[PROBABILITY]
        figures: dict[str, Any] = {
            "pairs": self.description,
            "matching_pairs": any_curve.num_positives,
            "non_matching_pairs": any_curve.num_negatives,
        }
        for name, curve in self.curves.items():
            figures[name] = {
                "roc_auc": curve.area,
                "average_precision": curve.average_precision,
                "equal_error_rate": curve.equal_error_rate,
            }
            if name in thresholds:
                shown = float(sigmoid(thresholds[name])) if name == PROBABILITY else (
                    thresholds[name])
                figures[name].update(threshold=shown,
                                     accuracy=self.accuracy(name, thresholds[name]))
        figures[PROBABILITY]["accuracy_at_0.5"] = self.accuracy(PROBABILITY, EVEN)
        return figures


def judge(pairs: PairSet, scores: SiameseScores) -> Verdicts:
    """Compares scores with the truth."""
    curves = {name: verification_curve(distances[pairs.matches], distances[~pairs.matches])
              for name, distances in scores.apart().items()}
    return Verdicts(curves, pairs.description)


def verdicts_table(figures: Mapping[str, Any], note: str) -> str:
    """Returns a table with a row for each score.

    Args:
        figures: Of `Verdicts.figures`.
        note: Where the thresholds are from.
    """
    heads = ("one person or two, by", "accuracy", "at threshold", "ROC AUC", "avg precision", "EER")
    rows = []
    for name, found in figures.items():
        if not isinstance(found, Mapping):
            continue
        at = ((f"{found['accuracy']:.2%}", f"{found['threshold']:.4f}") if "accuracy" in found
              else ("-", "-"))
        rows.append((name, *at, f"{found['roc_auc']:.4f}", f"{found['average_precision']:.4f}",
                     f"{found['equal_error_rate']:.2%}"))
    facts = [
        ("pairs of one person, of two",
         f"{figures['matching_pairs']:,}, {figures['non_matching_pairs']:,}"),
    ]
    table = ruled_table([[heads], rows, facts])
    return f"{figures['pairs']}\n{table}\nthresholds: {note}"


def thresholds_note(thresholds: PairThresholds | None) -> str:
    """Says where thresholds are from."""
    if thresholds is None:
        return "none were calibrated for these weights, so a probability of 0.5 decides"
    return f"the most accurate on {thresholds.calibrated_on}"


def load_pair_thresholds(path: str | Path) -> PairThresholds:
    """Reads thresholds.

    Raises:
        UserError: The file holds something else.
    """
    path = Path(path)
    try:
        found = PairThresholds(**json.loads(path.read_text(encoding="utf-8")))
        values = {name: float(value) for name, value in found.values.items()}
        float(found.minkowski_p)
        values[PROBABILITY]
    except (OSError, AttributeError, TypeError, ValueError, KeyError):
        raise UserError(f"{path} holds no thresholds of this version; delete it, and a probability "
                        "of 0.5 decides, or train again.") from None
    return dataclasses.replace(found, values=values)


def _turned(name: str, threshold: float) -> float:
    """Turns a logit into the negated one, which is a distance, and back; distances stay."""
    return -threshold if name == PROBABILITY else threshold
