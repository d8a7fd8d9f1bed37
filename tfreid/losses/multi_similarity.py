"""The multi-similarity loss, which mines its pairs in the batch.

Wang et al., "Multi-similarity loss with general pair weighting for deep metric learning" (2019).
Of the pairs of an anchor, with cosines S, those count that are not easy by the margin epsilon:

    a negative     if S > the smallest S of a positive - epsilon
    a positive     if S < the largest S of a negative + epsilon

    L = 1/alpha log(1 + sum over positives of exp(-alpha (S - lambda)))
      + 1/beta log(1 + sum over negatives of exp(beta (S - lambda)))
"""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from tfreid.losses.base import FunctionLoss, check_positive
from tfreid.losses.distances import candidate_cosines, masked_logsumexp


def multi_similarity_loss(embeddings, labels, positive_scale: float = 2.0,
                          negative_scale: float = 50.0, threshold: float = 0.5,
                          mining_margin: float = 0.1, **candidates) -> tf.Tensor:
    """Computes the multi-similarity loss of each anchor.

    Args:
        embeddings: Float array [n, d] of any length.
        labels: Integers [n] or [n, 1].
        positive_scale: alpha. Defaults to 2.
        negative_scale: beta. Defaults to 50.
        threshold: lambda, from -1 to 1. Defaults to 0.5, as in the authors' code; the paper's text
            has 1.
        mining_margin: epsilon, not negative; from 2 on, all pairs count. Defaults to 0.1.
        **candidates: `candidates`, `candidate_labels` and `anchor_offset` of
            `tfreid.losses.distances.candidate_pairs`, to compare with the images of all replicas.

    Returns:
        float32 [n], zero for an anchor without a positive or a negative.

    Raises:
        ValueError: If a setting is out of range, or only one of `candidates` and
            `candidate_labels` is given.
    """
    _check_settings(positive_scale, negative_scale, threshold, mining_margin)
    cosines, positives, negatives = candidate_cosines(embeddings, labels, **candidates)
    positives, negatives = _mined(cosines, positives, negatives, mining_margin)
    above = cosines - threshold
    pulls = tf.nn.softplus(masked_logsumexp(-positive_scale * above, positives))
    pushes = tf.nn.softplus(masked_logsumexp(negative_scale * above, negatives))
    return pulls / positive_scale + pushes / negative_scale


@keras.saving.register_keras_serializable(package="tfreid")
class MultiSimilarityLoss(FunctionLoss):
    """Keras loss over `multi_similarity_loss`, of labels [n] and embeddings [n, d].

    Args:
        positive_scale: As in `multi_similarity_loss`.
        negative_scale: As in `multi_similarity_loss`.
        threshold: As in `multi_similarity_loss`.
        mining_margin: As in `multi_similarity_loss`.
        reduction: As in `keras.losses.Loss`. Defaults to the mean over the anchors of the batch.
        name: Name of the loss.

    Raises:
        ValueError: If a setting is out of range.

    Example:
    >>> loss = tfreid.MultiSimilarityLoss()
    >>> labels, embeddings = np.array([0, 0, 1, 1]), np.eye(4, dtype=np.float32)
    >>> round(float(loss(labels, embeddings)), 3)
    0.657
    """

    def __init__(self, positive_scale: float = 2.0, negative_scale: float = 50.0,
                 threshold: float = 0.5, mining_margin: float = 0.1,
                 reduction: str = "sum_over_batch_size", name: str = "multi_similarity"):
        """Checks the settings."""
        _check_settings(positive_scale, negative_scale, threshold, mining_margin)
        super().__init__(reduction, name, positive_scale=positive_scale,
                         negative_scale=negative_scale, threshold=threshold,
                         mining_margin=mining_margin)

    def call(self, y_true, y_pred, **candidates):
        """Returns the loss of each anchor, [n]; `candidates` as in the function."""
        return multi_similarity_loss(y_pred, y_true, **self.settings, **candidates)


def _mined(cosines, positives, negatives, margin):
    """Returns the masks [n, m] of the pairs that count, none for an anchor without either kind."""
    # The fillers keep anchors without the one kind from taking any of the other.
    least_positive = tf.reduce_min(tf.where(positives, cosines, math.inf), axis=1, keepdims=True)
    most_negative = tf.reduce_max(tf.where(negatives, cosines, -math.inf), axis=1, keepdims=True)
    # "Not easy" instead of "hard", so that NaN counts and shows.
    easy_positives = cosines >= most_negative + margin
    easy_negatives = cosines <= least_positive - margin
    return (tf.logical_and(positives, tf.logical_not(easy_positives)),
            tf.logical_and(negatives, tf.logical_not(easy_negatives)))


def _check_settings(positive_scale, negative_scale, threshold, mining_margin):
    check_positive("positive_scale", positive_scale)
    check_positive("negative_scale", negative_scale)
    if not -1.0 <= threshold <= 1.0:
        raise ValueError(f"threshold must be from -1 to 1. Received: threshold={threshold!r}")
    if not 0.0 <= mining_margin < math.inf:
        raise ValueError("mining_margin must be finite and not negative. "
                         f"Received: mining_margin={mining_margin!r}")
