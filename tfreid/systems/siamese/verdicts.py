"""One person or two: how well a Siamese network tells pairs, and by which thresholds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfreid.evaluation.results import ruled_table
from tfreid.evaluation.thresholds import (
    MOST_ACCURATE,
    PROBABILITY,
    Threshold,
)
from tfreid.evaluation.verification import VerificationCurve, verification_curve
from tfreid.systems.siamese.pair_sets import PairSet
from tfreid.systems.siamese.scores import SiameseScores, sigmoid

# The logit of an even probability, which decides where no threshold was calibrated.
EVEN = 0.0


@dataclasses.dataclass(frozen=True)
class Verdicts:
    """How well each score tells pairs of one person from pairs of two.

    Attributes:
        curves: metric -> distances of both kinds; of `probability` negated logits.
        description: what the pairs are.
    """

    curves: dict[str, VerificationCurve]
    description: str

    def thresholds(self, **facts: Any) -> dict[str, Threshold]:
        """Returns the most accurate threshold of each score.

        Args:
            facts: The other fields of `Threshold`.
        """
        found = {}
        for name, curve in self.curves.items():
            distance = curve.most_accurate_threshold()
            rates = curve.at_threshold(distance)._asdict()
            found[name] = Threshold(**{
                **rates, "threshold": _turned(name, distance), "metric": name,
                "feature": "embedding", "normalized": False, "chosen_by": MOST_ACCURATE,
                "dataset": self.description, "weights": None, **facts})
        return found

    def accuracy(self, name: str, threshold: float) -> float:
        """Returns the share of pairs that a threshold of a score judges rightly."""
        return self.curves[name].accuracy(_turned(name, threshold))

    def figures(self, thresholds: Mapping[str, Threshold]) -> dict[str, Any]:
        """Returns the figures of every score, ready for JSON; that of a probability as such.

        Args:
            thresholds: of each score, to report the accuracy at; of a probability without one
                0.5 decides.
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
            if name in thresholds or name == PROBABILITY:
                value = thresholds[name].threshold if name in thresholds else EVEN
                shown = float(sigmoid(value)) if name == PROBABILITY else value
                figures[name].update(threshold=shown, accuracy=self.accuracy(name, value))
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


def logit_threshold(thresholds: Mapping[str, Threshold]) -> float:
    """Returns the logit from which two images show one identity."""
    return thresholds[PROBABILITY].threshold if PROBABILITY in thresholds else EVEN


def thresholds_note(thresholds: Mapping[str, Threshold]) -> str:
    """Says where thresholds are from."""
    if PROBABILITY not in thresholds:
        return "none were calibrated for these weights, so a probability of 0.5 decides"
    chosen = thresholds[PROBABILITY]
    return f"{chosen.chosen_by} on {chosen.dataset}"


def _turned(name: str, threshold: float) -> float:
    """Turns a logit into the negated one, which is a distance, and back; distances stay."""
    return -threshold if name == PROBABILITY else threshold
