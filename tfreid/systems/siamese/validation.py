"""Validation of a Siamese network during training, on held-out pairs and on pairs trained on."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from tfreid.config import Config
from tfreid.data.subsets import describe_subset, draw_subset
from tfreid.evaluation.evaluator import Evaluation
from tfreid.evaluation.thresholds import PROBABILITY, Threshold, weights_fingerprint
from tfreid.records import Records
from tfreid.systems.siamese.objective import SiameseLosses
from tfreid.systems.siamese.pair_sets import PairSet, draw_pairs
from tfreid.systems.siamese.scores import EVEN, SiameseScorer, Verdicts, judge
from tfreid.workers import ALONE, Workers

VALIDATION, TRAINING = "validation", "training"
_TRIAL_PAIRS = 4


@dataclasses.dataclass(frozen=True)
class Validated(Evaluation):
    """One validation.

    Attributes:
        verdicts: `validation` and `training` -> how well pairs are separated.
        losses: `validation` and `training` -> the losses of these pairs, their sum as `total`,
            without the triplet loss, which compares the images of a batch.
        calibrated: Metric -> threshold of the validation pairs.
        leaking: Whether identities of the validation pairs were trained on.
    """

    verdicts: dict[str, Verdicts]
    losses: dict[str, dict[str, float]]
    calibrated: dict[str, Threshold]
    leaking: bool
    names_images = True

    @property
    def main_figure(self) -> float:
        """The accuracy on validation pairs at the calibrated threshold."""
        return self._main(VALIDATION)["accuracy"]

    def scalars(self) -> dict[str, float]:
        """Returns TensorBoard's points by tag."""
        points = {}
        for name, verdicts in self.verdicts.items():
            curve, tag = verdicts.curves[PROBABILITY], f"evaluation/{self._marked(name)}"
            points.update({
                **{f"{tag}/{figure}": value for figure, value in self._main(name).items()},
                f"{tag}/average_precision": curve.average_precision,
                f"{tag}/equal_error_rate": curve.equal_error_rate,
                **{f"{tag}/loss/{loss}": value for loss, value in self.losses[name].items()},
            })
        return points

    def progress(self) -> dict[str, float]:
        """Returns the figures that a run keeps of each evaluation."""
        return {f"{self._marked(name)}_{figure}": value for name in self.verdicts
                for figure, value in self._main(name).items()}

    def headline(self) -> str:
        """Returns accuracies in percent, marked if identities leak."""
        texts = []
        for name in self.verdicts:
            accuracy, at_half, area = self._main(name).values()
            texts.append(f"{self._marked(name)} accuracy {accuracy:.2%} (at 0.5: {at_half:.2%}), "
                         f"ROC AUC {area:.4f}")
        return "; ".join(texts)

    def as_dict(self) -> dict[str, Any]:
        """Returns everything, ready for JSON."""
        return {"leaking": self.leaking,
                **{name: {**verdicts.figures(self.calibrated),
                          "losses": self.losses[name]}
                   for name, verdicts in self.verdicts.items()}}

    def thresholds(self) -> dict[str, Threshold]:
        """Returns the thresholds of the validation pairs."""
        return self.calibrated

    def _main(self, name):
        """Returns accuracies and area under the ROC curve."""
        verdicts = self.verdicts[name]
        threshold = self.calibrated[PROBABILITY].threshold
        return {"accuracy": verdicts.accuracy(PROBABILITY, threshold),
                "accuracy_at_0.5": verdicts.accuracy(PROBABILITY, EVEN),
                "roc_auc": verdicts.curves[PROBABILITY].area}

    def _marked(self, name):
        return f"LEAKING {name}" if self.leaking and name == VALIDATION else name


class SiameseEvaluator:
    """Verifies pairs of held-out images and, to show overfitting, pairs of training images.

    Both are drawn once, half of them positive; images are not augmented, and there is no dropout.

    Args:
        model: What `build_siamese` made.
        config: Its whole configuration.
        records: The records, whose training images were divided.
        workers: The processes that share the images.

    Raises:
        UserError: If the records leave no positive or no negative pairs.
    """

    evaluated_on = "validation"

    def __init__(self, model: keras.Model, config: Config, records: Records,
                 workers: Workers = ALONE):
        self._model, self._config = model, config
        self._scorer = SiameseScorer(model, config, workers)
        data = config.data
        # Only images that the pairs need are read.
        table = records["train"].load(memory_limit=0)
        subset = draw_subset(table.index, data.subset)
        self._leaking = data.subset.validation_by == "image"
        kinds = {VALIDATION: (subset.validation, describe_subset(data.subset)),
                 TRAINING: (subset.training, "people trained on")}
        self._pairs = {
            name: draw_pairs(table.take(rows), config.evaluation.verification_pairs,
                             config.evaluation.verification_apart, data.subset.seed,
                             f"{len(rows):,} {name} images ({words})")
            for name, (rows, words) in kinds.items()}

    def try_out(self) -> None:
        """Verifies a few pairs, to fail fast."""
        pairs = self._pairs[VALIDATION]
        some = np.concatenate([np.flatnonzero(pairs.matches == kind)[:_TRIAL_PAIRS]
                               for kind in (True, False)])
        places, at = np.unique([pairs.first[some], pairs.second[some]], return_inverse=True)
        first, second = at.reshape(2, -1)
        self._judge(PairSet([pairs.encoded[place] for place in places],
                            [pairs.names[place] for place in places], first, second,
                            pairs.matches[some], pairs.description), progress=False)

    def evaluate(self, progress: bool = True, max_queries: int | None = None) -> Validated:
        """Verifies all pairs; there are no queries to take fewer of."""
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
