"""What a Siamese network finds of pairs: the probability of one person, and every distance."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfreid.config import Config
from tfreid.evaluation.distances import (
    METRICS,
    Metric,
    paired_distances,
    scaled_cosine_metric,
    weighted_metric,
)
from tfreid.evaluation.thresholds import PROBABILITY
from tfreid.layers.preprocessing import InputSize
from tfreid.records.images import decode_batches
from tfreid.systems.siamese.network import SIDES, siamese_parts
from tfreid.systems.siamese.pair_sets import PairSet


@dataclasses.dataclass(frozen=True)
class SiameseScores:
    """Of n pairs: logits [n] of a match, and name of a metric -> distances [n]; float32."""

    logits: np.ndarray
    distances: dict[str, np.ndarray]

    def apart(self) -> dict[str, np.ndarray]:
        """Returns by name how far apart pairs are.

        For `probability` that is the negated logit, which orders pairs as the probability does but
        does not round to 0 or 1.
        """
        return {PROBABILITY: -self.logits, **self.distances}


class SiameseScorer:
    """Judges pairs with a Siamese network; every image is embedded once.

    Args:
        model: What `build_siamese` made.
        config: Its whole configuration.
    """

    def __init__(self, model: keras.Model, config: Config):
        self._config = config
        parts = siamese_parts(model)
        self._embed = tf.function(
            lambda images: parts.embed(images, training=False)["embedding"],
            input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)])
        self._compare = tf.function(
            lambda first, second: compare_embeddings(
                parts.compare, first, second, config.evaluation.minkowski_p),
            reduce_retracing=True)

    def __call__(self, pairs: PairSet, progress: bool = True) -> SiameseScores:
        """Judges pairs.

        Raises:
            UserError: An image cannot be decoded.
        """
        shape, data = self._config.model, self._config.data
        blocks = []
        with tqdm(total=len(pairs.encoded), desc="images of pairs", unit="image",
                  disable=not progress, leave=False) as bar:
            for _, images in decode_batches(
                    pairs.encoded, pairs.names, InputSize(shape.height, shape.width),
                    data.eval_batch_size, data.workers):
                blocks.append(self._embed(images).numpy())
                bar.update(len(images))
        embeddings = np.concatenate(blocks)
        compared = []
        for start in range(0, len(pairs), data.eval_batch_size):
            some = slice(start, start + data.eval_batch_size)
            compared.append([value.numpy() for value in self._compare(
                embeddings[pairs.first[some]], embeddings[pairs.second[some]]).values()])
        logits, *distances = map(np.concatenate, zip(*compared))
        return SiameseScores(logits, dict(zip(METRICS, distances)))


def compare_embeddings(
    compare: keras.Model, first: tf.Tensor, second: tf.Tensor, minkowski_p: float
) -> dict[str, tf.Tensor]:
    """Computes `logits` of pairs of embeddings [n, d] and their distance by every metric, [n].

    Args:
        compare: The merge network of `SiameseParts`.
        first: Embeddings of one side.
        second: Those of the other.
        minkowski_p: Exponent of the Minkowski distance.
    """
    logits = compare(dict(zip(SIDES, (first, second))), training=False)
    return {"logits": logits, **{metric: paired_distances(first, second, metric, minkowski_p)
                                 for metric in METRICS}}


def probability_metric(model: keras.Model) -> Metric:
    """Returns the distance that ranks by the merge network's probability, the likeliest first.

    The sigmoid rises with the logit w . m(a, b) + c, so -w . m(a, b) ranks alike.

    Args:
        model: What `build_siamese` made.
    """
    compare = siamese_parts(model).compare
    kind = compare.get_layer("merge").kind
    weights = -np.asarray(compare.get_layer("verdict").get_weights()[0])[:, 0]
    if kind == "cosine":
        return scaled_cosine_metric(PROBABILITY, float(weights[0]))
    return weighted_metric(PROBABILITY, weights, squared=kind == "squared")


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Computes 1 / (1 + exp(-logit)) without overflow."""
    return np.exp(-np.logaddexp(0.0, -logits))
