"""Features of whole splits, and the ranking of a record set's gallery by them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfrecords.errors import UserError
from tfrecords.manifest import read_manifest
from tfrecords.query_galleries import read_query_galleries
from tfreid.config import Config
from tfreid.data.records import SplitIndex, read_index, split_names, split_size, stream_sized
from tfreid.evaluation.distances import Metric, find_metric
from tfreid.evaluation.evaluator import Evaluation, Projection
from tfreid.evaluation.multi_query import check_multi_query
from tfreid.evaluation.pooling import pool_blocks
from tfreid.evaluation.ranking import RankingResult, evaluate_ranking
from tfreid.evaluation.reranking import check_rerankable
from tfreid.evaluation.tracklets import (
    TRACKLETS,
    RankedSplit,
    group_tracklets,
    single_images,
)
from tfreid.models.embedding import input_size

# The check before training: enough images to rank, few enough to take seconds.
_TRIAL_QUERIES = 4
_TRIAL_GALLERY = 16


@dataclasses.dataclass(frozen=True)
class Ranked(Evaluation):
    """One evaluation: the figures, and the features [n, d] and indices that they came from.

    A row of the features is an image or a tracklet, as `result.unit` says, and an index describes
    a tracklet by its first image. `query_images` and `gallery_images` [n] are the positions in
    their splits of each row's (first) image. `galleries` has the rows that each query ranks, None
    where that is all of them. `variants` holds the figures of other ways to rank, by the keys of
    `VARIANTS`, where they were asked for. `metric` is the distance that ranked; None stands for
    `evaluation.metric`.
    """

    result: RankingResult
    query: SplitIndex
    gallery: SplitIndex
    query_features: np.ndarray
    gallery_features: np.ndarray
    query_images: np.ndarray
    gallery_images: np.ndarray
    galleries: Sequence[np.ndarray] | None = None
    variants: dict[str, RankingResult] = dataclasses.field(default_factory=dict)
    metric: str | Metric | None = None

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
        """Returns the plain figures, ready for JSON."""
        return self.result.as_dict()

    def projection(self) -> Projection | None:
        """Returns the gallery's features for TensorBoard's projector, where they are of images."""
        if self.result.unit == TRACKLETS:
            return None
        return Projection(self.gallery_features, self.gallery)


class FeatureExtractor:
    """Computes the ranked feature of a split's images.

    Args:
        model: Embedding model.
        config: Its whole configuration; `data.records` names the folder.
    """

    def __init__(self, model: keras.Model, config: Config):
        self._config = config
        self._size = input_size(config.model)
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
        count = self._count(split, indices)
        features = None
        for places, block in self.blocks(split, indices, progress):
            if features is None:
                features = np.empty((count, block.shape[1]), np.float32)
            features[places] = block
        return features

    def blocks(self, split: str, indices: np.ndarray | None = None,
               progress: bool = True) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields places [n] and features [n, d] of `data.eval_batch_size` images at a time.

        Places count in `indices`, or in the split where that is None. Each comes once, in order
        where all images have one size.

        Raises:
            UserError: As the call of the object.
        """
        data = self._config.data
        with tqdm(total=self._count(split, indices), desc=f"{split} features", unit="image",
                  disable=not progress, leave=False) as bar:
            for places, images in stream_sized(
                    data.records, split, self._size, data.eval_batch_size, data.workers, indices,
                    data.fold):
                yield places, self._predict(images).numpy()
                bar.update(len(images))

    def _count(self, split, indices):
        data = self._config.data
        return split_size(data.records, split, data.fold)[0] if indices is None else len(indices)


def trial_matches(
    query: SplitIndex,
    gallery: SplitIndex,
    directory: Path,
    galleries: Sequence[np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds a few queries with a valid match, for a tiny evaluation.

    Args:
        query: Of the queries.
        gallery: Of the gallery.
        directory: The records, for messages.
        galleries: The positions that each query ranks; None for the whole gallery.

    Returns:
        Positions of the queries, and of one match of each in the gallery.

    Raises:
        UserError: No query has a match by another camera.
    """
    queries, matches = [], []
    for position, identity in enumerate(query.ids):
        ranked = np.arange(len(gallery)) if galleries is None else galleries[position]
        cameras = gallery.cameras[ranked]
        usable = ranked[
            (gallery.ids[ranked] == identity)
            & ((cameras != query.cameras[position]) | (cameras < 0))
        ]
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


class GalleryEvaluator:
    """Ranks the gallery of a record set with a model's features.

    Where the records have tracklets, these are what is ranked, unless `evaluation.tracklet_pooling`
    is `none`; where their queries have galleries of their own, each query ranks its own.

    Args:
        model: Embedding model.
        config: Its whole configuration; `data.records` names the folder, `evaluation` the rules.
        metric: The distance, where `evaluation.metric` does not name it.

    Attributes:
        extract: The `FeatureExtractor` of that model and those records.

    Raises:
        UserError: The records are missing or broken, lack a query or gallery split, or do not go
            with the settings.
    """

    def __init__(self, model: keras.Model, config: Config, metric: Metric | None = None):
        self._metric = metric or config.evaluation.metric
        # Mistakes are found out here, before hours of training.
        find_metric(self._metric, config.evaluation.minkowski_p)
        if config.evaluation.reranking:
            check_rerankable(config.evaluation.metric)
        self._config = config
        self._directory = Path(config.data.records)
        if config.evaluation.multi_query:
            check_multi_query(split_names(self._directory, config.data.fold), self._directory)
        self._query, self._gallery = self._side("query"), self._side("gallery")
        self._galleries = self._read_galleries()
        self.extract = FeatureExtractor(model, config)

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
        queries, matches = trial_matches(
            self._query.index, self._gallery.index, self._directory, self._galleries)
        others = np.arange(min(_TRIAL_GALLERY, len(self._gallery)))
        self._rank(queries, np.union1d(matches, others), progress=False)

    def _side(self, split: str) -> RankedSplit:
        data = self._config.data
        index = read_index(self._directory, split, data.verify, data.fold)
        if self._config.evaluation.tracklet_pooling == "none":
            return single_images(split, index)
        return group_tracklets(split, index, self._directory)

    def _read_galleries(self) -> list[np.ndarray] | None:
        galleries = read_query_galleries(self._directory, read_manifest(self._directory))
        if galleries is None:
            return None
        for setting in ("expansion", "reranking"):
            if getattr(self._config.evaluation, setting):
                raise UserError(
                    f"evaluation.{setting} works with the neighbours of one gallery, and every "
                    f"query of {self._directory} has a gallery of its own; set "
                    f"evaluation.{setting}=false."
                )
        if TRACKLETS in (self._query.unit, self._gallery.unit):
            raise UserError(
                f"{self._directory} has a gallery of images for every query, and tracklets; set "
                "evaluation.tracklet_pooling=none to rank the images."
            )
        return galleries

    def _rank(self, queries, gallery, progress):
        evaluation = self._config.evaluation
        query_index, gallery_index = (_select(side.index, rows) for side, rows in (
            (self._query, queries), (self._gallery, gallery)))
        query_features = self._features(self._query, queries, progress)
        gallery_features = self._features(self._gallery, gallery, progress)
        galleries = self._restricted(queries, gallery)
        result = evaluate_ranking(
            query_features, query_index.ids, query_index.cameras,
            gallery_features, gallery_index.ids, gallery_index.cameras,
            metric=self._metric, max_rank=evaluation.max_rank, progress=progress,
            p=evaluation.minkowski_p, galleries=galleries, unit=self._gallery.unit,
        )
        return Ranked(
            result, query_index, gallery_index, query_features, gallery_features,
            _select(self._query.first, queries), _select(self._gallery.first, gallery), galleries,
            metric=self._metric,
        )

    def _features(self, side: RankedSplit, wanted: np.ndarray | None, progress: bool) -> np.ndarray:
        """Returns the features of a split's rows, or of the wanted ones."""
        if side.unit != TRACKLETS:
            return self.extract(side.name, wanted, progress)
        images, places = side.frames(wanted)
        blocks = self.extract.blocks(side.name, images, progress)
        return pool_blocks(blocks, places, self._metric,
                           self._config.evaluation.tracklet_pooling)

    def _restricted(self, queries, gallery) -> list[np.ndarray] | None:
        """Returns the galleries of some queries, as places among some gallery rows."""
        if self._galleries is None:
            return None
        chosen = (self._galleries if queries is None
                  else [self._galleries[position] for position in queries])
        if gallery is None:
            return chosen
        return [np.flatnonzero(np.isin(gallery, positions)) for positions in chosen]


def _select(rows, positions: np.ndarray | None):
    """Returns an index or an array at some positions; None stands for all."""
    if positions is None:
        return rows
    return rows.take(positions)
