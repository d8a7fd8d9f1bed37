"""Hard triplet mining among random training images.

Source: Almazan et al., "Re-ID done right: towards good practices for person re-identification"
(2018), Section 3.2, after Gordo et al., "End-to-end learning of deep visual representations for
image retrieval" (2017).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfreid.data.sampling import deal

# Queries whose similarities to all images are held at once: 20 MB for 5,000 images.
_BLOCK = 1024


class HardTriplets(NamedTuple):
    """The triplets of some queries with the largest loss, hardest first.

    Attributes:
        positives: int64 [q, k], rows of the features; -1 where a query has fewer triplets.
        negatives: int64 [q, k], likewise.
        losses: float64 [q, k], max(0, m + q . d- - q . d+); NaN where there are fewer.
    """

    positives: np.ndarray
    negatives: np.ndarray
    losses: np.ndarray


def hardest_triplets(features: np.ndarray, labels: np.ndarray, queries: np.ndarray, margin: float,
                     count: int = 25) -> HardTriplets:
    """Finds, among all possible triplets of each query, those with the largest loss.

    A triplet's loss increases with the negative's similarity and decreases with the positive's, so
    the `count` hardest consist of the nearest `count` negatives and the farthest `count` positives:
        the
    i-th positive with the j-th negative has i * j - 1 triplets before it. Triplets of zero loss are
    ordered by the value under the hinge; equal ones by the rank of the positive, then of the
    negative, and equal images by row.

    Args:
        features: float32 [n, d]; unit vectors for the paper's loss.
        labels: Integers [n].
        queries: Rows [q] of the features.
        margin: m.
        count: k, triplets per query.
    """
    found = [_of_block(features, labels, queries[start : start + _BLOCK], count)
             for start in range(0, max(1, len(queries)), _BLOCK)]
    positives, negatives, differences = map(np.concatenate, zip(*found))
    return HardTriplets(positives, negatives, np.maximum(differences + margin, 0.0))


def possible_queries(labels: np.ndarray) -> np.ndarray:
    """Returns the rows of labels [n] that have a positive and a negative among the others."""
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    own = counts[inverse]
    return np.flatnonzero((own > 1) & (own < len(labels)))


def draw_triplets(features: np.ndarray, labels: np.ndarray, margin: float, number: int, count: int,
                  random: np.random.Generator, queries: np.ndarray | None = None,
                  ) -> tuple[np.ndarray, np.ndarray, HardTriplets]:
    """Draws random queries, and for each a random one of its hardest triplets.

    Every possible query is drawn once before any is drawn twice.

    Args:
        features: float32 [n, d].
        labels: Integers [n]; some row has a positive and a negative.
        margin: m.
        number: Number of triplets.
        count: Number of a query's hardest triplets from which one is drawn.
        random: Random generator.
        queries: Rows of the queries [number], if they are drawn already.

    Returns:
        int64 [number, 3], rows of query, positive and negative; float64 [number], their losses; and
        the hardest triplets of these queries.
    """
    if queries is None:
        possible = possible_queries(labels)
        queries = possible[deal(random, len(possible), number)]
    hardest = hardest_triplets(features, labels, queries, margin, count)
    available = np.count_nonzero(hardest.positives >= 0, axis=1)
    place = np.arange(number), random.integers(0, available)
    triplets = np.stack([queries, hardest.positives[place], hardest.negatives[place]], axis=1)
    return triplets, hardest.losses[place], hardest


def _of_block(features, labels, queries, count):
    """Returns positives, negatives and q . d- - q . d+, each [q, count]."""
    similarities = features[queries] @ features.T
    same = labels[queries][:, np.newaxis] == labels
    same_others = same.copy()
    same_others[np.arange(len(queries)), queries] = False
    positives, nearness = _first(similarities, same_others, count)
    negatives, other_nearness = _first(-similarities, ~same, count)
    # Pairs of ranks that can be among the hardest.
    rank, other_rank = np.divmod(np.arange(count * count), count)
    fits = (rank + 1) * (other_rank + 1) <= count
    rank, other_rank = rank[fits], other_rank[fits]
    # float64 keeps the difference of two float32 numbers apart from its neighbours.
    differences = -other_nearness[:, other_rank] - nearness[:, rank]
    order = np.argsort(-differences, axis=1, kind="stable")[:, :count]
    differences = np.take_along_axis(differences, order, axis=1)
    present = differences > -np.inf
    return (
        np.where(present, np.take_along_axis(positives, rank[order], axis=1), -1),
        np.where(present, np.take_along_axis(negatives, other_rank[order], axis=1), -1),
        np.where(present, differences, np.nan),
    )


def _first(values, allowed, count):
    """Returns columns and values [q, count] of each row's smallest allowed values, in order.

    If a row has fewer, the missing values are infinite.
    """
    values = np.where(allowed, values, np.inf)
    count_here = min(count, values.shape[1])
    # Candidates for the first places, ties included, before sorting.
    bound = np.partition(values, count_here - 1, axis=1)[:, count_here - 1 : count_here]
    values[values > bound] = np.inf
    columns = np.argsort(values, axis=1, kind="stable")[:, :count_here]
    smallest = np.take_along_axis(values, columns, axis=1).astype(np.float64)
    missing = ((0, 0), (0, count - count_here))
    return np.pad(columns, missing), np.pad(smallest, missing, constant_values=np.inf)
