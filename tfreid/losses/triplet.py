"""Triplet losses that mine their triplets inside a P x K batch.

Hermans et al., "In defense of the triplet loss for person re-identification" (2017), Eq. 5 (batch
hard) and Eq. 6 (batch all). Distances are Euclidean, not squared.
"""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from tfreid.losses.base import FunctionLoss, check_choice
from tfreid.losses.distances import candidate_pairs

MININGS = ("batch_hard", "batch_all")
AVERAGES = ("active", "valid")


def triplet_terms(embeddings, labels, margin: float | str = 0.3, *, mining: str = "batch_hard",
                  normalize: bool = False, average: str = "active", candidates=None,
                  candidate_labels=None, anchor_offset=0) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes numerator and denominator of the mean triplet loss for each anchor.

    The loss is sum(sums) / sum(counts). Replicas sum both over all of them before they divide, to
    obtain the loss of one large batch. An anchor without a positive or a negative has zeros.

    Args:
        embeddings: Float array [n, d], the anchors.
        labels: Integers [n] or [n, 1].
        margin: Number of the hinge max(0, d_ap - d_an + margin), or "soft" for
            log(1 + exp(d_ap - d_an)). Defaults to 0.3.
        mining: "batch_hard", each anchor's farthest positive and nearest negative, or "batch_all",
            all its triplets, for which the memory is n * m * m.
        normalize: Whether to normalise the vectors to unit length before.
        average: Which triplets "batch_all" counts: "active" those whose loss is not zero (Hermans
            et al.; with the soft margin all), "valid" all.
        candidates: As in `candidate_pairs`.
        candidate_labels: As in `candidate_pairs`.
        anchor_offset: As in `candidate_pairs`.

    Returns:
        float32 [n], the sum of the losses of each anchor's triplets, and float32 [n], how many
        triplets the mean counts, which has no gradient.

    Raises:
        ValueError: If a setting is unknown, or only one of `candidates` and `candidate_labels` is
            given.
    """
    _check_settings(mining, margin, average)
    distances, positives, negatives = candidate_pairs(
        embeddings, labels, normalize, candidates, candidate_labels, anchor_offset)
    if mining == "batch_hard":
        return _batch_hard(distances, positives, negatives, margin)
    return _batch_all(distances, positives, negatives, margin, average)


@keras.saving.register_keras_serializable(package="tfreid")
class TripletLoss(FunctionLoss):
    """Keras loss over `triplet_terms`, of labels [n] and embeddings [n, d].

    `call` returns sums * n / sum(counts), whose plain mean is the mean over the counted triplets.
    With "batch_hard" and a P x K batch, where every anchor counts, this is the loss per anchor.

    Args:
        mining: "batch_hard" or "batch_all".
        margin: As in `triplet_terms`.
        normalize: As in `triplet_terms`.
        average: As in `triplet_terms`.
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.

    Raises:
        ValueError: If a setting is unknown.

    Example:
    >>> loss = tfreid.TripletLoss(margin=0.3)
    >>> labels = np.array([0, 0, 1, 1])
    >>> embeddings = np.array([[0.0], [0.1], [0.2], [2.0]], np.float32)
    >>> round(float(loss(labels, embeddings)), 3)
    0.675
    """

    def __init__(self, mining: str = "batch_hard", margin: float | str = 0.3,
                 normalize: bool = False, average: str = "active",
                 reduction: str = "sum_over_batch_size", name: str = "triplet"):
        """Checks the settings."""
        _check_settings(mining, margin, average)
        super().__init__(reduction, name, mining=mining, margin=margin, normalize=normalize,
                         average=average)

    def terms(self, y_true, y_pred, **candidates) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns `triplet_terms`; `candidates` are its arguments for mining across replicas."""
        return triplet_terms(y_pred, y_true, **self.settings, **candidates)

    def call(self, y_true, y_pred):
        """Returns a value per anchor, [n]."""
        sums, counts = self.terms(y_true, y_pred)
        return tf.math.divide_no_nan(sums * tf.cast(tf.size(sums), tf.float32),
                                     tf.reduce_sum(counts))


def _batch_hard(distances, positives, negatives, margin):
    # The fillers are replaced before any arithmetic, which might overflow on them and leave NaN.
    farthest_positive = tf.reduce_max(tf.where(positives, distances, -1.0), axis=1)
    nearest_negative = tf.reduce_min(tf.where(negatives, distances, tf.float32.max), axis=1)
    valid = tf.logical_and(tf.reduce_any(positives, axis=1), tf.reduce_any(negatives, axis=1))
    difference = tf.where(valid, farthest_positive, 0.0) - tf.where(valid, nearest_negative, 0.0)
    losses = tf.where(valid, _with_margin(difference, margin), 0.0)
    return losses, tf.cast(valid, tf.float32)


def _batch_all(distances, positives, negatives, margin, average):
    triplets = tf.logical_and(positives[:, :, tf.newaxis], negatives[:, tf.newaxis, :])
    difference = distances[:, :, tf.newaxis] - distances[:, tf.newaxis, :]
    losses = tf.where(triplets, _with_margin(difference, margin), 0.0)
    counted = triplets
    if average == "active" and margin != "soft":
        counted = tf.logical_and(triplets, tf.not_equal(losses, 0.0))
    return (tf.reduce_sum(losses, axis=[1, 2]),
            tf.reduce_sum(tf.cast(counted, tf.float32), axis=[1, 2]))


def _with_margin(difference, margin):
    return tf.nn.softplus(difference) if margin == "soft" else tf.nn.relu(difference + margin)


def _check_settings(mining, margin, average) -> None:
    check_choice("mining", mining, MININGS)
    check_choice("average", average, AVERAGES)
    is_number = isinstance(margin, (int, float)) and not isinstance(margin, bool)
    if margin != "soft" and not (is_number and 0.0 <= margin < math.inf):
        raise ValueError('margin must be a number that is not negative, or "soft". '
                         f"Received: margin={margin!r}")
