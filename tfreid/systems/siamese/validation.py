"""Validation of a Siamese network while it is trained: pairs held out, beside pairs trained on."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from tfrecords.errors import UserError
from tfreid.config import Config
from tfreid.data.subsets import describe_subset, draw_subset
from tfreid.evaluation.evaluator import Evaluation
from tfreid.evaluation.thresholds import PROBABILITY, Threshold, weights_fingerprint
from tfreid.records import Records
from tfreid.systems.siamese.objective import SiameseLosses
from tfreid.systems.siamese.pair_sets import PairSet, draw_pairs
from tfreid.systems.siamese.scores import EVEN, SiameseScorer, Verdicts, judge

VALIDATION, TRAINING = "validation", "training"
_TRIAL_PAIRS = 4


@dataclasses.dataclass(frozen=True)
class Validated(Evaluation):
    """One validation.

    Attributes:
        verdicts: `validation` and `training` -> how well pairs were told.
        losses: the same -> the losses of these pairs, their sum as `total`. The triplet loss, which
            compares the images of a batch, is not among them.
        calibrated: metric -> threshold of the validation pairs.
        leaking: whether people of the validation pairs were trained on.
    """

    verdicts: dict[str, Verdicts]
    losses: dict[str, dict[str, float]]
    calibrated: dict[str, Threshold]
    leaking: bool

    @property
    def main_figure(self) -> float:
        """The accuracy on validation pairs at the calibrated threshold."""
        return self._accuracy(VALIDATION)

    def scalars(self) -> dict[str, float]:
        """Returns TensorBoard's points by tag."""
        points = {}
        for name, verdicts in self.verdicts.items():
            curve, tag = verdicts.curves[PROBABILITY], f"evaluation/{self._marked(name)}"
            points.update({
                f"{tag}/accuracy": self._accuracy(name),
                f"{tag}/accuracy_at_0.5": verdicts.accuracy(PROBABILITY, EVEN),
                f"{tag}/roc_auc": curve.area,
                f"{tag}/average_precision": curve.average_precision,
                f"{tag}/equal_error_rate": curve.equal_error_rate,
                **{f"{tag}/loss/{loss}": value for loss, value in self.losses[name].items()},
            })
        return points

    def progress(self) -> dict[str, float]:
        """Returns the figures that a run keeps of each evaluation."""
        return {f"{self._marked(name)}_{figure}": value for name, verdicts in self.verdicts.items()
                for figure, value in (
                    ("accuracy", self._accuracy(name)),
                    ("accuracy_at_0.5", verdicts.accuracy(PROBABILITY, EVEN)),
                    ("roc_auc", verdicts.curves[PROBABILITY].area))}

    def headline(self) -> str:
        """Returns accuracies in percent, marked where they leak."""
        words = [f"{self._marked(name)} accuracy {self._accuracy(name):.2%} (at 0.5: "
                 f"{verdicts.accuracy(PROBABILITY, EVEN):.2%}), ROC AUC "
                 f"{verdicts.curves[PROBABILITY].area:.4f}"
                 for name, verdicts in self.verdicts.items()]
        return "; ".join(words)

    def as_dict(self) -> dict[str, Any]:
        """Returns everything, ready for JSON."""
        return {"leaking": self.leaking,
                **{name: {**verdicts.figures(self.calibrated),
                          "losses": self.losses[name]}
                   for name, verdicts in self.verdicts.items()}}

    def thresholds(self) -> dict[str, Threshold]:
        """Returns the thresholds of the validation pairs."""
        return self.calibrated

    def _accuracy(self, name):
        return self.verdicts[name].accuracy(PROBABILITY, self.calibrated[PROBABILITY].threshold)

    def _marked(self, name):
        return f"LEAKING {name}" if self.leaking and name == VALIDATION else name


class SiameseEvaluator:
    """Judges pairs of held-out images and, to show overfitting, pairs of training images.

    Both are drawn once, half of them matching; images are shown as they are, without dropout.

    Args:
        model: What `build_siamese` made.
        config: Its whole configuration.
        records: The records, whose training images were divided.

    Raises:
        UserError: If the records are broken, or leave no pairs of a kind.
    """

    def __init__(self, model: keras.Model, config: Config, records: Records):
        self._model, self._config = model, config
        self._scorer = SiameseScorer(model, config)
        data = config.data
        # Only images that the pairs need are read.
        table = records["train"].load(memory_limit=0)
        subset = draw_subset(table.index, data.subset)
        self._leaking = data.subset.validation_by == "image"
        kinds = {VALIDATION: (subset.validation, describe_subset(data.subset)),
                 TRAINING: (subset.training, "people trained on")}
        self._pairs = {
            name: draw_pairs(table.take(rows), config.evaluation.verification_pairs,
                             data.pairs.apart, data.subset.seed,
                             f"{len(rows):,} {name} images ({words})")
            for name, (rows, words) in kinds.items()}

    def try_out(self) -> None:
        """Judges a few pairs, so that a broken evaluation fails before hours of training."""
        pairs = self._pairs[VALIDATION]
        some = np.concatenate([np.flatnonzero(pairs.matches == kind)[:_TRIAL_PAIRS]
                               for kind in (True, False)])
        places, at = np.unique([pairs.first[some], pairs.second[some]], return_inverse=True)
        first, second = at.reshape(2, -1)
        self._judge(PairSet([pairs.encoded[place] for place in places],
                            [pairs.names[place] for place in places], first, second,
                            pairs.matches[some], pairs.description), progress=False)

    def evaluate(self, progress: bool = True, max_queries: int | None = None) -> Validated:
        """Judges all pairs; there are no queries to take fewer of.

        Raises:
            UserError: An image cannot be decoded, or a score is not a number.
        """
        judged = {name: self._judge(pairs, progress) for name, pairs in self._pairs.items()}
        verdicts = {name: found for name, (found, _) in judged.items()}
        calibrated = verdicts[VALIDATION].thresholds(
            minkowski_p=self._config.evaluation.minkowski_p, split=VALIDATION,
            fingerprint=weights_fingerprint(self._model))
        return Validated(verdicts, {name: losses for name, (_, losses) in judged.items()},
                         calibrated, self._leaking)

    def _judge(self, pairs: PairSet, progress: bool) -> tuple[Verdicts, dict[str, float]]:
        scores = self._scorer(pairs, progress)
        losses = SiameseLosses(self._config.siamese.loss, self._config.loss)(
            scores.distances["euclidean"], scores.logits, pairs.matches)
        values = {name: float(value) for name, value in losses.items()}
        if self._config.siamese.loss != "triplet":
            values["total"] = sum(values.values())
        return judge(pairs, scores), values


def make_siamese_evaluator(
    model: keras.Model, config: Config, records: Records
) -> SiameseEvaluator | None:
    """Makes the evaluator, or returns None where nothing is held out.

    Raises:
        UserError: As `SiameseEvaluator`, or `training.evaluate_queries` is set.
    """
    if config.training.evaluate_queries:
        raise UserError("training.evaluate_queries is for galleries; system: siamese is validated "
                        "on evaluation.verification_pairs, so set that.")
    return SiameseEvaluator(model, config, records) if config.data.subset.validation else None
