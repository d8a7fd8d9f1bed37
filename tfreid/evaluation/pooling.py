"""One feature for several images: of a tracklet, or of a person by one camera."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tfreid.evaluation.distances import Metric, centred_unit_rows, unit_rows

# Metrics that compare directions, and how features become the vectors whose directions they are.
DIRECTIONS = {"cosine": unit_rows, "correlation": centred_unit_rows}
_JOINED = {"mean": np.add, "max": np.maximum}


def comparable_rows(features: np.ndarray, metric: str | Metric) -> np.ndarray:
    """Returns features that may be averaged: unit vectors where the metric compares directions.

    A long vector would otherwise outweigh the others in a mean, although its length means nothing
    to the metric. "cosine" takes unit vectors, "correlation" unit vectors of the rows less their
    mean, and every other metric the features as they are.

    Args:
        features: numbers [n, d].
        metric: a name that `pairwise_distances` knows.
    """
    return DIRECTIONS.get(metric, np.asarray)(features)


def pool_blocks(
    blocks: Iterable[tuple[np.ndarray, np.ndarray]],
    rows: np.ndarray,
    metric: str | Metric = "cosine",
    method: str = "mean",
) -> np.ndarray:
    """Pools the features of each row's images, block by block.

    Beside the result only one block of features is in memory, in whatever order images come. Images
    are pooled as `comparable_rows` gives them.

    Args:
        blocks: positions [n] of images, and their features [n, d]; each image once.
        rows: integers [images], the row of each image; every row from 0 to the highest has one.
        metric: a name that `pairwise_distances` knows.
        method: "mean", or "max" of every dimension.

    Returns:
        float32 features [rows, d].

    Raises:
        ValueError: the method is unknown, or the blocks do not hold each image once.
    """
    if method not in _JOINED:
        raise ValueError(f"method must be one of {', '.join(_JOINED)}, received {method!r}")
    join, pooled, seen = _JOINED[method], None, 0
    counts = np.bincount(rows)
    for places, features in blocks:
        seen += len(places)
        if pooled is None:
            start = 0.0 if method == "mean" else -np.inf
            pooled = np.full((len(counts), features.shape[1]), start)
        order = np.argsort(rows[places], kind="stable")
        present, first = np.unique(rows[places][order], return_index=True)
        sums = join.reduceat(comparable_rows(features, metric)[order], first, axis=0,
                             dtype=np.float64)
        pooled[present] = join(pooled[present], sums)
    if seen != len(rows):
        raise ValueError(f"the blocks hold {seen} images, and there are {len(rows)}")
    if method == "mean":
        pooled /= counts[:, np.newaxis]
    return pooled.astype(np.float32)
