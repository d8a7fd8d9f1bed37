"""Evaluation by scores of pairs of images: single-shot trials."""

from __future__ import annotations

from typing import Protocol

import keras
import numpy as np
from tqdm import tqdm

from tfrecords.errors import UserError
from tfreid.config import Config
from tfreid.evaluation.distances import find_metric, pairwise_distances
from tfreid.evaluation.evaluator import Scored
from tfreid.evaluation.features import FeatureExtractor
from tfreid.evaluation.single_shot import (
    Trial,
    draw_trials,
    single_shot_cmc,
    single_shot_result,
)
from tfreid.records import Records
from tfreid.workers import ALONE, Workers

Features = dict[str, np.ndarray]
_TRIED_IDENTITIES = 4
# Size up to which the features of all trials are in memory together; else trial by trial.
_MOST_BYTES = 2e9
_SPLITS = ("query", "gallery")


class Scorer(Protocol):
    """Scores pairs of images of records; higher is more alike.

    Attributes:
        metric: Name of the scores, for reports.
        image_bytes: Size of one image's features.
    """

    metric: str
    image_bytes: int

    def features(self, split: str, indices: np.ndarray, progress: bool = True) -> Features:
        """Returns the features of a split's images at `indices`, in their order."""

    def cross(self, queries: Features, gallery: Features, progress: bool = True) -> np.ndarray:
        """Returns the scores [q, g] of all queries with all gallery images."""


class EmbeddingScorer:
    """Scores of an embedding model: the negated distances of its features; see `Scorer`."""

    def __init__(self, model: keras.Model, config: Config, records: Records,
                 workers: Workers = ALONE):
        self.metric = config.evaluation.metric
        find_metric(self.metric, config.evaluation.minkowski_p)  # fail fast
        self._evaluation = config.evaluation
        self._extractor = FeatureExtractor(model, config, records, workers)
        self._model = model

    @property
    def image_bytes(self) -> int:
        """Size of one image's feature."""
        return 4 * self._model.output[self._evaluation.feature].shape[-1]

    def features(self, split: str, indices: np.ndarray, progress: bool = True) -> Features:
        """Returns `feature` [n, d]."""
        return {"feature": self._extractor(split, indices, progress)}

    def cross(self, queries: Features, gallery: Features, progress: bool = True) -> np.ndarray:
        """Returns the negated distances [q, g]."""
        return -pairwise_distances(queries["feature"], gallery["feature"],
                                   self._evaluation.metric, p=self._evaluation.minkowski_p)


def scored_splits(config: Config, records: Records, training: bool) -> tuple[str, str] | None:
    """Returns the query and the gallery split that an evaluation by scores uses.

    Args:
        config: The whole configuration.
        records: The records.
        training: Whether this is an evaluation during training, which returns None if there are
            no images to test on.

    Raises:
        UserError: If the records are missing or broken, or settings contradict each other.
    """
    for name in ("multi_query", "expansion", "reranking"):
        if getattr(config.evaluation, name):
            raise UserError(f"evaluation.{name} needs features, but this evaluation scores pairs; "
                            "set it to false.")
    if records.query_galleries is not None:
        raise UserError(f"{records.directory}: its queries have galleries of their own, which an "
                        "evaluation by scores of pairs does not support; choose other records.")
    if config.training.evaluate_queries and config.evaluation.protocol == "single_shot":
        raise UserError("training.evaluate_queries is for evaluation.protocol=full; set "
                        "evaluation.single_shot.identities instead.")
    if {*_SPLITS} <= {*records.splits}:
        return _SPLITS
    if training:
        return None
    raise UserError(f"{records.directory} has no query and gallery split to test on.")


class SingleShotEvaluator:
    """Averages the CMC of trials with one query and one gallery image per identity.

    Args:
        scorer: Scores the pairs.
        config: The whole configuration.
        records: The records.
        splits: The query and the gallery split.
        training: Whether to run only `training_trials`, for an evaluation during training.

    Attributes:
        evaluated_on: See `Evaluator`.

    Raises:
        UserError: If the records are missing or broken, or have too few identities.
    """

    def __init__(self, scorer: Scorer, config: Config, records: Records, splits: tuple[str, str],
                 training: bool = False):
        self._scorer = scorer
        self._max_rank = config.evaluation.max_rank
        self._splits, self.evaluated_on = splits, records.evaluated_on
        query, gallery = (records[split].index for split in splits)
        settings = config.evaluation.single_shot
        trials = settings.training_trials if training else settings.trials
        # The number is that of test identities, of whom there may be more.
        identities = settings.identities if self.evaluated_on == "test" else None
        self._trials = draw_trials(query.ids, query.cameras, gallery.ids, gallery.cameras, trials,
                                   identities, settings.seed)

    def evaluate(self, progress: bool = True, max_queries: int | None = None) -> Scored:
        """Runs the trials, with all their identities or the first `max_queries`.

        Raises:
            UserError: If an image cannot be decoded, or a score is NaN.
        """
        trials = [_first(trial, max_queries) for trial in self._trials]
        together = [trials] if self._fit(trials) else [[trial] for trial in trials]
        ranks = [rank for some in together for rank in self._rank(some, progress)]
        return Scored(single_shot_result(ranks, self._scorer.metric, self._max_rank))

    def try_out(self) -> None:
        """See `Evaluator`."""
        self._rank([_first(self._trials[0], _TRIED_IDENTITIES)], progress=False)

    def _fit(self, trials: list[Trial]) -> bool:
        """Returns whether the features of all trials' images may be in memory together."""
        images = sum(len(np.unique(np.concatenate(side))) for side in zip(*trials))
        return images * self._scorer.image_bytes <= _MOST_BYTES

    def _rank(self, trials: list[Trial], progress: bool) -> list[np.ndarray]:
        """Embeds each image of some trials once, and ranks the gallery of each trial."""
        known = []
        for split, sides in zip(self._splits, zip(*trials)):
            positions = np.unique(np.concatenate(sides))
            known.append((positions, self._scorer.features(split, positions, progress)))
        ranks = []
        for trial in tqdm(trials, desc="single-shot trials", disable=not progress, leave=False):
            queries, gallery = (take(features, np.searchsorted(positions, side))
                                for (positions, features), side in zip(known, trial))
            ranks.append(single_shot_cmc(self._scorer.cross(queries, gallery, progress)))
        return ranks


def _first(trial: Trial, identities: int | None) -> Trial:
    return Trial(*(side[:identities] for side in trial))


def take(features: Features, rows) -> Features:
    """Takes rows of every array."""
    return {name: values[rows] for name, values in features.items()}


def count(features: Features) -> int:
    """Returns the number of images."""
    return len(next(iter(features.values())))
