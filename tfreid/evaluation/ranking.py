"""Ranks a gallery for each query and scores the ranking: CMC, mAP and mINP."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from tfrecords.errors import UserError
from tfreid.evaluation.distances import find_metric

# Counting costs one pass over the gallery per positive; above this many, sorting is cheaper.
_MOST_COUNTED_POSITIVES = 64


@dataclass(frozen=True, eq=False)
class RankingResult:
    """Scores of one ranking, as fractions in 0..1.

    Attributes:
        cmc: float64 [max_rank]; `cmc[k - 1]` is rank-k, the share of valid queries with a correct
            match among their first k results.
        mean_ap: mAP, the mean over queries of the mean precision at each positive (rectangles).
        mean_ap_trapezoid: mAP as the official Market-1501 script integrates it, with the precision
            averaged over each recall step; half a point to a point lower.
        mean_inp: mINP, the mean over queries of positives / rank of the hardest positive (Ye et
            al., "Deep Learning for Person Re-identification: A Survey and Outlook", Eq. 5).
        num_valid_queries: queries with at least one positive; only these are averaged.
        num_skipped_queries: queries without one.
        num_gallery: gallery images, distractors included, junk (negative identity) not.
        metric: name of the distance.
        average_precision: float64 [queries], NaN where the query was skipped.
        first_match_rank: int64 [queries], rank of the nearest positive, 0 where skipped.
    """

    cmc: np.ndarray
    mean_ap: float
    mean_ap_trapezoid: float
    mean_inp: float
    num_valid_queries: int
    num_skipped_queries: int
    num_gallery: int
    metric: str
    average_precision: np.ndarray
    first_match_rank: np.ndarray

    def rank(self, k: int) -> float:
        """Returns rank-k, for k from 1 to the length of the CMC curve."""
        if not 1 <= k <= len(self.cmc):
            raise ValueError(f"k must be from 1 to {len(self.cmc)}, received {k}")
        return float(self.cmc[k - 1])

    def as_dict(self) -> dict[str, Any]:
        """Returns everything but the per-query arrays as plain Python values, ready for JSON."""
        return {
            "metric": self.metric,
            **{f"rank_{k}": self.rank(k) for k in (1, 5, 10, 20) if k <= len(self.cmc)},
            "mean_ap": self.mean_ap,
            "mean_ap_trapezoid": self.mean_ap_trapezoid,
            "mean_inp": self.mean_inp,
            "num_valid_queries": self.num_valid_queries,
            "num_skipped_queries": self.num_skipped_queries,
            "num_gallery": self.num_gallery,
            "cmc": self.cmc.tolist(),
        }


class TopMatches(NamedTuple):
    """The first results of some queries, nearest first.

    Attributes:
        indices: int64 [n, k], positions in the gallery; -1 where the gallery ran out.
        distances: float32 [n, k]; NaN where the gallery ran out.
        is_match: bool [n, k], whether the result shows the query's identity.
    """

    indices: np.ndarray
    distances: np.ndarray
    is_match: np.ndarray


def evaluate_ranking(
    query_features: np.ndarray,
    query_ids: np.ndarray,
    query_cameras: np.ndarray,
    gallery_features: np.ndarray,
    gallery_ids: np.ndarray,
    gallery_cameras: np.ndarray,
    metric: str = "cosine",
    max_rank: int = 50,
    block_size: int | None = None,
    progress: bool = False,
) -> RankingResult:
    """Ranks the gallery for every query and scores the ranking.

    A query's positives are the gallery images with its identity. Those that its own camera took
    are ignored, as are junk images (negative identity); distractors have an identity that no query
    has. A negative camera is unknown and never equal to another. Equal distances rank in gallery
    order, and identical gallery features always have equal distances. Different features whose
    distances agree to the last digit or two (float32 for cosine, float64 for Euclidean) may swap
    places with another block size, since a matrix product rounds by position.

    Args:
        query_features: finite numbers [q, d].
        query_ids: integers [q], 0 or above.
        query_cameras: integers [q].
        gallery_features: finite numbers [g, d].
        gallery_ids: integers [g].
        gallery_cameras: integers [g].
        metric: a name that `pairwise_distances` knows.
        max_rank: length of the CMC curve; the gallery may be shorter.
        block_size: queries compared at once; by default as many as fit a moderate block.
        progress: show a progress bar.

    Returns:
        The scores, averaged over the queries that have a positive.

    Raises:
        UserError: inputs that are empty, misshapen or not finite, a negative query identity, an
            unknown metric, or no query with a positive.
        ValueError: `max_rank` or `block_size` below 1.
    """
    if max_rank < 1:
        raise ValueError(f"max_rank must be at least 1, received {max_rank}")
    queries = _Images("query", query_features, query_ids, query_cameras)
    gallery = _Gallery(queries, gallery_features, gallery_ids, gallery_cameras, metric)
    ranks = [
        _positive_ranks(row, positives)
        for _, row, positives in gallery.rows(
            queries, np.arange(len(queries.ids)), block_size, progress
        )
    ]
    return _scores(ranks, max_rank, gallery.num_ranked, metric)


def top_matches(
    query_features: np.ndarray,
    query_ids: np.ndarray,
    query_cameras: np.ndarray,
    gallery_features: np.ndarray,
    gallery_ids: np.ndarray,
    gallery_cameras: np.ndarray,
    query_indices: Sequence[int],
    k: int = 10,
    metric: str = "cosine",
) -> TopMatches:
    """Finds the k nearest gallery images of some queries, by the rules of `evaluate_ranking`.

    Args:
        query_indices: positions [n] of the wanted queries among the q queries.
        k: results per query.
        (the others): as in `evaluate_ranking`.

    Raises:
        UserError: as in `evaluate_ranking`; queries without a positive are fine here.
        ValueError: `k` below 1 or a query index out of range.
    """
    queries = _Images("query", query_features, query_ids, query_cameras)
    wanted = np.asarray(query_indices, np.int64)
    if k < 1:
        raise ValueError(f"k must be at least 1, received {k}")
    if np.any((wanted < 0) | (wanted >= len(queries.ids))):
        raise ValueError(
            f"query_indices must be from 0 to {len(queries.ids) - 1}, received {wanted.tolist()}"
        )
    gallery = _Gallery(queries, gallery_features, gallery_ids, gallery_cameras, metric)
    indices = np.full((len(wanted), k), -1, np.int64)
    distances = np.full((len(wanted), k), np.nan, np.float32)
    is_match = np.zeros((len(wanted), k), bool)
    for place, (query, row, _) in enumerate(gallery.rows(queries, wanted)):
        nearest = _nearest(row, k)
        indices[place, : len(nearest)] = nearest
        distances[place, : len(nearest)] = row[nearest]
        is_match[place, : len(nearest)] = gallery.images.ids[nearest] == queries.ids[query]
    return TopMatches(indices, distances, is_match)


class _Images:
    """Checked features, identities and cameras of the queries or of the gallery."""

    def __init__(self, name: str, features, ids, cameras):
        self.features = np.ascontiguousarray(features)
        if self.features.ndim != 2 or 0 in self.features.shape:
            raise UserError(
                f"the {name} features must be a non-empty matrix with one row per image, "
                f"received shape {self.features.shape}."
            )
        if self.features.dtype not in (np.float32, np.float64):
            self.features = self._numbers(name, self.features)
        # A row's sum is finite when its entries are, and needs no mask of the whole.
        with np.errstate(invalid="ignore"):
            sums = self.features.sum(axis=1, dtype=np.float64)
        broken = np.flatnonzero(~np.isfinite(sums))
        if len(broken):
            raise UserError(
                f"the {name} features hold NaN or infinity in {len(broken)} of "
                f"{len(self.features)} rows (first: row {broken[0]}); check the model's weights."
            )
        self.ids = self._labels(f"{name} identities", ids)
        self.cameras = self._labels(f"{name} cameras", cameras)
        if name == "query" and self.ids.min() < 0:
            raise UserError(
                f"query {int(np.argmin(self.ids))} has the identity {self.ids.min()}, which marks "
                "junk; remove such images from the queries."
            )

    @staticmethod
    def _numbers(name: str, features: np.ndarray) -> np.ndarray:
        try:
            return features.astype(np.float32)
        except (TypeError, ValueError) as error:
            raise UserError(
                f"the {name} features must be numbers, received {features.dtype}."
            ) from error

    def _labels(self, name: str, values) -> np.ndarray:
        labels = np.asarray(values)
        if labels.shape != (len(self.features),) or labels.dtype.kind not in "iu":
            raise UserError(
                f"the {name} must be {len(self.features)} integers, one per feature row, "
                f"received {labels.dtype} of shape {labels.shape}."
            )
        return labels.astype(np.int64)


class _Gallery:
    """A gallery made ready once, then compared with block after block of queries."""

    def __init__(self, queries: _Images, features, ids, cameras, metric: str):
        self.metric = find_metric(metric)
        self.images = _Images("gallery", features, ids, cameras)
        if self.images.features.shape[1] != queries.features.shape[1]:
            raise UserError(
                f"the query features have {queries.features.shape[1]} dimensions and the gallery "
                f"features {self.images.features.shape[1]}; extract both with the same model."
            )
        self._prepared = self.metric.prepare(self.images.features)
        self._junk = np.flatnonzero(self.images.ids < 0)
        self._repeats, self._originals = _repeated_rows(self.images.features)
        self._by_identity = np.argsort(self.images.ids, kind="stable")
        self._sorted_ids = self.images.ids[self._by_identity]
        self.num_ranked = len(self.images.ids) - len(self._junk)

    def rows(
        self,
        queries: _Images,
        wanted: np.ndarray,
        block_size: int | None = None,
        progress: bool = False,
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yields per wanted query its index, its distances [g] and its positives' positions.

        Ignored gallery images are at infinity.
        """
        if block_size is None:
            block_size = min(256, max(16, 2**25 // len(self.images.ids)))
        if block_size < 1:
            raise ValueError(f"block_size must be at least 1, received {block_size}")
        with tqdm(total=len(wanted), desc="ranking", unit="query", disable=not progress) as bar:
            for start in range(0, len(wanted), block_size):
                block = wanted[start : start + block_size]
                for query, row in zip(block, self._distances(queries.features[block])):
                    yield query, row, self._split(queries.ids[query], queries.cameras[query], row)
                bar.update(len(block))

    def _distances(self, query_features: np.ndarray) -> np.ndarray:
        distances = self.metric.between(self.metric.prepare(query_features), self._prepared)
        # A matrix product rounds by position, so equal features need not come out equal.
        distances[:, self._repeats] = distances[:, self._originals]
        distances[:, self._junk] = np.inf
        return distances

    def _split(self, identity: int, camera: int, row: np.ndarray) -> np.ndarray:
        """Puts the images of the query's identity and camera at infinity; returns the positives."""
        first = np.searchsorted(self._sorted_ids, identity, side="left")
        last = np.searchsorted(self._sorted_ids, identity, side="right")
        same_identity = self._by_identity[first:last]
        ignored = (self.images.cameras[same_identity] == camera) & (camera >= 0)
        row[same_identity[ignored]] = np.inf
        return same_identity[~ignored]


def _repeated_rows(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the positions of rows seen before, and where each was seen first."""
    seen: dict[bytes, int] = {}
    first = np.empty(len(features), np.int64)
    for index, row in enumerate(features):
        # Adding zero makes -0.0 and 0.0 the same bytes.
        first[index] = seen.setdefault(hashlib.blake2b(row + 0, digest_size=16).digest(), index)
    repeats = np.flatnonzero(first != np.arange(len(first)))
    return repeats, first[repeats]


def _positive_ranks(row: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Returns the 1-based ranks of the positives, ascending; ties rank by position in the row."""
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


def _nearest(row: np.ndarray, k: int) -> np.ndarray:
    """Returns the positions of the k smallest finite distances; ties by position in the row."""
    k = min(k, np.count_nonzero(np.isfinite(row)))
    if k == 0:
        return np.empty(0, np.int64)
    furthest = np.partition(row, k - 1)[k - 1]
    candidates = np.flatnonzero(row <= furthest)
    return candidates[np.argsort(row[candidates], kind="stable")[:k]]


def _scores(
    ranks: Sequence[np.ndarray], max_rank: int, num_gallery: int, metric: str
) -> RankingResult:
    """Averages over the queries; `ranks` holds each query's positive ranks, ascending."""
    first = np.array([found[0] if len(found) else 0 for found in ranks], np.int64)
    valid = first > 0
    num_valid = int(valid.sum())
    if num_valid == 0:
        raise UserError(
            "no query has a valid match: every gallery image of a query's identity comes from the "
            "query's own camera or is missing; check the identities and cameras of both splits."
        )
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
    )


def _precisions(ranks: np.ndarray) -> tuple[float, float, float]:
    """Returns AP by rectangles, AP by trapezoids and the inverse negative penalty of a query."""
    count = len(ranks)
    found = np.arange(1, count + 1)
    at_positive = found / ranks
    # Precision one position before each positive; a positive in first place has 1 before it.
    before = np.where(ranks > 1, (found - 1) / np.maximum(ranks - 1, 1), 1.0)
    return at_positive.mean(), ((before + at_positive) / 2).mean(), count / ranks[-1]
