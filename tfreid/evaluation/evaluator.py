"""Evaluations: what all of them offer, and the one that ranks a gallery by features."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np

from tfrecords.errors import UserError
from tfreid.config import Config
from tfreid.evaluation.distances import Metric, find_metric
from tfreid.evaluation.features import FeatureExtractor, FeatureSource
from tfreid.evaluation.pooling import (
    TRACKLETS,
    RankedSplit,
    check_multi_query,
    group_tracklets,
    pool_blocks,
    single_images,
)
from tfreid.evaluation.protocol import matches
from tfreid.evaluation.ranking import RankingResult, evaluate_ranking
from tfreid.evaluation.reranking import check_rerankable
from tfreid.evaluation.single_shot import SingleShotResult
from tfreid.evaluation.thresholds import Threshold
from tfreid.records import Records, Split, SplitIndex
from tfreid.workers import ALONE, Workers

# The check before training: enough images to rank, few enough to take seconds.
_TRIAL_QUERIES = 4
_TRIAL_GALLERY = 16


class Projection(NamedTuple):
    """Features [n, d] of the first n gallery images, and the gallery."""

    features: np.ndarray
    split: Split


class Evaluation:
    """The outcome of one evaluation.

    Attributes:
        main_figure: The figure that is highest for the best weights.
        names_images: Whether texts and tags say which images their figures are of.
    """

    main_figure: float
    names_images = False

    def scalars(self) -> dict[str, float]:
        """Returns TensorBoard's points by tag."""
        raise NotImplementedError

    def progress(self) -> dict[str, float]:
        """Returns the figures that `progress.json` keeps."""
        raise NotImplementedError

    def headline(self) -> str:
        """Returns the main figures as text."""
        raise NotImplementedError

    def table(self) -> str:
        """Returns a table that is printed below the headline; by default none."""
        return ""

    def as_dict(self) -> dict[str, Any]:
        """Returns the content of `results.json`."""
        raise NotImplementedError

    def projection(self) -> Projection | None:
        """Returns gallery features for TensorBoard's projector; by default None."""

    def thresholds(self) -> dict[str, Threshold] | None:
        """Returns the calibrated thresholds by metric; by default None."""


class Evaluator(Protocol):
    """Tests a model, also during its training, with its current weights.

    Attributes:
        evaluated_on: What it tests on: `test` images, or those of `validation`.
    """

    evaluated_on: str

    def try_out(self) -> None:
        """Runs a tiny evaluation, so that errors appear before hours of training."""

    def evaluate(self, progress: bool = True, max_queries: int | None = None) -> Evaluation:
        """Evaluates with all queries, or with `max_queries` of them."""


@dataclasses.dataclass(frozen=True)
class Scored(Evaluation):
    """One evaluation with the figures of `result`."""

    result: RankingResult | SingleShotResult
    _kept = ("rank_1", "rank_5", "mean_ap")
    _plotted = _kept

    @property
    def main_figure(self) -> float:
        """The mAP, or rank-1 if there is none."""
        return self.progress().get("mean_ap", self.result.rank(1))

    def scalars(self) -> dict[str, float]:
        """See `Evaluation`."""
        tags = {"mean_ap": "mAP", "mean_inp": "mINP"}
        return {f"evaluation/{tags.get(name, name)}": value
                for name, value in self._figures(self._plotted).items()}

    def progress(self) -> dict[str, float]:
        """See `Evaluation`."""
        return self._figures(self._kept)

    def headline(self) -> str:
        """Returns the figures in percent."""
        titles = {"rank_1": "rank-1", "rank_5": "rank-5", "mean_ap": "mAP"}
        return ", ".join(f"{titles[name]} {x:.2%}" for name, x in self.progress().items())

    def as_dict(self) -> dict[str, Any]:
        """See `Evaluation`."""
        return self.result.as_dict()

    def _figures(self, names):
        figures = self.result.as_dict()
        return {name: figures[name] for name in names if name in figures}


@dataclasses.dataclass(frozen=True)
class Ranked(Scored):
    """One evaluation by features, with the features and indices behind its figures.

    A row of the features is an image or a tracklet, as `result.unit` says; the index describes a
    tracklet by its first image.

    Attributes:
        result: The figures.
        query: Index of the queries, [q].
        gallery: Index of the gallery, [g].
        query_features: Float array [q, d].
        gallery_features: Float array [g, d].
        query_images: Position of each row's (first) image in its split, [q].
        gallery_images: The same for the gallery, [g].
        galleries: The gallery rows that each query ranks, or None for all of them.
        variants: Key of `VARIANTS` -> figures of that way to rank.
        metric: The distance that ranked, or None for `evaluation.metric`.
        records: The records of the images.
    """

    query: SplitIndex
    gallery: SplitIndex
    query_features: np.ndarray
    gallery_features: np.ndarray
    query_images: np.ndarray
    gallery_images: np.ndarray
    galleries: Sequence[np.ndarray] | None = None
    variants: dict[str, RankingResult] = dataclasses.field(default_factory=dict)
    metric: str | Metric | None = None
    records: Records | None = None
    _kept = ("rank_1", "mean_ap")
    _plotted = ("rank_1", "mean_ap", "mean_inp")

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Returns the six arrays that `evaluate_ranking` and `top_matches` begin with."""
        return (
            self.query_features, self.query.ids, self.query.cameras,
            self.gallery_features, self.gallery.ids, self.gallery.cameras,
        )

    def projection(self) -> Projection | None:
        """Returns the gallery's features, unless they describe tracklets."""
        if self.result.unit == TRACKLETS:
            return None
        return Projection(self.gallery_features, self.records["gallery"])


def trial_matches(query: SplitIndex, gallery: SplitIndex, directory: Path,
                  galleries: Sequence[np.ndarray] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Returns positions of a few queries, and of a match of each in the gallery (or `galleries`).

    Raises:
        UserError: If no query has a match by another camera.
    """
    queries, found = [], []
    for position, identity in enumerate(query.ids):
        ranked = np.arange(len(gallery)) if galleries is None else galleries[position]
        usable = ranked[matches(identity, query.cameras[position], gallery.ids[ranked],
                                gallery.cameras[ranked])]
        if usable.size:
            queries.append(position)
            found.append(usable[0])
        if len(queries) == _TRIAL_QUERIES:
            break
    if not queries:
        raise UserError(f"{directory}: no query has a gallery image of its identity by another "
                        "camera; check the identities and cameras of the query split, or hold out "
                        "more if data.subset.validation does.")
    return np.array(queries), np.array(found)


class GalleryEvaluator:
    """Ranks the gallery of records by a model's features.

    If the records have tracklets, these are ranked instead of images, unless
    `evaluation.tracklet_pooling` is `none`. Queries with galleries of their own rank only those.

    Args:
        model: Embedding model, or what has the features already.
        config: Its whole configuration.
        records: The records.
        metric: The distance. Defaults to `evaluation.metric`.
        workers: The processes that share the images.

    Attributes:
        extract: Where the features come from.
        evaluated_on: See `Evaluator`.

    Raises:
        UserError: If the records are broken, lack a query or gallery split, or do not fit the
            settings.
    """

    def __init__(self, model: keras.Model | FeatureSource, config: Config, records: Records,
                 metric: Metric | None = None, workers: Workers = ALONE):
        self._metric = metric or config.evaluation.metric
        # Fail fast, before hours of training.
        find_metric(self._metric, config.evaluation.minkowski_p)
        if config.evaluation.reranking:
            check_rerankable(config.evaluation.metric)
        self._config = config
        self._records, self._directory = records, records.directory
        self.evaluated_on = records.evaluated_on
        if config.evaluation.multi_query:
            check_multi_query(records.splits, self._directory)
        self._query, self._gallery = self._side("query"), self._side("gallery")
        self._galleries = self._read_galleries()
        self.extract = (model if isinstance(model, FeatureSource)
                        else FeatureExtractor(model, config, records, workers))

    def evaluate(self, progress: bool = True, max_queries: int | None = None) -> Ranked:
        """Ranks the whole gallery for all queries, or for `max_queries` spread evenly over them.

        Raises:
            UserError: If an image cannot be decoded, or no query has a match.
        """
        wanted = None
        if max_queries is not None and max_queries < len(self._query):
            wanted = np.linspace(0, len(self._query) - 1, max_queries).astype(int)
        return self._rank(wanted, None, progress)

    def try_out(self) -> None:
        """See `Evaluator`."""
        queries, found = trial_matches(
            self._query.index, self._gallery.index, self._directory, self._galleries)
        others = np.arange(min(_TRIAL_GALLERY, len(self._gallery)))
        self._rank(queries, np.union1d(found, others), progress=False)

    def _side(self, split: str) -> RankedSplit:
        index = self._records[split].index
        if self._config.evaluation.tracklet_pooling == "none":
            return single_images(split, index)
        return group_tracklets(split, index, self._directory)

    def _read_galleries(self) -> list[np.ndarray] | None:
        galleries = self._records.query_galleries
        if galleries is None:
            return None
        for setting in ("expansion", "reranking"):
            if getattr(self._config.evaluation, setting):
                raise UserError(f"evaluation.{setting} needs one gallery for all queries, but "
                                f"every query of {self._directory} has a gallery of its own; set "
                                f"evaluation.{setting}=false.")
        if TRACKLETS in (self._query.unit, self._gallery.unit):
            raise UserError(f"{self._directory} has tracklets, but its queries have galleries of "
                            "images; set evaluation.tracklet_pooling=none to rank the images.")
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
            metric=self._metric, records=self._records,
        )

    def _features(self, side: RankedSplit, wanted: np.ndarray | None, progress: bool) -> np.ndarray:
        """Returns the features of a split's rows, or of the `wanted` ones."""
        if side.unit != TRACKLETS:
            return self.extract(side.name, wanted, progress)
        images, places = side.frames(wanted)
        blocks = self.extract.blocks(side.name, images, progress)
        return pool_blocks(blocks, places, self._metric,
                           self._config.evaluation.tracklet_pooling)

    def _restricted(self, queries, gallery) -> list[np.ndarray] | None:
        """Returns the galleries of some queries, as positions among some gallery rows."""
        if self._galleries is None:
            return None
        chosen = (self._galleries if queries is None
                  else [self._galleries[position] for position in queries])
        if gallery is None:
            return chosen
        return [np.flatnonzero(np.isin(gallery, positions)) for positions in chosen]


def _select(rows, positions: np.ndarray | None):
    """Returns an index or an array at some positions, or unchanged for None."""
    return rows if positions is None else rows.take(positions)
