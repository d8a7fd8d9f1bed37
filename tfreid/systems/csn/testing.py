"""Evaluation by scores of pairs: single-shot trials, or a shortlist of the whole gallery ranked."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from tfrecords.errors import UserError
from tfrecords.manifest import read_manifest
from tfreid.config import Config
from tfreid.data.records import read_index, split_names
from tfreid.evaluation.distances import pairwise_distances
from tfreid.evaluation.features import trial_matches
from tfreid.evaluation.protocol import counted
from tfreid.evaluation.ranking import RankingResult, evaluate_distances
from tfreid.evaluation.single_shot import (
    SingleShotResult,
    Trial,
    draw_trials,
    single_shot_cmc,
    single_shot_result,
)
from tfreid.systems.csn.scores import CsnScorer, EmbeddingScorer, PairScorer, take

# Gallery images whose features are in memory at a time: about 0.44 MB each.
_GALLERY_BLOCK = 256
_TRIAL_IDENTITIES = 4
_SPLITS = (("query", "gallery"), ("val_query", "val_gallery"))


@dataclasses.dataclass(frozen=True)
class ScoredPairs:
    """One evaluation of a model that scores pairs; `result` has its figures."""

    result: SingleShotResult | RankingResult

    @property
    def main_figure(self) -> float:
        """Rank-1, or mAP where there is such."""
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

    def projection(self) -> None:
        """Returns nothing: a comparison has no feature to project."""

    def thresholds(self) -> None:
        """Returns nothing: a ranking needs no threshold."""


def make_pair_evaluator(
    model: keras.Model, config: Config, training: bool = False
) -> SingleShotEvaluator | ShortlistEvaluator | None:
    """Makes the evaluator that `evaluation.protocol` names.

    Args:
        model: A CSN, or, for single-shot trials, an embedding model.
        config: Its whole configuration.
        training: Whether it serves while training: on the validation identities, where the records
            hold such, and with fewer trials. None where the records hold no images to test with.

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
    wanted = [pair for pair in _SPLITS[:: -1 if training else 1] if {*pair} <= {*names}]
    if not wanted:
        if training:
            return None
        raise UserError(f"{config.data.records} holds no query and gallery split to test on.")
    if config.evaluation.protocol == "full":
        return ShortlistEvaluator(CsnScorer(model, config), config, *wanted[0])
    scorer = CsnScorer if config.system == "csn" else EmbeddingScorer
    settings = config.evaluation.single_shot
    trials = settings.training_trials if training else settings.trials
    return SingleShotEvaluator(scorer(model, config), config, *wanted[0], trials)


class SingleShotEvaluator:
    """Averages the CMC of trials with one query and one gallery image per identity.

    Args:
        scorer: Scores the pairs.
        config: The whole configuration.
        query_split: Name of the split that queries are drawn from.
        gallery_split: Name of the split that gallery images are drawn from.
        trials: How many trials.

    Raises:
        UserError: The records are missing or broken, or hold too few identities.
    """

    def __init__(self, scorer: PairScorer, config: Config, query_split: str, gallery_split: str,
                 trials: int):
        self._scorer = scorer
        self._max_rank = config.evaluation.max_rank
        self._splits = (query_split, gallery_split)
        query, gallery = (
            read_index(config.data.records, split, config.data.verify, config.data.fold)
            for split in self._splits
        )
        settings = config.evaluation.single_shot
        self._trials = draw_trials(query.ids, query.cameras, gallery.ids, gallery.cameras, trials,
                                   settings.identities, settings.seed)

    def evaluate(self, progress: bool = True, max_queries: int | None = None) -> ScoredPairs:
        """Runs the trials, with all their identities or the first `max_queries`.

        Raises:
            UserError: An image cannot be decoded, or a score is not a number.
        """
        trials = tqdm(self._trials, desc="single-shot trials", disable=not progress, leave=False)
        ranks = [self._rank(trial, max_queries, progress) for trial in trials]
        return ScoredPairs(single_shot_result(ranks, self._scorer.metric, self._max_rank))

    def try_out(self) -> None:
        """Runs a tiny trial, so that a broken one fails before hours of training.

        Raises:
            UserError: As `evaluate`.
        """
        self._rank(self._trials[0], _TRIAL_IDENTITIES, progress=False)

    def _rank(self, trial: Trial, identities: int | None, progress: bool) -> np.ndarray:
        queries, gallery = (
            self._features(split, positions[:identities], progress)
            for split, positions in zip(self._splits, trial)
        )
        return single_shot_cmc(self._scorer.cross(queries, gallery, progress))

    def _features(self, split, positions, progress):
        increasing, places = np.unique(positions, return_inverse=True)
        return take(self._scorer.features(split, increasing, progress), places)


class ShortlistEvaluator:
    """Ranks the whole gallery: descriptors choose the best for each query, the CSN ranks those.

    Behind the shortlist the gallery stands in the order of the descriptors' distances. What the
    query's own camera took of its person does not count, and takes no place on the shortlist.
    Memory holds the features of all queries, 0.44 MB each, those of a block of the gallery, and 5
    bytes for each query and gallery image.

    Args:
        scorer: Of a CSN with a ranking net.
        config: The whole configuration.
        query_split: Name of the split of the queries.
        gallery_split: Name of the gallery split.

    Raises:
        UserError: The records are missing or broken, or the network has no descriptors.
    """

    def __init__(self, scorer: CsnScorer, config: Config, query_split: str, gallery_split: str):
        if not config.csn.ranking_net:
            raise UserError(
                "evaluation.protocol=full needs the descriptors of csn.ranking_net to make a "
                "shortlist; set evaluation.protocol to single_shot, or train with the ranking net."
            )
        self._scorer = scorer
        self._config = config
        self._splits = (query_split, gallery_split)
        self._query, self._gallery = (
            read_index(Path(config.data.records), split, config.data.verify, config.data.fold)
            for split in self._splits
        )

    def evaluate(self, progress: bool = True, max_queries: int | None = None) -> ScoredPairs:
        """Ranks the gallery for all queries, or for `max_queries` spread evenly over them.

        Raises:
            UserError: An image cannot be decoded, or no query has a match.
        """
        count = min(max_queries or len(self._query), len(self._query))
        wanted = np.linspace(0, len(self._query) - 1, count).astype(int)
        return self._rank(wanted, np.arange(len(self._gallery)), progress)

    def try_out(self) -> None:
        """Runs a tiny evaluation, so that a broken one fails before hours of training.

        Raises:
            UserError: As `evaluate`.
        """
        queries, matches = trial_matches(
            self._query, self._gallery, Path(self._config.data.records))
        self._rank(queries, np.unique(matches), progress=False)

    def _rank(self, query: np.ndarray, gallery: np.ndarray, progress: bool) -> ScoredPairs:
        scorer, shortlist = self._scorer, self._config.csn.score.shortlist
        queries = scorer.features(self._splits[0], query, progress)
        descriptors = np.concatenate([
            block["descriptor"]
            for block in scorer.feature_blocks(self._splits[1], gallery, progress)
        ])
        size = min(shortlist, len(gallery))
        ranked = np.empty((len(query), len(gallery)), np.float32)
        chosen = np.zeros(ranked.shape, bool)
        for row, position in enumerate(query):
            # Whatever is not on the shortlist comes behind it.
            ranked[row] = pairwise_distances(
                queries["descriptor"][row : row + 1], descriptors, "euclidean")
            counts = counted(self._query.ids[position], self._query.cameras[position],
                             self._gallery.ids[gallery], self._gallery.cameras[gallery])
            usable = np.where(counts, ranked[row], np.inf)
            chosen[row, np.argpartition(usable, size - 1)[:size]] = True
        with tqdm(total=int(chosen.sum()), desc="pairs", unit="pair", unit_scale=True,
                  disable=not progress, leave=False) as bar:
            for start in range(0, len(gallery), _GALLERY_BLOCK):
                places = start + np.flatnonzero(
                    chosen[:, start : start + _GALLERY_BLOCK].any(axis=0))
                if not places.size:
                    continue
                features = scorer.features(self._splits[1], gallery[places], progress=False)
                rows, columns = np.nonzero(chosen[:, places])
                scores = scorer.pairs(queries, features, rows, columns)
                ranked[rows, places[columns]] = -scores
                bar.update(len(rows))
        result = evaluate_distances(
            ranked, self._query.ids[query], self._query.cameras[query],
            self._gallery.ids[gallery], self._gallery.cameras[gallery],
            f"{scorer.metric}, shortlist of {size}", self._config.evaluation.max_rank, progress)
        return ScoredPairs(result)
