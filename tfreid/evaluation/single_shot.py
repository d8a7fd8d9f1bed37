"""Single-shot CMC: every trial draws one query and one gallery image of each identity.

This is how VIPeR, CUHK01 and CUHK03's original protocol are measured (Guo and Cheung, "Efficient
and deep person re-identification using multi-level similarity", 2018, Section 4.1). Rank-k is the
share of identities whose one gallery image is among the k most alike of all gallery images. With a
single match per query there is no mAP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tfrecords.errors import UserError
from tfreid.evaluation.protocol import Labels

SINGLE_SHOT = "single_shot"
REPORTED_RANKS = (1, 5, 10, 20)


class Trial(NamedTuple):
    """Positions [n] of the drawn images, int64; gallery image i shows the person of query i."""

    query: np.ndarray
    gallery: np.ndarray


@dataclass(frozen=True, eq=False)
class AveragedCmc:
    """CMC curves of several drawings and their average, as fractions in 0..1.

    Attributes:
        curves: float64 [drawings, max_rank]; `curves[t, k - 1]` is rank-k of one drawing.
    """

    curves: np.ndarray

    @property
    def cmc(self) -> np.ndarray:
        """The mean curve, float64 [max_rank]."""
        return self.curves.mean(axis=0)

    @property
    def std(self) -> np.ndarray:
        """Sample standard deviation (n - 1) at each rank, float64 [max_rank]; 0 of one drawing."""
        if len(self.curves) == 1:
            return np.zeros(self.curves.shape[1])
        return self.curves.std(axis=0, ddof=1)

    @property
    def reported_ranks(self) -> tuple[int, ...]:
        """Those of 1, 5, 10 and 20 that the curve reaches."""
        return tuple(k for k in REPORTED_RANKS if k <= self.curves.shape[1])

    def rank(self, k: int) -> float:
        """Returns the mean rank-k, for k from 1 to the length of the curve."""
        return float(self.cmc[self._place(k)])

    def rank_std(self, k: int) -> float:
        """Returns the standard deviation of rank-k."""
        return float(self.std[self._place(k)])

    def rank_figures(self) -> dict[str, float]:
        """Returns `rank_1`, `rank_1_std`, `rank_5` and so on, as they stand in results.json."""
        figures = {}
        for k in self.reported_ranks:
            figures[f"rank_{k}"] = self.rank(k)
            figures[f"rank_{k}_std"] = self.rank_std(k)
        return figures

    def _place(self, k: int) -> int:
        if not 1 <= k <= self.curves.shape[1]:
            raise ValueError(f"k must be from 1 to {self.curves.shape[1]}, received {k}")
        return k - 1


@dataclass(frozen=True, eq=False)
class SingleShotResult(AveragedCmc):
    """Scores of all trials on one test set; `curves` [trials, max_rank] has a row for each.

    Attributes:
        num_identities: identities in a trial, and so queries and gallery images too.
        metric: what ranked, such as a distance.
    """

    num_identities: int
    metric: str

    @property
    def trials(self) -> int:
        """How many trials are averaged."""
        return len(self.curves)

    def as_dict(self) -> dict[str, Any]:
        """Returns all but the single trials' curves as plain Python values, ready for JSON."""
        return {
            "protocol": SINGLE_SHOT,
            "metric": self.metric,
            **self.rank_figures(),
            "trials": self.trials,
            "identities": self.num_identities,
            "cmc": self.cmc.tolist(),
            "cmc_std": self.std.tolist(),
        }


def draw_trials(
    query_ids: np.ndarray,
    query_cameras: np.ndarray,
    gallery_ids: np.ndarray,
    gallery_cameras: np.ndarray,
    trials: int,
    identities: int | None = None,
    seed: int = 0,
    same_pool: bool = False,
) -> list[Trial]:
    """Draws the images of every trial.

    Identities are drawn among those with a query image and a gallery image by another camera; a
    negative camera is unknown and never equal to another. Of each, one such query image is drawn,
    then one of its matches. Identities come in random order, so that gallery order tells nothing.
    Junk and distractors are never drawn. Trial t depends on the seed and t only, so fewer trials
    are the first of more.

    Args:
        query_ids: integers [q], 0 or above.
        query_cameras: integers [q].
        gallery_ids: integers [g].
        gallery_cameras: integers [g].
        trials: how many trials.
        identities: how many identities each trial draws; None takes all.
        seed: of the drawings, 0 or above.
        same_pool: whether queries and gallery are the same images in the same order; no image is
            then its own match, though its camera be unknown.

    Raises:
        UserError: no query or gallery images, misshapen labels, a negative query identity, no
            identity or fewer than asked that can be drawn.
        ValueError: `trials` or `identities` below 1.
    """
    if trials < 1:
        raise ValueError(f"trials must be at least 1, received {trials}")
    if identities is not None and identities < 1:
        raise ValueError(f"identities must be at least 1 or None, received {identities}")
    queries = _pool("query", query_ids, query_cameras)
    gallery = _pool("gallery", gallery_ids, gallery_cameras)
    candidates = _candidates(queries, gallery, same_pool)
    if not candidates:
        raise UserError(
            "no identity has a query image and a gallery image by another camera; check the "
            "identities and cameras of both splits."
        )
    if identities is not None and identities > len(candidates):
        raise UserError(
            f"{identities} identities were asked for each single-shot trial, but only "
            f"{len(candidates)} have a query image and a gallery image by another camera; ask for "
            "that many, or set evaluation.single_shot.identities to null for all."
        )
    return [_draw(candidates, identities, np.random.default_rng([seed, trial]))
            for trial in range(trials)]


def single_shot_cmc(scores: np.ndarray) -> np.ndarray:
    """Ranks each query's match; the match of row i is column i.

    Equal scores rank in gallery order. The match of row i is at place i, so over the rows as many
    equal ones stand before a match as behind one: a model that scores all pairs the same gets
    rank-k = k / n, which is chance.

    Args:
        scores: [n, n] numbers; higher is more alike (negate distances).

    Returns:
        int64 [n], ranks from 1.

    Raises:
        UserError: a score is NaN.
        ValueError: `scores` is no square matrix, or empty.
    """
    scores = np.asarray(scores)
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or not len(scores):
        raise ValueError(f"scores must be a square matrix, received shape {scores.shape}")
    if np.isnan(scores).any():
        raise UserError("the single-shot scores hold NaN; check the model's weights.")
    own = np.diagonal(scores)[:, np.newaxis]
    ahead = np.tril(scores == own, k=-1) | (scores > own)
    return 1 + np.count_nonzero(ahead, axis=1).astype(np.int64)


def single_shot_result(
    ranks: Sequence[np.ndarray], metric: str, max_rank: int = 50
) -> SingleShotResult:
    """Averages the CMC over trials.

    Args:
        ranks: for each trial what `single_shot_cmc` returned, [n] with the same n.
        metric: what the scores are, for the report.
        max_rank: length of the curves; there may be fewer identities.

    Raises:
        ValueError: no trial, trials of different sizes, or `max_rank` below 1.
    """
    if max_rank < 1:
        raise ValueError(f"max_rank must be at least 1, received {max_rank}")
    sizes = {len(trial) for trial in ranks}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"ranks must be trials of one size, received sizes {sorted(sizes)}")
    (size,) = sizes
    found = [np.bincount(trial[trial <= max_rank], minlength=max_rank + 1)[1:] for trial in ranks]
    return SingleShotResult(np.cumsum(found, axis=1) / size, size, metric)


class _Candidate(NamedTuple):
    """What can be drawn of one identity: query positions, and gallery positions for each."""

    queries: list[int]
    matches: list[np.ndarray]


def _pool(name: str, ids, cameras) -> Labels:
    count = len(ids)
    if not count:
        raise UserError(f"there are no {name} images to draw from; check the {name} split of the "
                        "records.")
    return Labels(name, count, ids, cameras)


def _candidates(queries: Labels, gallery: Labels, same_pool: bool) -> list[_Candidate]:
    """Lists the identities that can be drawn, ascending."""
    candidates = []
    for identity in np.intersect1d(queries.ids, gallery.ids):
        shown = np.flatnonzero(gallery.ids == identity)
        cameras = gallery.cameras[shown]
        candidate = _Candidate([], [])
        for query in np.flatnonzero(queries.ids == identity).tolist():
            camera = queries.cameras[query]
            usable = (cameras != camera) | (cameras < 0)
            if same_pool:
                usable &= shown != query
            if usable.any():
                candidate.queries.append(query)
                candidate.matches.append(shown[usable])
        if candidate.queries:
            candidates.append(candidate)
    return candidates


def _draw(candidates: list[_Candidate], count: int | None, random: np.random.Generator) -> Trial:
    query, gallery = [], []
    for place in random.permutation(len(candidates))[:count]:
        queries, matches = candidates[place]
        chosen = random.integers(len(queries))
        query.append(queries[chosen])
        gallery.append(matches[chosen][random.integers(len(matches[chosen]))])
    return Trial(np.array(query, np.int64), np.array(gallery, np.int64))
