"""Ranks a gallery for each query and scores the ranking: CMC, mAP and mINP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from tfrecords.errors import UserError
from tfreid.evaluation.distances import MINKOWSKI_P, Metric, metric_name
from tfreid.evaluation.protocol import Labels, Protocol, feature_protocol

_MULTI_QUERY, _EXPANDED, _RERANKED = (
    ("multi_query", "multi-query"), ("expanded", "expanded"), ("reranked", "re-ranked"))
# Further ways to rank: key in results.json -> title in tables and legends.
VARIANTS = {
    "_".join(key for key, _ in parts): ", ".join(title for _, title in parts) for parts in (
        (*queries, *features, *distances) for distances in ((), (_RERANKED,))
        for features in ((), (_EXPANDED,)) for queries in ((), (_MULTI_QUERY,))) if parts}
# Counting costs one pass over the gallery per positive; above this many, sorting is cheaper.
_MOST_COUNTED_POSITIVES = 64


@dataclass(frozen=True, eq=False)
class RankingResult:
    """Scores of one ranking, as fractions in 0..1.

    Attributes:
        cmc: float64 [max_rank]; `cmc[k - 1]` is rank-k, the share of valid queries with a correct
            match among their first k results.
        mean_ap: The mAP, the mean over queries of the mean precision at each positive.
        mean_ap_trapezoid: The mAP as the official Market-1501 script integrates it, with the
            precision averaged over each recall step; half a point to a point lower.
        mean_inp: The mINP, the mean over queries of positives / rank of the hardest positive (Ye et
            al., "Deep Learning for Person Re-identification: A Survey and Outlook", Eq. 5).
        num_valid_queries: Number of queries with a positive; only these are averaged.
        num_skipped_queries: Number of queries without one.
        num_gallery: Number of gallery images with distractors but without junk; the mean over the
            queries if they have galleries of their own.
        metric: Name of the distance.
        average_precision: float64 [queries], NaN if the query was skipped.
        first_match_rank: int64 [queries], rank of the nearest positive, 0 if skipped.
        minkowski_p: Exponent of the Minkowski distance, None for other distances.
        unit: What was ranked and counted, "images" or "tracklets".
        own_galleries: Whether each query ranked a gallery of its own.
    """

    cmc: np.ndarray
    mean_ap: float
    mean_ap_trapezoid: float
    mean_inp: float
    num_valid_queries: int
    num_skipped_queries: int
    num_gallery: int | float
    metric: str
    average_precision: np.ndarray
    first_match_rank: np.ndarray
    minkowski_p: float | None = None
    unit: str = "images"
    own_galleries: bool = False

    def rank(self, k: int) -> float:
        """Returns rank-k, for k from 1 to the length of the CMC curve."""
        if not 1 <= k <= len(self.cmc):
            raise ValueError(f"k must be from 1 to {len(self.cmc)}, received {k}")
        return float(self.cmc[k - 1])

    def as_dict(self) -> dict[str, Any]:
        """Returns all but the per-query arrays as plain Python values, for JSON."""
        exponent = {} if self.minkowski_p is None else {"minkowski_p": self.minkowski_p}
        return {
            "metric": self.metric,
            **exponent,
            **{f"rank_{k}": self.rank(k) for k in (1, 5, 10, 20) if k <= len(self.cmc)},
            "mean_ap": self.mean_ap,
            "mean_ap_trapezoid": self.mean_ap_trapezoid,
            "mean_inp": self.mean_inp,
            "num_valid_queries": self.num_valid_queries,
            "num_skipped_queries": self.num_skipped_queries,
            "num_gallery": self.num_gallery,
            "unit": self.unit,
            "own_galleries": self.own_galleries,
            "cmc": self.cmc.tolist(),
        }


class TopMatches(NamedTuple):
    """The first results of some queries, nearest first.

    Attributes:
        indices: int64 [n, k], positions in the gallery; -1 beyond its end.
        distances: float32 [n, k]; NaN beyond the end of the gallery.
        is_match: bool [n, k], whether the result shows the query's identity.
    """

    indices: np.ndarray
    distances: np.ndarray
    is_match: np.ndarray


def evaluate_ranking(query_features: np.ndarray, query_ids: np.ndarray, query_cameras: np.ndarray,
                     gallery_features: np.ndarray, gallery_ids: np.ndarray,
                     gallery_cameras: np.ndarray, metric: str | Metric = "cosine",
                     max_rank: int = 50, block_size: int | None = None, progress: bool = False,
                     p: float = MINKOWSKI_P, galleries: Sequence[np.ndarray] | None = None,
                     unit: str = "images") -> RankingResult:
    """Ranks the gallery for every query and scores the ranking.

    A query's positives are the gallery images with its identity. Those from its own camera are
    ignored, as are junk images (negative identity); distractors have an identity that no query
    has. A negative camera is unknown and never equal to another. Equal distances rank in gallery
    order, and identical gallery features always have equal distances. Different features whose
    distances agree to the last digit or two (float64 for Euclidean, float32 for most others) may
    swap places with another block size, because the rounding of a matrix product depends on the
    position.

    Args:
        query_features: Finite numbers [q, d].
        query_ids: Integers [q], 0 or above.
        query_cameras: Integers [q].
        gallery_features: Finite numbers [g, d].
        gallery_ids: Integers [g].
        gallery_cameras: Integers [g].
        metric: A name that `pairwise_distances` knows, or a metric.
        max_rank: Length of the CMC curve; the gallery may be shorter.
        block_size: Number of queries compared at once. Defaults to a moderate block.
        progress: Whether to show a progress bar.
        p: Exponent of the "minkowski" distance.
        galleries: For each query the positions of the gallery images that it ranks. Defaults to
            the whole gallery.
        unit: What a row of features is, for the report.

    Returns:
        The scores, averaged over the queries that have a positive.

    Raises:
        UserError: If inputs are empty, misshapen or not finite, a query identity is negative, the
            metric is unknown, a gallery does not fit, or no query has a positive.
        ValueError: If `max_rank` or `block_size` is below 1.

    Example:
        >>> query, gallery = np.eye(2), np.array([[1, 0.1], [0.2, 1], [1, 0.9]])
        >>> result = tfreid.evaluate_ranking(
        ...     query, [7, 8], [1, 1], gallery, [7, 8, 8], [2, 2, 2], metric="cosine")
        >>> result.rank(1), round(result.mean_ap, 3)
        (1.0, 1.0)
    """
    protocol = feature_protocol(
        query_features, query_ids, query_cameras, gallery_features, gallery_ids, gallery_cameras,
        metric, p, galleries,
    )
    exponent = p if metric == "minkowski" else None
    return _evaluate(protocol, max_rank, metric_name(metric), exponent, block_size, progress, unit)


def evaluate_distances(distances: np.ndarray, query_ids: np.ndarray, query_cameras: np.ndarray,
                       gallery_ids: np.ndarray, gallery_cameras: np.ndarray, metric: str,
                       max_rank: int = 50, progress: bool = False,
                       galleries: Sequence[np.ndarray] | None = None,
                       unit: str = "images") -> RankingResult:
    """Scores the ranking by a matrix of distances [q, g], for example re-ranked ones.

    `metric` names the distances in the report; the other arguments and the errors are those of
    `evaluate_ranking`.
    """
    distances = np.asarray(distances)
    if distances.ndim != 2:
        raise ValueError(f"distances must be a matrix, received shape {distances.shape}")
    queries = Labels("query", distances.shape[0], query_ids, query_cameras)
    gallery = Labels("gallery", distances.shape[1], gallery_ids, gallery_cameras)
    protocol = Protocol(queries, gallery, lambda positions: _finite_rows(distances, positions),
                        galleries)
    return _evaluate(protocol, max_rank, metric, None, None, progress, unit)


def top_matches(query_features: np.ndarray, query_ids: np.ndarray, query_cameras: np.ndarray,
                gallery_features: np.ndarray, gallery_ids: np.ndarray, gallery_cameras: np.ndarray,
                query_indices: Sequence[int], k: int = 10, metric: str | Metric = "cosine",
                p: float = MINKOWSKI_P,
                galleries: Sequence[np.ndarray] | None = None) -> TopMatches:
    """Finds the `k` nearest gallery images of the queries at positions `query_indices` [n].

    The other arguments, the rules and the errors are those of `evaluate_ranking`, but queries
    without a positive are allowed.
    """
    protocol = feature_protocol(
        query_features, query_ids, query_cameras, gallery_features, gallery_ids, gallery_cameras,
        metric, p, galleries,
    )
    query_ids, gallery_ids = protocol.queries.ids, protocol.gallery.ids
    wanted = np.asarray(query_indices, np.int64)
    if k < 1:
        raise ValueError(f"k must be at least 1, received {k}")
    if np.any((wanted < 0) | (wanted >= len(query_ids))):
        raise ValueError(f"query_indices must be from 0 to {len(query_ids) - 1}, received "
                         f"{wanted.tolist()}")
    indices = np.full((len(wanted), k), -1, np.int64)
    distances = np.full((len(wanted), k), np.nan, np.float32)
    is_match = np.zeros((len(wanted), k), bool)
    for place, (query, row, _) in enumerate(protocol.rows(wanted)):
        nearest = nearest_positions(row, k)
        indices[place, : len(nearest)] = nearest
        distances[place, : len(nearest)] = row[nearest]
        is_match[place, : len(nearest)] = gallery_ids[nearest] == query_ids[query]
    return TopMatches(indices, distances, is_match)


def _finite_rows(distances: np.ndarray, positions: np.ndarray) -> np.ndarray:
    rows = distances[positions].astype(np.result_type(distances, np.float32), copy=False)
    if not np.isfinite(rows).all():
        raise UserError("the distances hold NaN or infinity; check the features they came from.")
    return rows


def _evaluate(protocol: Protocol, max_rank: int, metric: str, minkowski_p: float | None,
              block_size: int | None, progress: bool, unit: str) -> RankingResult:
    check_max_rank(max_rank)
    ranks = [
        positive_ranks(row, positives)
        for _, row, positives in protocol.rows(block_size=block_size, progress=progress)
    ]
    result = score_ranks(ranks, max_rank, protocol.num_ranked, metric, minkowski_p)
    return replace(result, unit=unit, own_galleries=protocol.own_galleries)


def check_max_rank(max_rank: int) -> None:
    """Raises a `ValueError` if a CMC curve would have no ranks."""
    if max_rank < 1:
        raise ValueError(f"max_rank must be at least 1, received {max_rank}")


def positive_ranks(row: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Returns the ascending ranks, from 1, of the positives [n] in a row of distances [g].

    Ties rank by position in the row; ignored images have an infinite distance.
    """
    if len(positives) > _MOST_COUNTED_POSITIVES:
        ranks = np.empty(len(row), np.int64)
        ranks[np.argsort(row, kind="stable")] = np.arange(1, len(row) + 1)
        return np.sort(ranks[positives])
    ranks = np.empty(len(positives), np.int64)
    for place, position in enumerate(positives):
        distance = row[position]
        ahead = np.count_nonzero(row[:position] <= distance)
        ranks[place] = 1 + ahead + np.count_nonzero(row[position:] < distance)
    return np.sort(ranks)


def nearest_positions(row: np.ndarray, k: int) -> np.ndarray:
    """Returns the positions of the k smallest finite distances, or of all; ties by position."""
    k = min(k, np.count_nonzero(np.isfinite(row)))
    if k == 0:
        return np.empty(0, np.int64)
    furthest = np.partition(row, k - 1)[k - 1]
    candidates = np.flatnonzero(row <= furthest)
    return candidates[np.argsort(row[candidates], kind="stable")[:k]]


def score_ranks(ranks: Sequence[np.ndarray], max_rank: int, num_gallery: int | float, metric: str,
                minkowski_p: float | None) -> RankingResult:
    """Averages the scores over the queries; `ranks` are those of `positive_ranks`.

    Raises:
        UserError: If no query has a positive.
    """
    first = np.array([found[0] if len(found) else 0 for found in ranks], np.int64)
    valid = first > 0
    num_valid = int(valid.sum())
    if num_valid == 0:
        raise UserError("no query has a valid match: every gallery image of a query's identity "
                        "comes from the query's own camera or is missing; check the identities and "
                        "cameras of both splits.")
    rectangle, trapezoid, penalty = np.array(
        [_precisions(found) if len(found) else (np.nan,) * 3 for found in ranks]
    ).T
    found_at = np.bincount(first[valid & (first <= max_rank)], minlength=max_rank + 1)[1:]
    return RankingResult(
        cmc=np.cumsum(found_at) / num_valid,
        mean_ap=float(rectangle[valid].mean()),
        mean_ap_trapezoid=float(trapezoid[valid].mean()),
        mean_inp=float(penalty[valid].mean()),
        num_valid_queries=num_valid,
        num_skipped_queries=len(ranks) - num_valid,
        num_gallery=num_gallery,
        metric=metric,
        average_precision=rectangle,
        first_match_rank=first,
        minkowski_p=minkowski_p,
    )


def _precisions(ranks: np.ndarray) -> tuple[float, float, float]:
    """Returns a query's AP by rectangles, AP by trapezoids and inverse negative penalty."""
    count = len(ranks)
    found = np.arange(1, count + 1)
    at_positive = found / ranks
    # Precision one position before each positive; 1 before a positive in first place.
    before = np.where(ranks > 1, (found - 1) / np.maximum(ranks - 1, 1), 1.0)
    return at_positive.mean(), ((before + at_positive) / 2).mean(), count / ranks[-1]
