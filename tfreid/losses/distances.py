"""Distances and cosines between embeddings, and which images are positives and negatives.

Both are float32 and have finite gradients.
"""

from __future__ import annotations

import tensorflow as tf

from tfreid.losses.base import flat_labels

# Low enough for exp to be 0 beside any value, high enough for sums of two to be finite.
_LOWEST = -1e37


def pairwise_squared_euclidean(a, b=None) -> tf.Tensor:
    """Computes ||a_i - b_j||^2 for every pair.

    Both sides are shifted by the mean of `b` before the multiplication: distances do not depend on
    the shift, but the rounding error grows with the length of the vectors, and pooled activations
    have a large common mean. (TensorFloat-32 on GPUs rounds more coarsely:
    `tf.config.experimental.enable_tensor_float_32_execution(False)` turns it off.)

    Args:
        a: Float array [n, d].
        b: Float array [m, d]. `None`, or the same object as `a`, compares `a` with itself and makes
            the diagonal exactly zero.

    Returns:
        float32 [n, m], never negative.
    """
    with_itself = b is None or b is a
    a = tf.cast(a, tf.float32)
    b = a if with_itself else tf.cast(b, tf.float32)
    # A shift common to both sides has no gradient.
    shift = tf.stop_gradient(tf.reduce_mean(b, axis=0, keepdims=True))
    a = a - shift
    b = a if with_itself else b - shift
    squares_a = tf.reduce_sum(tf.square(a), axis=1)[:, tf.newaxis]
    squares_b = tf.reduce_sum(tf.square(b), axis=1)[tf.newaxis, :]
    squared = tf.maximum(squares_a + squares_b - 2.0 * tf.matmul(a, b, transpose_b=True), 0.0)
    if not with_itself:
        return squared
    return tf.linalg.set_diag(squared, tf.zeros(tf.shape(squared)[:1]))


def pairwise_euclidean(a, b=None) -> tf.Tensor:
    """Computes ||a_i - b_j|| for every pair; the gradient at distance zero is zero, not infinite.

    Args:
        a: As in `pairwise_squared_euclidean`.
        b: As in `pairwise_squared_euclidean`.

    Returns:
        float32 [n, m], never negative.
    """
    return safe_sqrt(pairwise_squared_euclidean(a, b))


def exact_pairwise_euclidean(a, b) -> tf.Tensor:
    """Computes ||a_i - b_j|| for every pair from the differences, exactly 0 for equal rows.

    `pairwise_euclidean` is faster and off by up to 5e-4 near 0, where 1 / distance magnifies it.

    Args:
        a: Float array [n, d].
        b: Float array [m, d].

    Returns:
        float32 [n, m], never negative.
    """
    return tf.map_fn(lambda row: paired_euclidean(row[tf.newaxis], b), tf.cast(a, tf.float32))


def paired_euclidean(a, b) -> tf.Tensor:
    """Computes ||a_i - b_i|| row by row; the gradient at distance zero is zero, not infinite.

    Args:
        a: Float array [n, d], or [1, d] for all rows of `b`.
        b: Float array [n, d].

    Returns:
        float32 [n], never negative.
    """
    differences = tf.cast(a, tf.float32) - tf.cast(b, tf.float32)
    return safe_sqrt(tf.reduce_sum(tf.square(differences), axis=1))


def unit_length(embeddings) -> tf.Tensor:
    """Divides each row of [n, d] by its Euclidean length, in float32; zero rows stay zero."""
    return tf.math.l2_normalize(tf.cast(embeddings, tf.float32), axis=1)


def candidate_pairs(embeddings, labels, normalize: bool = False, candidates=None,
                    candidate_labels=None, anchor_offset=0
                    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Computes every anchor's distance to every candidate, and which candidates are positives.

    Args:
        embeddings: Float array [n, d], the anchors.
        labels: Integers [n] or [n, 1].
        normalize: Whether to normalise the vectors to unit length before.
        candidates: Float array [m, d], in which positives and negatives are sought, such as the
            embeddings gathered from all replicas. Defaults to the anchors.
        candidate_labels: Integers [m], required with `candidates` and only then.
        anchor_offset: Integer or scalar tensor. Anchor i is candidate `anchor_offset + i`, and is
            never its own positive.

    Returns:
        Euclidean distances, float32 [n, m], and two bool masks [n, m] of the candidates of the same
        and of another identity.

    Raises:
        ValueError: If only one of `candidates` and `candidate_labels` is given.
    """
    _check_candidates(candidates, candidate_labels)
    if normalize:
        embeddings = unit_length(embeddings)
        candidates = None if candidates is None else unit_length(candidates)
    distances = pairwise_euclidean(embeddings, candidates)
    return distances, *_positives_and_negatives(labels, candidate_labels, anchor_offset)


def candidate_cosines(embeddings, labels, candidates=None, candidate_labels=None, anchor_offset=0
                      ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Computes every anchor's cosine with every candidate, and which candidates are positives.

    Args:
        embeddings: As in `candidate_pairs`.
        labels: As in `candidate_pairs`.
        candidates: As in `candidate_pairs`.
        candidate_labels: As in `candidate_pairs`.
        anchor_offset: As in `candidate_pairs`.

    Returns:
        Cosines, float32 [n, m], and two bool masks [n, m] of the candidates of the same and of
        another identity.

    Raises:
        ValueError: If only one of `candidates` and `candidate_labels` is given.
    """
    _check_candidates(candidates, candidate_labels)
    anchors = unit_length(embeddings)
    others = anchors if candidates is None else unit_length(candidates)
    cosines = tf.matmul(anchors, others, transpose_b=True)
    return cosines, *_positives_and_negatives(labels, candidate_labels, anchor_offset)


def masked_logsumexp(values, mask) -> tf.Tensor:
    """Computes log(sum(exp(.))) over the entries of each row that a mask selects.

    Args:
        values: float32 [n, m].
        mask: bool [n, m].

    Returns:
        float32 [n], without a selected entry so low that its exponential is 0; its gradient is
        finite everywhere.
    """
    return tf.reduce_logsumexp(tf.where(mask, values, _LOWEST), axis=1)


def safe_sqrt(squared) -> tf.Tensor:
    """Computes the square root, whose gradient at zero is zero, not infinite."""
    # The test is for equality with zero, not for "above zero", so that NaN stays NaN.
    is_zero = tf.equal(squared, 0.0)
    return tf.where(is_zero, 0.0, tf.sqrt(tf.where(is_zero, 1.0, squared)))


def _check_candidates(candidates, candidate_labels):
    if (candidates is None) != (candidate_labels is None):
        missing = "candidates" if candidates is None else "candidate_labels"
        raise ValueError("candidates and candidate_labels must be given together or not at all. "
                         f"Received: {missing}=None")


def _positives_and_negatives(labels, candidate_labels, anchor_offset):
    """Returns the masks [n, m] of `candidate_pairs`."""
    anchors = flat_labels(labels)[:, tf.newaxis]
    others = flat_labels(labels if candidate_labels is None else candidate_labels)[tf.newaxis, :]
    same = tf.equal(anchors, others)
    itself = tf.equal(tf.range(tf.size(anchors))[:, tf.newaxis] + tf.cast(anchor_offset, tf.int32),
                      tf.range(tf.size(others))[tf.newaxis, :])
    return tf.logical_and(same, tf.logical_not(itself)), tf.logical_not(same)
