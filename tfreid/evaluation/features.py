"""Features of whole splits, and the ranking of one record set by another."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfrecords.errors import UserError
from tfreid.data.records import SplitIndex, read_index, split_size, stream_images
from tfreid.evaluation.distances import find_metric
from tfreid.evaluation.ranking import RankingResult, evaluate_distances, evaluate_ranking
from tfreid.evaluation.reranking import check_rerankable, k_reciprocal_rerank
from tfreid.settings import Config, EvaluationConfig

# The check before training: enough images to rank, few enough to take seconds.
_TRIAL_QUERIES = 4
_TRIAL_GALLERY = 16


class Projection(NamedTuple):
    """Features [n, d] of the first n gallery images, and what is known of these images."""

    features: np.ndarray
    index: SplitIndex


@dataclasses.dataclass(frozen=True)
class Ranked:
    """One evaluation: the figures, and the features [n, d] and indices that they came from.

    `reranked` holds the figures after re-ranking, where that was asked for.
    """

    result: RankingResult
    query: SplitIndex
    gallery: SplitIndex
    query_features: np.ndarray
    gallery_features: np.ndarray
    reranked: RankingResult | None = None

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Returns the six arrays that `evaluate_ranking` and `top_matches` begin with."""
        return (
            self.query_features, self.query.ids, self.query.cameras,
            self.gallery_features, self.gallery.ids, self.gallery.cameras,
        )

    @property
    def main_figure(self) -> float:
        """The mAP, which tells better weights from worse."""
        return self.result.mean_ap

    def scalars(self) -> dict[str, float]:
        """Returns TensorBoard's points by tag."""
        return {"evaluation/rank_1": self.result.rank(1), "evaluation/mAP": self.result.mean_ap,
                "evaluation/mINP": self.result.mean_inp}

    def progress(self) -> dict[str, float]:
        """Returns the figures that a run keeps of each evaluation."""
        return {"rank_1": self.result.rank(1), "mean_ap": self.result.mean_ap}

    def headline(self) -> str:
        """Returns rank-1 and mAP in percent."""
        return f"rank-1 {self.result.rank(1):.2%}, mAP {self.result.mean_ap:.2%}"

    def as_dict(self) -> dict[str, Any]:
        """Returns the figures before re-ranking, ready for JSON."""
        return self.result.as_dict()

    def projection(self) -> Projection:
        """Returns the gallery's features for TensorBoard's projector."""
        return Projection(self.gallery_features, self.gallery)


class FeatureExtractor:
    """Computes the ranked feature of a split's images.

    Args:
        model: Embedding model.
        config: Its whole configuration; `data.records` names the folder.
    """

    def __init__(self, model: keras.Model, config: Config):
        self._config = config
        output = config.evaluation.feature
        self._predict = tf.function(
            lambda images: model(images, training=False)[output],
            input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)],
        )

    def __call__(self, split: str, indices: np.ndarray | None = None,
                 progress: bool = True) -> np.ndarray:
        """Returns features [n, d] of all images, or of those at some positions, in record order.

        Raises:
            UserError: The records are missing or broken, or an image cannot be decoded.
        """
        model, data = self._config.model, self._config.data
        total = split_size(data.records, split, data.split)[0] if indices is None else len(indices)
        blocks = []
        with tqdm(total=total, desc=f"{split} features", unit="image", disable=not progress,
                  leave=False) as bar:
            for images in stream_images(data.records, split, model.height, model.width,
                                        data.eval_batch_size, data.workers, indices, data.split):
                blocks.append(self._predict(images).numpy())
                bar.update(len(images))
        return np.concatenate(blocks)


def trial_matches(
    query: SplitIndex, gallery: SplitIndex, directory: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Finds a few queries with a valid match, for a tiny evaluation.

    Returns:
        Positions of the queries, and of one match of each in the gallery.

    Raises:
        UserError: No query has a match by another camera.
    """
    queries, matches = [], []
    for position, identity in enumerate(query.ids):
        usable = np.flatnonzero(
            (gallery.ids == identity)
            & ((gallery.cameras != query.cameras[position]) | (gallery.cameras < 0))
        )
        if usable.size:
            queries.append(position)
            matches.append(usable[0])
        if len(queries) == _TRIAL_QUERIES:
            break
    if not queries:
        raise UserError(
            f"{directory}: no query has an image of the same person in the gallery by another "
            "camera; check the identities and cameras of the query split."
        )
    return np.array(queries), np.array(matches)


class Evaluator:
    """Ranks the gallery of a record set with a model's features.

    Args:
        model: Embedding model.
        config: Its whole configuration; `data.records` names the folder, `evaluation` the rules.

    Raises:
        UserError: The records are missing or broken, or lack a query or gallery split.
    """

    def __init__(self, model: keras.Model, config: Config):
        # Found out here, before hours of training.
        find_metric(config.evaluation.metric, config.evaluation.minkowski_p)
        if config.evaluation.reranking:
            check_rerankable(config.evaluation.metric)
        self._config = config
        self._directory = Path(config.data.records)
        verify, number = config.data.verify, config.data.split
        self._query = read_index(self._directory, "query", verify, number)
        self._gallery = read_index(self._directory, "gallery", verify, number)
        self._extractor = FeatureExtractor(model, config)

    def evaluate(self, progress: bool = True, max_queries: int | None = None) -> Ranked:
        """Ranks the whole gallery for all queries, or for `max_queries` spread evenly over them.

        Raises:
            UserError: An image cannot be decoded, or no query has a match.
        """
        wanted = None
        if max_queries is not None and max_queries < len(self._query):
            wanted = np.linspace(0, len(self._query) - 1, max_queries).astype(int)
        return self._rank(wanted, None, progress)

    def try_out(self) -> None:
        """Runs a tiny evaluation, so that a broken one fails before hours of training.

        Raises:
            UserError: As `evaluate`.
        """
        queries, matches = trial_matches(self._query, self._gallery, self._directory)
        others = np.arange(min(_TRIAL_GALLERY, len(self._gallery)))
        self._rank(queries, np.union1d(matches, others), progress=False)

    def features(self, split: str, indices: np.ndarray | None = None,
                 progress: bool = True) -> np.ndarray:
        """Computes features [n, d] of a split's images, or of some, in record order.

        Raises:
            UserError: An image cannot be decoded.
        """
        return self._extractor(split, indices, progress)

    def _rank(self, queries, gallery, progress):
        query_index, gallery_index = _select(self._query, queries), _select(self._gallery, gallery)
        query_features = self.features("query", queries, progress)
        gallery_features = self.features("gallery", gallery, progress)
        evaluation = self._config.evaluation
        result = evaluate_ranking(
            query_features, query_index.ids, query_index.cameras,
            gallery_features, gallery_index.ids, gallery_index.cameras,
            metric=evaluation.metric, max_rank=evaluation.max_rank, progress=progress,
            p=evaluation.minkowski_p,
        )
        return Ranked(result, query_index, gallery_index, query_features, gallery_features)


def reranked_result(
    ranked: Ranked, config: EvaluationConfig, progress: bool = True
) -> RankingResult:
    """Scores an evaluation's features again after k-reciprocal re-ranking.

    Raises:
        UserError: The metric cannot be re-ranked.
    """
    kept = np.flatnonzero(ranked.gallery.ids >= 0)  # junk would be neighbours too
    distances = k_reciprocal_rerank(
        ranked.query_features, ranked.gallery_features[kept], config.reranking_k1,
        config.reranking_k2, config.reranking_lambda, config.metric, progress,
    )
    return evaluate_distances(
        distances, ranked.query.ids, ranked.query.cameras, ranked.gallery.ids[kept],
        ranked.gallery.cameras[kept], f"{config.metric}, re-ranked", config.max_rank,
    )


def _select(index: SplitIndex, positions: np.ndarray | None) -> SplitIndex:
    if positions is None:
        return index
    columns = dataclasses.asdict(index)
    return SplitIndex(**{name: column[positions] for name, column in columns.items()})
