"""Distances between query and gallery features, one block at a time."""

from __future__ import annotations

import difflib
from typing import Any, Callable, NamedTuple

import numpy as np

from tfrecords.errors import UserError


class Metric(NamedTuple):
    """One way to compare features, split so that the gallery is prepared only once.

    Attributes:
        prepare: takes features [n, d] and returns whatever `between` wants to be given.
        between: takes a prepared query block [q, d] and the prepared gallery [g, d] and returns
            float32 or float64 distances [q, g] in an array of its own; smaller is more alike.
    """

    prepare: Callable[[np.ndarray], Any]
    between: Callable[[Any, Any], np.ndarray]


def pairwise_distances(
    query: np.ndarray, gallery: np.ndarray, metric: str = "cosine"
) -> np.ndarray:
    """Computes the distance from each query to each gallery feature.

    Args:
        query: features [q, d].
        gallery: features [g, d].
        metric: "cosine" (1 - cosine similarity, in 0..2; a zero vector has similarity 0 to
            everything) or "euclidean".

    Returns:
        float32 distances [q, g].

    Raises:
        UserError: the metric is unknown.
        ValueError: the features are not two matrices of the same width.
    """
    query, gallery = np.asarray(query), np.asarray(gallery)
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise ValueError(
            "query and gallery must be matrices of the same width, received shapes "
            f"{query.shape} and {gallery.shape}"
        )
    chosen = find_metric(metric)
    distances = chosen.between(chosen.prepare(query), chosen.prepare(gallery))
    return distances.astype(np.float32, copy=False)


def find_metric(name: str) -> Metric:
    """Returns the metric of that name, or raises a `UserError` that names the nearest one."""
    if name in METRICS:
        return METRICS[name]
    nearest = difflib.get_close_matches(str(name), METRICS, n=1, cutoff=0.0)[0]
    raise UserError(
        f"unknown distance metric {name!r}: did you mean {nearest!r}? "
        f"(known metrics: {', '.join(sorted(METRICS))})"
    )


def _unit_rows(features: np.ndarray) -> np.ndarray:
    """Returns float32 rows of length one; zero rows stay zero."""
    squares = np.einsum("nd,nd->n", features, features, dtype=np.float64)
    lengths = np.sqrt(squares)
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    # Computed in float64 through a small buffer, without a float64 copy of the gallery.
    rows = np.empty(features.shape, np.float32)
    scale = scale[:, np.newaxis]
    return np.multiply(features, scale, out=rows, dtype=np.float64, casting="same_kind")


def _cosine(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    distances = query @ gallery.T
    np.subtract(1.0, distances, out=distances)
    # Rounding lifts some similarities just above one.
    return np.maximum(distances, 0.0, out=distances)


def _with_squares(features: np.ndarray) -> np.ndarray:
    """Returns float64 rows (x, 1, |x|^2), so that one product gives |q|^2 - 2 qg + |g|^2."""
    # That sum cancels nearly everything for close pairs: float32 has too few digits for it.
    rows = np.ones((len(features), features.shape[1] + 2), np.float64)
    rows[:, :-2] = features
    np.einsum("nd,nd->n", rows[:, :-2], rows[:, :-2], out=rows[:, -1])
    return rows


def _euclidean(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    factors = np.column_stack([-2.0 * query[:, :-2], query[:, -1], query[:, -2]])
    distances = factors @ gallery.T
    np.maximum(distances, 0.0, out=distances)
    return np.sqrt(distances, out=distances)


METRICS = {
    "cosine": Metric(_unit_rows, _cosine),
    "euclidean": Metric(_with_squares, _euclidean),
}
