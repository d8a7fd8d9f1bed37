"""Testing a CSN: single-shot trials, or a shortlist of the whole gallery ranked by its scores."""

from __future__ import annotations

import keras
import numpy as np
from tqdm import tqdm

from tfrecords.errors import UserError
from tfreid.config import Config
from tfreid.evaluation.distances import pairwise_distances
from tfreid.evaluation.evaluator import trial_matches
from tfreid.evaluation.protocol import counted
from tfreid.evaluation.ranking import evaluate_distances
from tfreid.evaluation.scoring import Scored, SingleShotEvaluator, scored_splits
from tfreid.records import Records
from tfreid.systems.csn.scores import CsnScorer
from tfreid.workers import ALONE, Workers

# Gallery images whose features are in memory at a time: about 0.44 MB each.
_GALLERY_BLOCK = 256


def make_csn_evaluator(model: keras.Model, config: Config, records: Records,
                       training: bool = False, workers: Workers = ALONE,
                       ) -> SingleShotEvaluator | ShortlistEvaluator | None:
    """Makes the evaluator of `evaluation.protocol`, or returns None; see `scored_splits`."""
    splits = scored_splits(config, records, training)
    if splits is None:
        return None
    scorer = CsnScorer(model, config, records, workers)
    if config.evaluation.protocol == "full":
        return ShortlistEvaluator(scorer, config, records, splits)
    return SingleShotEvaluator(scorer, config, records, splits, training)


class ShortlistEvaluator:
    """Ranks the whole gallery: descriptors choose the best for each query, the CSN ranks those.

    Behind the shortlist the gallery is in the order of the descriptors' distances. Images of the
    query's identity by its own camera do not count, and take no place on the shortlist. Memory
    holds the features of all queries, 0.44 MB each, those of a block of the gallery, and 5 bytes
    for each query and gallery image.

    Args:
        scorer: Scorer of a CSN with a ranking net.
        config: The whole configuration.
        records: The records.
        splits: Names of the splits of the queries and of the gallery.

    Attributes:
        evaluated_on: See `Evaluator`.

    Raises:
        UserError: If the network has no descriptors.
    """

    def __init__(self, scorer: CsnScorer, config: Config, records: Records,
                 splits: tuple[str, str]):
        if not config.csn.ranking_net:
            raise UserError(
                "evaluation.protocol=full needs the descriptors of csn.ranking_net to make a "
                "shortlist; set evaluation.protocol to single_shot, or train with the ranking net."
            )
        self._scorer = scorer
        self._config, self._directory = config, records.directory
        self._splits, self.evaluated_on = splits, records.evaluated_on
        self._query, self._gallery = (records[split].index for split in splits)

    def evaluate(self, progress: bool = True, max_queries: int | None = None) -> Scored:
        """Ranks the gallery for all queries, or for `max_queries` spread evenly over them."""
        count = min(max_queries or len(self._query), len(self._query))
        wanted = np.linspace(0, len(self._query) - 1, count).astype(int)
        return self._rank(wanted, np.arange(len(self._gallery)), progress)

    def try_out(self) -> None:
        """Runs a tiny evaluation, to fail fast."""
        queries, matches = trial_matches(self._query, self._gallery, self._directory)
        self._rank(queries, np.unique(matches), progress=False)

    def _rank(self, query: np.ndarray, gallery: np.ndarray, progress: bool) -> Scored:
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
        return Scored(result)
