"""Evaluation by scores of pairs of images: single-shot trials."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import keras
import numpy as np
from tqdm import tqdm

from tfrecords.errors import UserError
from tfrecords.manifest import read_manifest
from tfreid.config import Config
from tfreid.data.records import read_index, split_names
from tfreid.evaluation.distances import find_metric, pairwise_distances
from tfreid.evaluation.evaluator import Evaluation
from tfreid.evaluation.features import FeatureExtractor
from tfreid.evaluation.ranking import RankingResult
from tfreid.evaluation.single_shot import (
    SingleShotResult,
    Trial,
    draw_trials,
    single_shot_cmc,
    single_shot_result,
)

Features = dict[str, np.ndarray]
_TRIED_IDENTITIES = 4
_SPLITS = (("query", "gallery"), ("val_query", "val_gallery"))


class Scorer(Protocol):
    """Scores pairs of images of `data.records`; a higher score is more alike.

    Attributes:
        metric: What the scores are, for reports.
    """

    metric: str

    def features(self, split: str, indices: np.ndarray, progress: bool = True) -> Features:
        """Returns the features of images at increasing positions of a split."""

    def cross(self, queries: Features, gallery: Features, progress: bool = True) -> np.ndarray:
        """Scores every query [q] with every gallery image [g]: [q, g]."""


class EmbeddingScorer:
    """Scores of an embedding model: distances of its feature, negated.

    Args:
        model: Embedding model.
        config: Its whole configuration.
    """

    def __init__(self, model: keras.Model, config: Config):
        self.metric = config.evaluation.metric
        find_metric(self.metric, config.evaluation.minkowski_p)  # before hours of work
        self._evaluation = config.evaluation
        self._extractor = FeatureExtractor(model, config)

    def features(self, split: str, indices: np.ndarray, progress: bool = True) -> Features:
        """Returns `feature` [n, d]."""
        return {"feature": self._extractor(split, indices, progress)}

    def cross(self, queries: Features, gallery: Features, progress: bool = True) -> np.ndarray:
        """Returns the negated distances [q, g]."""
        return -pairwise_distances(queries["feature"], gallery["feature"],
                                   self._evaluation.metric, p=self._evaluation.minkowski_p)


@dataclasses.dataclass(frozen=True)
class Scored(Evaluation):
    """One evaluation by scores of pairs of images; `result` has its figures."""

    result: SingleShotResult | RankingResult

    @property
    def main_figure(self) -> float:
        """Rank-1, or mAP if it has one."""
        return self.progress().get("mean_ap", self.result.rank(1))

    def scalars(self) -> dict[str, float]:
        """Returns TensorBoard's points by tag."""
        names = {"rank_1": "rank_1", "rank_5": "rank_5", "mean_ap": "mAP"}
        figures = self.result.as_dict()
        return {f"evaluation/{tag}": figures[name] for name, tag in names.items()
                if name in figures}

    def progress(self) -> dict[str, float]:
        """Returns the figures that a run keeps of each evaluation."""
        figures = self.result.as_dict()
        return {name: figures[name] for name in ("rank_1", "rank_5", "mean_ap") if name in figures}

    def headline(self) -> str:
        """Returns the figures in percent."""
        words = {"rank_1": "rank-1", "rank_5": "rank-5", "mean_ap": "mAP"}
        return ", ".join(f"{words[name]} {x:.2%}" for name, x in self.progress().items())

    def as_dict(self) -> dict[str, Any]:
        """Returns the figures, ready for JSON."""
        return self.result.as_dict()


def scored_splits(config: Config, training: bool) -> tuple[str, str] | None:
    """Returns the splits of the queries and of the gallery that an evaluation by scores uses.

    Args:
        config: Its whole configuration.
        training: Whether a model is evaluated while it is trained: on the validation identities,
            if the records hold any. None where the records hold no images to test on.

    Raises:
        UserError: The records are missing or broken, or settings contradict each other.
    """
    for name in ("multi_query", "expansion", "reranking"):
        if getattr(config.evaluation, name):
            raise UserError(f"evaluation.{name} needs a gallery that a feature ranks; set it to "
                            "false for scores of pairs.")
    if read_manifest(config.data.records).query_galleries:
        raise UserError(f"{config.data.records}: its queries have galleries of their own, which "
                        "scores of pairs do not know; choose other records.")
    if config.training.evaluate_queries and config.evaluation.protocol == "single_shot":
        raise UserError("training.evaluate_queries is for evaluation.protocol=full; set "
                        "evaluation.single_shot.identities instead.")
    names = split_names(config.data.records, config.data.fold)
    for pair in _SPLITS[:: -1 if training else 1]:
        if {*pair} <= {*names}:
            return pair
    if training:
        return None
    raise UserError(f"{config.data.records} holds no query and gallery split to test on.")


class SingleShotEvaluator:
    """Averages the CMC of trials with one query and one gallery image per identity.

    Args:
        scorer: Scores the pairs.
        config: The whole configuration.
        splits: Names of the splits that queries and gallery images are drawn from.
        training: Whether the trials are the fewer ones of an evaluation while training.

    Raises:
        UserError: The records are missing or broken, or hold too few identities.
    """

    def __init__(self, scorer: Scorer, config: Config, splits: tuple[str, str],
                 training: bool = False):
        self._scorer = scorer
        self._max_rank = config.evaluation.max_rank
        self._splits = splits
        query, gallery = (
            read_index(config.data.records, split, config.data.verify, config.data.fold)
            for split in self._splits
        )
        settings = config.evaluation.single_shot
        trials = settings.training_trials if training else settings.trials
        self._trials = draw_trials(query.ids, query.cameras, gallery.ids, gallery.cameras, trials,
                                   settings.identities, settings.seed)

    def evaluate(self, progress: bool = True, max_queries: int | None = None) -> Scored:
        """Runs the trials, with all their identities or the first `max_queries`.

        Raises:
            UserError: An image cannot be decoded, or a score is not a number.
        """
        trials = tqdm(self._trials, desc="single-shot trials", disable=not progress, leave=False)
        ranks = [self._rank(trial, max_queries, progress) for trial in trials]
        return Scored(single_shot_result(ranks, self._scorer.metric, self._max_rank))

    def try_out(self) -> None:
        """Runs a tiny trial, so that a broken one fails before hours of training.

        Raises:
            UserError: As `evaluate`.
        """
        self._rank(self._trials[0], _TRIED_IDENTITIES, progress=False)

    def _rank(self, trial: Trial, identities: int | None, progress: bool) -> np.ndarray:
        queries, gallery = (
            self._features(split, positions[:identities], progress)
            for split, positions in zip(self._splits, trial)
        )
        return single_shot_cmc(self._scorer.cross(queries, gallery, progress))

    def _features(self, split, positions, progress):
        increasing, places = np.unique(positions, return_inverse=True)
        return take(self._scorer.features(split, increasing, progress), places)


def take(features: Features, rows) -> Features:
    """Takes rows of every array."""
    return {name: values[rows] for name, values in features.items()}


def count(features: Features) -> int:
    """Returns how many images features are of."""
    return len(next(iter(features.values())))
