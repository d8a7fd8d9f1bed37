"""Single-shot CMC: every trial draws one query and one gallery image of each identity.

This is the protocol of VIPeR, CUHK01 and the original CUHK03 (Guo and Cheung, "Efficient and deep
person re-identification using multi-level similarity", 2018, Section 4.1). Rank-k is the share of
identities whose gallery image is among the k most similar ones. With a single match per query
there is no mAP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tfrecords.errors import UserError
from tfreid.evaluation.protocol import Labels, matches

SINGLE_SHOT = "single_shot"
REPORTED_RANKS = (1, 5, 10, 20)


class Trial(NamedTuple):
    """int64 positions [n] of the drawn images; query i and gallery image i match."""

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
        """Mean curve, float64 [max_rank]."""
        return self.curves.mean(axis=0)

    @property
    def std(self) -> np.ndarray:
        """Sample standard deviation (n - 1), float64 [max_rank]; 0 for a single drawing."""
        if len(self.curves) == 1:
            return np.zeros(self.curves.shape[1])
        return self.curves.std(axis=0, ddof=1)

    @property
    def reported_ranks(self) -> tuple[int, ...]:
        """Ranks 1, 5, 10 and 20, as far as the curve reaches."""
        return tuple(k for k in REPORTED_RANKS if k <= self.curves.shape[1])

    def rank(self, k: int) -> float:
        """Returns the mean rank-k, for k from 1 to the length of the curve."""
        return float(self.cmc[self._place(k)])

    def rank_std(self, k: int) -> float:
        """Returns the standard deviation of rank-k."""
        return float(self.std[self._place(k)])

    def rank_figures(self) -> dict[str, float]:
        """Returns `rank_1`, `rank_1_std`, `rank_5` and so on, for results.json."""
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
        num_identities: Identities in a trial, and so queries and gallery images too.
        metric: Name of the scores, for example a distance.
    """

    num_identities: int
    metric: str

    @property
    def trials(self) -> int:
        """Number of trials."""
        return len(self.curves)

    def as_dict(self) -> dict[str, Any]:
        """Returns all but the curves of single trials as plain Python values, for JSON."""
        return {
            "protocol": SINGLE_SHOT,
            "metric": self.metric,
            **self.rank_figures(),
            "trials": self.trials,
            "identities": self.num_identities,
            "cmc": self.cmc.tolist(),
            "cmc_std": self.std.tolist(),
        }


def draw_trials(query_ids: np.ndarray, query_cameras: np.ndarray, gallery_ids: np.ndarray,
                gallery_cameras: np.ndarray, trials: int, identities: int | None = None,
                seed: int = 0, same_pool: bool = False) -> list[Trial]:
    """Draws the images of every trial.

    Identities are drawn, in random order, from those with a query image and a gallery image by
    another camera; a negative camera is unknown and never equal to another. For each identity,
    such a query image is drawn, then one of its matches; junk and distractors are never drawn.
    Trial t depends only on the seed and t.

    Args:
        query_ids: Integers [q], 0 or above.
        query_cameras: Integers [q].
        gallery_ids: Integers [g].
        gallery_cameras: Integers [g].
        trials: Number of trials.
        identities: Number of identities in each trial. Defaults to all.
        seed: Seed of the drawings, 0 or above.
        same_pool: Whether queries and gallery are the same images in the same order; an image is
            then never its own match, even if its camera is unknown.

    Raises:
        UserError: If there are no query or gallery images, labels are misshapen, a query identity
            is negative, or too few identities can be drawn.
        ValueError: If `trials` or `identities` is below 1.
    """
    if trials < 1:
        raise ValueError(f"trials must be at least 1, received {trials}")
    if identities is not None and identities < 1:
        raise ValueError(f"identities must be at least 1 or None, received {identities}")
    queries = _pool("query", query_ids, query_cameras)
    gallery = _pool("gallery", gallery_ids, gallery_cameras)
    candidates = _candidates(queries, gallery, same_pool)
    if not candidates:
        raise UserError("no identity has a query image and a gallery image by another camera; "
                        "check the identities and cameras of both splits.")
    if identities is not None and identities > len(candidates):
        raise UserError(f"evaluation.single_shot.identities is {identities}, but only "
                        f"{len(candidates)} identities have a query image and a gallery image by "
                        "another camera; lower it, or set it to null for all.")
    return [_draw(candidates, identities, np.random.default_rng([seed, trial]))
            for trial in range(trials)]


def single_shot_cmc(scores: np.ndarray) -> np.ndarray:
    """Returns the rank [n], from 1, of each query's match: column i is the match of row i.

    Equal scores rank in gallery order, so a model that scores all pairs equally gets the chance
    level, rank-k = k / n.

    Args:
        scores: Numbers [n, n]; higher is more alike (negate distances).

    Raises:
        UserError: If a score is NaN.
        ValueError: If `scores` is not a square matrix, or is empty.
    """
    scores = np.asarray(scores)
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or not len(scores):
        raise ValueError(f"scores must be a square matrix, received shape {scores.shape}")
    if np.isnan(scores).any():
        raise UserError("the single-shot scores hold NaN; check the model's weights.")
    own = np.diagonal(scores)[:, np.newaxis]
    ahead = np.tril(scores == own, k=-1) | (scores > own)
    return 1 + np.count_nonzero(ahead, axis=1).astype(np.int64)


def single_shot_result(ranks: Sequence[np.ndarray], metric: str,
                       max_rank: int = 50) -> SingleShotResult:
    """Averages the CMC over trials.

    Args:
        ranks: For each trial what `single_shot_cmc` returned, [n] with the same n.
        metric: Name of the scores, for the report.
        max_rank: Length of the curves; there may be fewer identities.

    Raises:
        ValueError: If there is no trial, trials differ in size, or `max_rank` is below 1.
    """
    if max_rank < 1:
        raise ValueError(f"max_rank must be at least 1, received {max_rank}")
    sizes = {len(trial) for trial in ranks}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"ranks must be trials of one size, received sizes {sorted(sizes)}")
    (size,) = sizes
    found = [np.bincount(trial[trial <= max_rank], minlength=max_rank + 1)[1:] for trial in ranks]
    return SingleShotResult(np.cumsum(found, axis=1) / size, size, metric)


def _pool(name: str, ids, cameras) -> Labels:
    count = len(ids)
    if not count:
        raise UserError(f"there are no {name} images to draw; check the records' {name} split.")
    return Labels(name, count, ids, cameras)


def _candidates(queries: Labels, gallery: Labels, same_pool: bool) -> list[list[tuple]]:
    """Returns for each identity that can be drawn its queries, each with its matches."""
    candidates = []
    for identity in np.intersect1d(queries.ids, gallery.ids):
        shown = np.flatnonzero(gallery.ids == identity)
        usable = []
        for query in np.flatnonzero(queries.ids == identity).tolist():
            counts = matches(identity, queries.cameras[query], gallery.ids[shown],
                             gallery.cameras[shown])
            if same_pool:
                counts &= shown != query
            if counts.any():
                usable.append((query, shown[counts]))
        if usable:
            candidates.append(usable)
    return candidates


def _draw(candidates: list, count: int | None, random: np.random.Generator) -> Trial:
    query, gallery = [], []
    for place in random.permutation(len(candidates))[:count]:
        usable = candidates[place]
        chosen, found = usable[random.integers(len(usable))]
        query.append(chosen)
        gallery.append(found[random.integers(len(found))])
    return Trial(np.array(query, np.int64), np.array(gallery, np.int64))
