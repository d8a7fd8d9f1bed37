"""Distances between embeddings, and which images of a batch are positives and negatives.

Distances are float32 and have finite gradients.
"""

from __future__ import annotations

import tensorflow as tf

from tfreid.losses.classification import flat_labels


def pairwise_squared_euclidean(a, b=None) -> tf.Tensor:
    """Computes ||a_i - b_j||^2 for every pair.

    Both sides are shifted by the mean of `b` before they are multiplied. The distances do not
    depend on the shift, but the rounding error grows with the length of the vectors, and pooled
    activations have a large common mean. (GPUs that run float32 products as TensorFloat-32 lose
    more: `tf.config.experimental.enable_tensor_float_32_execution(False)` turns that off.)

    Args:
        a: [n, d] of any floating type.
        b: [m, d]. `None`, or the very object given as `a`, compares `a` with itself, and the
            diagonal is then exactly zero.

    Returns:
        [n, m] float32, never negative.
    """
    with_itself = b is None or b is a
    a = tf.cast(a, tf.float32)
    b = a if with_itself else tf.cast(b, tf.float32)
    # A shift common to both sides has no gradient, so stopping it here loses nothing.
    shift = tf.stop_gradient(tf.reduce_mean(b, axis=0, keepdims=True))
    a = a - shift
    b = a if with_itself else b - shift
    squares_a = tf.reduce_sum(tf.square(a), axis=1)[:, tf.newaxis]
    squares_b = tf.reduce_sum(tf.square(b), axis=1)[tf.newaxis, :]
    squared = squares_a + squares_b - 2.0 * tf.matmul(a, b, transpose_b=True)
    return _zero_diagonal(tf.maximum(squared, 0.0), with_itself)


def pairwise_euclidean(a, b=None) -> tf.Tensor:
    """Computes ||a_i - b_j|| for every pair; the gradient at distance zero is zero, not infinite.

    Args and shapes as in `pairwise_squared_euclidean`.

    Returns:
        [n, m] float32, never negative.
    """
    return _safe_sqrt(pairwise_squared_euclidean(a, b))


def paired_euclidean(a, b) -> tf.Tensor:
    """Computes ||a_i - b_i|| row by row; the gradient at distance zero is zero, not infinite.

    Args:
        a, b: [n, d] of any floating type.

    Returns:
        [n] float32, never negative.
    """
    differences = tf.cast(a, tf.float32) - tf.cast(b, tf.float32)
    return _safe_sqrt(tf.reduce_sum(tf.square(differences), axis=1))


def pairwise_cosine(a, b=None) -> tf.Tensor:
    """Computes the cosine distance 1 - cos(a_i, b_j) for every pair.

    A vector of zeros has no direction: its distance to any other vector is 1.
    Args and shapes as in `pairwise_squared_euclidean`.

    Returns:
        [n, m] float32 between 0 and 2.
    """
    with_itself = b is None or b is a
    a = unit_length(a)
    b = a if with_itself else unit_length(b)
    distances = tf.clip_by_value(1.0 - tf.matmul(a, b, transpose_b=True), 0.0, 2.0)
    return _zero_diagonal(distances, with_itself)


def unit_length(embeddings) -> tf.Tensor:
    """Divides each row of [n, d] by its Euclidean length, in float32; zero rows stay zero."""
    return tf.math.l2_normalize(tf.cast(embeddings, tf.float32), axis=1)


def candidate_pairs(embeddings, labels, normalize: bool = False, candidates=None,
                    candidate_labels=None, anchor_offset=0
                    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Computes every anchor's distance to every candidate, and what the candidate is to it.

    Args:
        embeddings: [n, d] of any floating type, the anchors.
        labels: [n] or [n, 1] integers.
        normalize: whether vectors are scaled to length one before distances are taken.
        candidates: [m, d], where positives and negatives are sought; the anchors themselves by
            default. To search across replicas, give the embeddings gathered from all of them.
        candidate_labels: [m], required with `candidates` and only then.
        anchor_offset: int or scalar tensor; anchor i is candidate `anchor_offset + i`, and is
            never its own positive.

    Returns:
        distances: [n, m] float32, Euclidean.
        positives, negatives: [n, m] bool, the candidates of the same and of another identity.

    Raises:
        ValueError: only one of `candidates` and `candidate_labels`.
    """
    if (candidates is None) != (candidate_labels is None):
        missing = "candidates" if candidates is None else "candidate_labels"
        raise ValueError("candidates and candidate_labels are given together or not at all. "
                         f"Received: {missing}=None")
    if normalize:
        embeddings = unit_length(embeddings)
        candidates = None if candidates is None else unit_length(candidates)
    distances = pairwise_euclidean(embeddings, candidates)
    return distances, *relations(labels, candidate_labels, anchor_offset)


def relations(labels, candidate_labels=None, anchor_offset=0) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the masks of `candidate_pairs` alone; arguments as there."""
    anchors = flat_labels(labels)[:, tf.newaxis]
    others = flat_labels(labels if candidate_labels is None else candidate_labels)[tf.newaxis, :]
    same = tf.equal(anchors, others)
    itself = tf.equal(tf.range(tf.size(anchors))[:, tf.newaxis] + tf.cast(anchor_offset, tf.int32),
                      tf.range(tf.size(others))[tf.newaxis, :])
    return tf.logical_and(same, tf.logical_not(itself)), tf.logical_not(same)


def _zero_diagonal(distances, with_itself: bool):
    if not with_itself:
        return distances
    return tf.linalg.set_diag(distances, tf.zeros(tf.shape(distances)[:1], distances.dtype))


def _safe_sqrt(squared):
    # The test is for equality with zero, not for "above zero", so that NaN stays NaN.
    is_zero = tf.equal(squared, 0.0)
    return tf.where(is_zero, 0.0, tf.sqrt(tf.where(is_zero, 1.0, squared)))
