"""Scores of a Siamese network for pairs, and how well they separate positive and negative pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfrecords.errors import UserError
from tfreid.config import Config
from tfreid.evaluation.distances import (
    METRICS,
    Metric,
    paired_distances,
    scaled_cosine_metric,
    weighted_metric,
)
from tfreid.evaluation.results import ruled_table
from tfreid.evaluation.thresholds import MOST_ACCURATE, PROBABILITY, Threshold
from tfreid.evaluation.verification import VerificationCurve, verification_curve
from tfreid.layers.preprocessing import InputSize
from tfreid.records.images import decode_batches
from tfreid.systems.siamese.network import SIDES, siamese_parts
from tfreid.systems.siamese.pair_sets import PairSet
from tfreid.workers import ALONE, Workers

# The logit of probability 0.5, which decides without a calibrated threshold.
EVEN = 0.0


@dataclasses.dataclass(frozen=True)
class SiameseScores:
    """Scores of n pairs: logits [n] of a match, and metric -> distances [n]; float32."""

    logits: np.ndarray
    distances: dict[str, np.ndarray]

    def apart(self) -> dict[str, np.ndarray]:
        """Returns distances by name; the logits are negated and never round to 0 or 1."""
        return {PROBABILITY: -self.logits, **self.distances}


class SiameseScorer:
    """Scores pairs with a Siamese network; every image is embedded once.

    Args:
        model: What `build_siamese` made.
        config: Its whole configuration.
        workers: The processes that share the images.
    """

    def __init__(self, model: keras.Model, config: Config, workers: Workers = ALONE):
        self._config, self._workers = config, workers
        parts = siamese_parts(model)
        self._embed = tf.function(
            lambda images: parts.embed(images, training=False)["embedding"],
            input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)])
        self._compare = tf.function(
            lambda first, second: compare_embeddings(
                parts.compare, first, second, config.evaluation.minkowski_p),
            reduce_retracing=True)

    def __call__(self, pairs: PairSet, progress: bool = True) -> SiameseScores:
        """Scores pairs.

        Raises:
            UserError: If an image cannot be decoded.
        """
        embeddings = self._embeddings(pairs, progress)
        compared, size = [], self._config.data.eval_batch_size
        for start in range(0, len(pairs), size):
            some = slice(start, start + size)
            compared.append([value.numpy() for value in self._compare(
                embeddings[pairs.first[some]], embeddings[pairs.second[some]]).values()])
        logits, *distances = map(np.concatenate, zip(*compared))
        return SiameseScores(logits, dict(zip(METRICS, distances)))

    def _embeddings(self, pairs, progress):
        embeddings = None
        with tqdm(total=len(pairs.encoded), desc="images of pairs", unit="image",
                  disable=not progress, leave=False) as bar:
            for places, block in self._workers.rounds(self._own_blocks(pairs)):
                if embeddings is None:
                    embeddings = np.empty((len(pairs.encoded), block.shape[1]), np.float32)
                embeddings[places] = block
                bar.update(len(places))
        return embeddings

    def _own_blocks(self, pairs):
        """Yields places and embeddings of this process's share of the images."""
        shape, data = self._config.model, self._config.data
        share = self._workers.share(len(pairs.encoded), data.eval_batch_size)
        places = range(len(pairs.encoded)) if share is None else share
        for some, images in decode_batches(
                [pairs.encoded[place] for place in places],
                [pairs.names[place] for place in places],
                InputSize(shape.height, shape.width), data.eval_batch_size, data.workers):
            yield np.asarray(places)[some], self._embed(images).numpy()


def compare_embeddings(compare: keras.Model, first: tf.Tensor, second: tf.Tensor,
                       minkowski_p: float) -> dict[str, tf.Tensor]:
    """Computes `logits` of pairs of embeddings [n, d] and their distance by every metric, [n].

    Args:
        compare: The merge network of `SiameseParts`.
        first: First embeddings.
        second: Second embeddings.
        minkowski_p: Exponent of the Minkowski distance.
    """
    logits = compare(dict(zip(SIDES, (first, second))), training=False)
    return {"logits": logits, **{metric: paired_distances(first, second, metric, minkowski_p)
                                 for metric in METRICS}}


def probability_metric(model: keras.Model) -> Metric:
    """Returns the distance that ranks by the merge network's probability, the most probable first.

    The sigmoid increases with the logit w . m(a, b) + c, so -w . m(a, b) gives the same ranking.

    Args:
        model: What `build_siamese` made.

    Raises:
        UserError: If the merge network has a hidden layer, and so no fixed weights.
    """
    compare = siamese_parts(model).compare
    if any(layer.name == "verdict_hidden" for layer in compare.layers):
        raise UserError("evaluation.metric=probability cannot rank with siamese.hidden_size; set "
                        "evaluation.metric to euclidean or another distance.")
    kind = compare.get_layer("merge").kind
    weights = -np.asarray(compare.get_layer("verdict").get_weights()[0])[:, 0]
    if kind == "cosine":
        return scaled_cosine_metric(PROBABILITY, float(weights[0]))
    return weighted_metric(PROBABILITY, weights, squared=kind == "squared")


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Computes 1 / (1 + exp(-logit)) without overflow."""
    return np.exp(-np.logaddexp(0.0, -logits))


@dataclasses.dataclass(frozen=True)
class Verdicts:
    """How well each score separates positive from negative pairs.

    Attributes:
        curves: Metric -> distances of both kinds; of `probability` negated logits.
        description: Text that describes the pairs.
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
        """Returns the share of pairs that a threshold of a score decides correctly."""
        return self.curves[name].accuracy(_turned(name, threshold))

    def figures(self, thresholds: Mapping[str, Threshold]) -> dict[str, Any]:
        """Returns the figures of every score, ready for JSON; logits become probabilities.

        Args:
            thresholds: Metric -> threshold at which the accuracy is reported; without that of the
                probability, 0.5 decides.
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
    """Returns a table with one row per score.

    Args:
        figures: Those of `Verdicts.figures`.
        note: Where the thresholds come from.
    """
    heads = ("same person, by", "accuracy", "at threshold", "ROC AUC", "avg precision", "EER")
    rows = []
    for name, found in figures.items():
        if not isinstance(found, Mapping):
            continue
        at = ((f"{found['accuracy']:.2%}", f"{found['threshold']:.4f}") if "accuracy" in found
              else ("-", "-"))
        rows.append((name, *at, f"{found['roc_auc']:.4f}", f"{found['average_precision']:.4f}",
                     f"{found['equal_error_rate']:.2%}"))
    facts = [
        ("positive, negative pairs",
         f"{figures['matching_pairs']:,}, {figures['non_matching_pairs']:,}"),
    ]
    table = ruled_table([[heads], rows, facts])
    return f"{figures['pairs']}\n{table}\nthresholds: {note}"


def logit_threshold(thresholds: Mapping[str, Threshold]) -> float:
    """Returns the smallest logit of a positive decision."""
    return thresholds[PROBABILITY].threshold if PROBABILITY in thresholds else EVEN


def thresholds_note(thresholds: Mapping[str, Threshold]) -> str:
    """Describes where thresholds come from."""
    if PROBABILITY not in thresholds:
        return "none were calibrated for these weights, so a probability of 0.5 decides"
    chosen = thresholds[PROBABILITY]
    return f"{chosen.chosen_by} on {chosen.dataset}"


def _turned(name: str, threshold: float) -> float:
    """Turns a logit into a distance by negating it, and back; distances stay."""
    return -threshold if name == PROBABILITY else threshold
