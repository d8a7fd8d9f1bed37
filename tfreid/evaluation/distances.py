"""Distances between query and gallery features, one block at a time."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import numpy as np

from tfrecords.errors import UserError, nearest, shortened

if TYPE_CHECKING:
    import tensorflow as tf

MINKOWSKI_P = 3.0
_LARGEST_P = 32.0
# Up to this exponent, powers of sensible float32 differences neither overflow nor vanish.
_LARGEST_FLOAT32_P = 4.0
# Number of differences computed at once, which fit the cache, for metrics without matrix product.
_TILE_ELEMENTS = 2**17


class Metric(NamedTuple):
    """One way to compare features, split so that the gallery is prepared only once.

    Attributes:
        prepare: Turns features [n, d] into the form that `between` takes.
        between: Returns float32 or float64 distances [q, g], in a new array, of prepared queries
            [q, d] to the prepared gallery [g, d]; smaller is more alike.
        name: Name in reports, of a metric outside `METRICS`.
    """

    prepare: Callable[[np.ndarray], Any]
    between: Callable[[Any, Any], np.ndarray]
    name: str = ""


def pairwise_distances(query: np.ndarray, gallery: np.ndarray, metric: str = "cosine",
                       p: float = MINKOWSKI_P) -> np.ndarray:
    """Computes the distance from each query to each gallery feature.

    Args:
        query: Features [q, d].
        gallery: Features [g, d].
        metric: One of
            "cosine": 1 - cosine similarity, in 0..2; a zero vector has similarity 0 to everything;
            "correlation": the cosine distance of the rows, each less its mean;
            "euclidean";
            "cityblock": the sum of the absolute differences;
            "minkowski": (sum of |difference|^p)^(1/p), so p=1 is cityblock and p=2 Euclidean;
            "dot": the negative inner product, which has no lower bound and is not 0 for equal
                features; it depends on direction and length.
        p: Exponent of "minkowski", from 1 to 32.

    Returns:
        float32 distances [q, g]; smaller is more alike.

    Raises:
        UserError: If the metric is unknown or `p` is out of range.
        ValueError: If the features are not two matrices of the same width.

    Example:
        >>> tfreid.pairwise_distances(np.eye(2), np.array([[0.0, 2.0]]), "cosine").tolist()
        [[1.0], [0.0]]
    """
    query, gallery = np.asarray(query), np.asarray(gallery)
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise ValueError("query and gallery must be matrices of the same width, received shapes "
                         f"{query.shape} and {gallery.shape}")
    chosen = find_metric(metric, p)
    distances = chosen.between(chosen.prepare(query), chosen.prepare(gallery))
    return distances.astype(np.float32, copy=False)


def weighted_metric(name: str, weights: np.ndarray, squared: bool = False) -> Metric:
    """Makes the sum of weight * |difference|, or of weight * difference^2, over the dimensions.

    Weights [d] may be negative; the sum then has no lower bound. `name` is for reports.
    """
    weights = np.asarray(weights, np.float32)

    def term(difference):
        sizes = np.square(difference, out=difference) if squared else _absolute(difference)
        return np.multiply(sizes, weights, out=sizes)

    return Metric(_floats, functools.partial(_summed, term=term), name)


def scaled_cosine_metric(name: str, scale: float) -> Metric:
    """Makes the cosine distance times `scale`; a negative scale reverses the order."""
    return Metric(unit_rows, lambda query, gallery: scale * _cosine(query, gallery), name)


def metric_name(metric: str | Metric) -> str:
    """Returns what a report calls a metric."""
    return metric if isinstance(metric, str) else metric.name


def paired_distances(first: tf.Tensor, second: tf.Tensor, metric: str,
                     p: float = MINKOWSKI_P) -> tf.Tensor:
    """Computes the distances [n] between rows of float32 embeddings [n, d] in a TensorFlow graph.

    `metric` and `p` are those of `pairwise_distances`, which gives the same values.
    """
    import tensorflow as tf  # ranking does not need it

    if metric == "correlation":
        first, second = (_centred_rows(tf, side) for side in (first, second))
    if metric in ("cosine", "correlation"):
        # With an epsilon below any real feature's length, zero rows stay zero.
        first, second = (tf.math.l2_normalize(side, axis=1, epsilon=1e-30)
                         for side in (first, second))
        return tf.maximum(1.0 - tf.reduce_sum(first * second, axis=1), 0.0)
    if metric == "dot":
        return -tf.reduce_sum(first * second, axis=1)
    difference = tf.abs(first - second)
    if metric == "euclidean":
        return tf.sqrt(tf.reduce_sum(tf.square(difference), axis=1))
    if metric == "cityblock":
        return tf.reduce_sum(difference, axis=1)
    if metric == "minkowski":
        # Relative to the largest difference, so that no power vanishes or overflows.
        largest = tf.reduce_max(difference, axis=1, keepdims=True)
        powers = tf.pow(tf.math.divide_no_nan(difference, largest), p)
        return tf.squeeze(largest, 1) * tf.pow(tf.reduce_sum(powers, axis=1), 1.0 / p)
    raise ValueError(f"the graph has no distance {metric!r}")


def find_metric(name: str | Metric, p: float = MINKOWSKI_P) -> Metric:
    """Returns the metric with a name and, for Minkowski's, the exponent `p`; a `Metric` unchanged.

    Raises:
        UserError: If the name is unknown, or the exponent is out of range.
    """
    if isinstance(name, Metric):
        return name
    if name not in METRICS:
        raise UserError(f"unknown distance metric {shortened(repr(name))}: did you mean "
                        f"{nearest(str(name), METRICS)!r}? (known "
                        f"metrics: {', '.join(sorted(METRICS))})")
    metric = METRICS[name]
    if name != "minkowski":
        return metric
    if not 1 <= p <= _LARGEST_P:
        raise UserError(f"the Minkowski exponent must be from 1 to {_LARGEST_P:g}, not {p}.")
    return metric._replace(between=functools.partial(metric.between, p=p))


def describe_metric(name: str, p: float | None) -> str:
    """Returns the metric's name, and the exponent if it has one, for reports."""
    return f"{name}, p = {p:g}" if name == "minkowski" and p is not None else name


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Returns float32 rows of length one; zero rows stay zero."""
    squares = np.einsum("nd,nd->n", features, features, dtype=np.float64)
    lengths = np.sqrt(squares)
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    # Computed in float64 through a small buffer, without a float64 copy of the gallery.
    rows = np.empty(features.shape, np.float32)
    scale = scale[:, np.newaxis]
    return np.multiply(features, scale, out=rows, dtype=np.float64, casting="same_kind")


def centred_unit_rows(features: np.ndarray) -> np.ndarray:
    """Returns float32 rows of mean zero and length one; constant rows become zero."""
    means = features.mean(axis=1, dtype=np.float64, keepdims=True)
    # Otherwise the rounding error of a constant row would be scaled up to length one.
    constant = np.ptp(features, axis=1) == 0
    centred = np.subtract(features, means, dtype=np.float64)
    centred[constant] = 0.0
    return unit_rows(centred)


def _cosine(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    distances = query @ gallery.T
    np.subtract(1.0, distances, out=distances)
    # Rounding makes some similarities slightly larger than one.
    return np.maximum(distances, 0.0, out=distances)


def _with_squares(features: np.ndarray) -> np.ndarray:
    """Returns float64 rows (x, 1, |x|^2), so that one product gives |q|^2 - 2 qg + |g|^2."""
    # For close pairs nearly all digits of this sum cancel: float32 has too few of them.
    rows = np.ones((len(features), features.shape[1] + 2), np.float64)
    rows[:, :-2] = features
    np.einsum("nd,nd->n", rows[:, :-2], rows[:, :-2], out=rows[:, -1])
    return rows


def _euclidean(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    factors = np.column_stack([-2.0 * query[:, :-2], query[:, -1], query[:, -2]])
    distances = factors @ gallery.T
    np.maximum(distances, 0.0, out=distances)
    return np.sqrt(distances, out=distances)


def _floats(features: np.ndarray) -> np.ndarray:
    """Returns float32 features unchanged, and all other numbers as float64."""
    dtype = np.float32 if features.dtype == np.float32 else np.float64
    return np.ascontiguousarray(features, dtype)


def _minkowski(query: np.ndarray, gallery: np.ndarray, p: float = MINKOWSKI_P) -> np.ndarray:
    if p > _LARGEST_FLOAT32_P:
        query, gallery = query.astype(np.float64), gallery.astype(np.float64)
    distances = _summed(query, gallery, functools.partial(_power, p=p))
    return np.power(distances, 1.0 / p, out=distances)


def _dot(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    distances = query @ gallery.T
    return np.negative(distances, out=distances)


def _summed(query: np.ndarray, gallery: np.ndarray,
            term: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Sums `term` of the differences [n, d], which it may overwrite, over their dimensions."""
    dtype = np.result_type(query, gallery)
    distances = np.empty((len(query), len(gallery)), dtype)
    rows = max(1, _TILE_ELEMENTS // gallery.shape[1])
    buffer = np.empty((min(rows, len(gallery)), gallery.shape[1]), dtype)
    for start in range(0, len(gallery), rows):
        tile = gallery[start : start + rows]
        difference = buffer[: len(tile)]
        for feature, out in zip(query, distances[:, start : start + rows]):
            np.subtract(tile, feature, out=difference)
            # A product with ones would start the matrix library's threads for each row.
            np.einsum("nd->n", term(difference), out=out)
    return distances


def _absolute(difference: np.ndarray) -> np.ndarray:
    return np.abs(difference, out=difference)


def _power(difference: np.ndarray, p: float) -> np.ndarray:
    absolute = _absolute(difference)
    if not float(p).is_integer() or p > 2 * _LARGEST_FLOAT32_P:
        return np.power(absolute, absolute.dtype.type(p), out=absolute)
    # Products are several times as fast as the general power.
    power = absolute.copy()
    for _ in range(math.floor(p) - 1):
        np.multiply(power, absolute, out=power)
    return power


METRICS = {
    "cosine": Metric(unit_rows, _cosine),
    "correlation": Metric(centred_unit_rows, _cosine),
    "euclidean": Metric(_with_squares, _euclidean),
    "cityblock": Metric(_floats, functools.partial(_summed, term=_absolute)),
    "minkowski": Metric(_floats, _minkowski),
    "dot": Metric(_floats, _dot),
}


def _centred_rows(tf, features):
    centred = features - tf.reduce_mean(features, axis=1, keepdims=True)
    # Rounding may leave a constant row slightly off zero.
    constant = tf.reduce_all(features == features[:, :1], axis=1, keepdims=True)
    return tf.where(constant, 0.0, centred)
