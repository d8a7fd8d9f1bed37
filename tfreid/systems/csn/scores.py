"""SimiScores of a CSN: features once per image, scores per pair."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfreid.config import Config
from tfreid.evaluation.scoring import Features, count, take
from tfreid.layers.preprocessing import InputSize
from tfreid.records import Records
from tfreid.systems.csn.comparison import compare_all, compare_pairs
from tfreid.systems.csn.network import compared_features, csn_parts
from tfreid.systems.csn.settings import ScoreSettings
from tfreid.workers import ALONE, Workers

# Queries and gallery images compared at once: about 200 MB are held meanwhile.
_QUERIES, _GALLERY = 50, 50
_PAIRS = 64


class CsnScorer:
    """Computes SimiScores (Guo and Cheung 2018, Eq. 7).

    Args:
        model: What `build_csn` made.
        config: Its whole configuration.
        records: The records of the images; None if no features are computed.
        workers: The processes that share the pairs of `cross`, not the features, which are large.
    """

    metric = "SimiScore"

    def __init__(self, model: keras.Model, config: Config, records: Records | None,
                 workers: Workers = ALONE):
        self._config, self._records, self._workers = config, records, workers
        self._score = config.csn.score
        self._parts = csn_parts(model)
        self.image_bytes = 4 * sum(
            int(np.prod(value.shape[1:]))
            for value in compared_features(self._parts.extract.output).values())
        self._extract = tf.function(
            self._features,
            input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)],
        )
        self._compare_all = tf.function(self._cross_scores, reduce_retracing=True)
        self._compare_pairs = tf.function(self._pair_scores, reduce_retracing=True)

    def features(self, split: str, indices: np.ndarray | None = None,
                 progress: bool = True) -> Features:
        """Returns the features that are compared, about 0.44 MB an image."""
        blocks = list(self.feature_blocks(split, indices, progress))
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    def feature_blocks(self, split: str, indices: np.ndarray | None = None,
                       progress: bool = True) -> Iterator[Features]:
        """Yields `features` of `data.eval_batch_size` images at a time."""
        shape, data, images = self._config.model, self._config.data, self._records[split]
        total = len(images if indices is None else indices)
        with tqdm(total=total, desc=f"{split} features", unit="image", disable=not progress,
                  leave=False) as bar:
            for places, batch in images.batches(InputSize(shape.height, shape.width),
                                                data.eval_batch_size, data.workers, indices):
                yield {name: x.numpy() for name, x in self._extract(batch).items()}
                bar.update(len(places))

    def cross(self, queries: Features, gallery: Features, progress: bool = True) -> np.ndarray:
        """Returns the scores [q, g] of q queries and g gallery images."""
        scores = np.empty((count(queries), count(gallery)), np.float32)
        with tqdm(total=scores.size, desc="pairs", unit="pair", unit_scale=True,
                  disable=not progress, leave=False) as bar:
            for rows, found in self._workers.rounds(self._own_rows(queries, gallery, bar)):
                scores[rows] = found
        return scores

    def _own_rows(self, queries, gallery, bar):
        """Yields places of queries and their scores [n, g], of this process's share of them."""
        share = self._workers.share(count(queries), _QUERIES)
        places = np.arange(count(queries)) if share is None else share
        for some in _blocks(len(places), _QUERIES):
            block = take(queries, places[some])
            found = [self._compare_all(block, take(gallery, columns)).numpy()
                     for columns in _blocks(count(gallery), _GALLERY)]
            bar.update(len(places[some]) * count(gallery))
            yield places[some], np.concatenate(found, axis=1)

    def pairs(self, first: Features, second: Features, rows: np.ndarray,
              columns: np.ndarray) -> np.ndarray:
        """Returns the scores [n] of the first's images at `rows` with the second's at `columns`."""
        return np.concatenate([
            self._compare_pairs(take(first, rows[some]), take(second, columns[some])).numpy()
            for some in _blocks(len(rows), _PAIRS)
        ])

    def _features(self, images):
        return compared_features(self._parts.extract(images, training=False))

    def _cross_scores(self, queries, gallery):
        probabilities, distances = compare_all(
            self._parts, self._config.csn.levels, queries, gallery, self._score.both_orders)
        return simi_score(probabilities, distances, self._score)

    def _pair_scores(self, first, second):
        compared = compare_pairs(self._parts, first, second, self._score.both_orders)
        return simi_score(compared["probability"], compared.get("distance"), self._score)


def simi_score(probabilities: tf.Tensor, distances: tf.Tensor | None,
               config: ScoreSettings) -> tf.Tensor:
    """Computes SimiScore = p + lambda / (d + epsilon) (Guo and Cheung 2018, Eq. 7).

    Args:
        probabilities: Probabilities of a match, any shape.
        distances: Distances of the descriptors, the same shape; None, for a network without them,
            returns the probabilities.
        config: lambda and epsilon.

    Returns:
        Scores of the same shape; higher is more alike.
    """
    if distances is None:
        return probabilities
    return probabilities + config.distance_weight / (distances + config.epsilon)


def _blocks(count, size):
    return (slice(start, start + size) for start in range(0, count, size))
