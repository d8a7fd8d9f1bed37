"""Evaluation by scores of pairs of images: single-shot trials."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import keras
import numpy as np
from tqdm import tqdm

from tfrecords.errors import UserError
from tfreid.config import Config
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
from tfreid.records import Records

Features = dict[str, np.ndarray]
_TRIED_IDENTITIES = 4
# Features of all single-shot trials that are in memory together; of more, each trial has its own.
_MOST_BYTES = 2e9
_SPLITS = (("query", "gallery"), ("val_query", "val_gallery"))


class Scorer(Protocol):
    """Scores pairs of images of records; a higher score is more alike.

    Attributes:
        metric: What the scores are, for reports.
        image_bytes: Size of one image's features.
    """

    metric: str
    image_bytes: int

    def features(self, split: str, indices: np.ndarray, progress: bool = True) -> Features:
        """Returns the features of images at some positions of a split, in their order."""

    def cross(self, queries: Features, gallery: Features, progress: bool = True) -> np.ndarray:
        """Scores every query [q] with every gallery image [g]: [q, g]."""


class EmbeddingScorer:
    """Scores of an embedding model: distances of its feature, negated.

    Args:
        model: Embedding model.
        config: Its whole configuration.
        records: The records of the images.
    """

    def __init__(self, model: keras.Model, config: Config, records: Records):
        self.metric = config.evaluation.metric
        find_metric(self.metric, config.evaluation.minkowski_p)  # before hours of work
        self._evaluation = config.evaluation
        self._extractor, self._model = FeatureExtractor(model, config, records), model

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


def scored_splits(config: Config, records: Records, training: bool) -> tuple[str, str] | None:
    """Returns the splits of the queries and of the gallery that an evaluation by scores uses.

    Args:
        config: Its whole configuration.
        records: The records.
        training: Whether a model is evaluated while it is trained: on the validation identities,
            if the records hold any. None where the records hold no images to test on.

    Raises:
        UserError: The records are missing or broken, or settings contradict each other.
    """
    for name in ("multi_query", "expansion", "reranking"):
        if getattr(config.evaluation, name):
            raise UserError(f"evaluation.{name} needs a gallery that a feature ranks; set it to "
                            "false for scores of pairs.")
    if records.query_galleries is not None:
        raise UserError(f"{records.directory}: its queries have galleries of their own, which "
                        "scores of pairs do not know; choose other records.")
    if config.training.evaluate_queries and config.evaluation.protocol == "single_shot":
        raise UserError("training.evaluate_queries is for evaluation.protocol=full; set "
                        "evaluation.single_shot.identities instead.")
    for pair in _SPLITS[:: -1 if training else 1]:
        if {*pair} <= {*records.splits}:
            return pair
    if training:
        return None
    raise UserError(f"{records.directory} holds no query and gallery split to test on.")


class SingleShotEvaluator:
    """Averages the CMC of trials with one query and one gallery image per identity.

    Args:
        scorer: Scores the pairs.
        config: The whole configuration.
        records: The records.
        splits: Names of the splits that queries and gallery images are drawn from.
        training: Whether the trials are the fewer ones of an evaluation while training.

    Raises:
        UserError: The records are missing or broken, or hold too few identities.
    """

    def __init__(self, scorer: Scorer, config: Config, records: Records, splits: tuple[str, str],
                 training: bool = False):
        self._scorer = scorer
        self._max_rank = config.evaluation.max_rank
        self._splits = splits
        query, gallery = (records[split].index for split in splits)
        settings = config.evaluation.single_shot
        trials = settings.training_trials if training else settings.trials
        self._trials = draw_trials(query.ids, query.cameras, gallery.ids, gallery.cameras, trials,
                                   settings.identities, settings.seed)

    def evaluate(self, progress: bool = True, max_queries: int | None = None) -> Scored:
        """Runs the trials, with all their identities or the first `max_queries`.

        Raises:
            UserError: An image cannot be decoded, or a score is not a number.
        """
        trials = [_first(trial, max_queries) for trial in self._trials]
        together = [trials] if self._fit(trials) else [[trial] for trial in trials]
        ranks = [rank for some in together for rank in self._rank(some, progress)]
        return Scored(single_shot_result(ranks, self._scorer.metric, self._max_rank))

    def try_out(self) -> None:
        """Runs a tiny trial, so that a broken one fails before hours of training.

        Raises:
            UserError: As `evaluate`.
        """
        self._rank([_first(self._trials[0], _TRIED_IDENTITIES)], progress=False)

    def _fit(self, trials: list[Trial]) -> bool:
        """Whether the features of all trials' images may be in memory together."""
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
    """Returns how many images features are of."""
    return len(next(iter(features.values())))
