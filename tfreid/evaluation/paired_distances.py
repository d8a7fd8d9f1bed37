"""Distances of pairs, row by row, in a TensorFlow graph."""

from __future__ import annotations

import tensorflow as tf


def paired_distances(left: tf.Tensor, right: tf.Tensor, metric: str, p: float = 3.0) -> tf.Tensor:
    """Computes the distance of each row to the row beside it.

    Args:
        left: float32 embeddings [n, d].
        right: float32 embeddings [n, d].
        metric: a name that `tfreid.evaluation.pairwise_distances` knows, which gives the same.
        p: its Minkowski exponent.

    Returns:
        float32 distances [n].

    Raises:
        ValueError: the metric is unknown.
    """
    if metric == "correlation":
        left, right = (_centred(side) for side in (left, right))
    if metric in ("cosine", "correlation"):
        # With an epsilon below any real feature's length, zero rows stay zero.
        left, right = (tf.math.l2_normalize(side, axis=1, epsilon=1e-30) for side in (left, right))
        return tf.maximum(1.0 - tf.reduce_sum(left * right, axis=1), 0.0)
    if metric == "dot":
        return -tf.reduce_sum(left * right, axis=1)
    difference = tf.abs(left - right)
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


def _centred(features: tf.Tensor) -> tf.Tensor:
    centred = features - tf.reduce_mean(features, axis=1, keepdims=True)
    # Rounding leaves something of a constant row.
    constant = tf.reduce_all(features == features[:, :1], axis=1, keepdims=True)
    return tf.where(constant, 0.0, centred)
