"""Triplet losses that mine their triplets inside a P x K batch.

Source: Hermans et al., "In defense of the triplet loss for person re-identification" (2017),
Eq. 5 (batch hard) and Eq. 6 (batch all). Distances are Euclidean, not squared.
"""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from tfreid.losses.distances import candidate_pairs, relations

MININGS = ("batch_hard", "batch_all")
AVERAGES = ("active", "valid")


def batch_hard_triplet(embeddings, labels, margin: float | str = 0.3, *, normalize: bool = False,
                       candidates=None, candidate_labels=None, anchor_offset=0) -> tf.Tensor:
    """Computes each anchor's loss on its farthest positive and its nearest negative.

    An anchor without a positive or without a negative contributes zero; `valid_anchors` says
    which ones those are, so that a mean can leave them out, as `triplet_terms` does.

    Args:
        embeddings: [n, d] of any floating type, the anchors.
        labels: [n] or [n, 1] integers.
        margin: a number for the hinge max(0, d_ap - d_an + margin), or "soft" for
            log(1 + exp(d_ap - d_an)).
        normalize: whether vectors are scaled to length one before distances are taken.
        candidates: [m, d], where positives and negatives are sought; the anchors themselves by
            default. To mine across replicas, give the embeddings gathered from all of them.
        candidate_labels: [m], required with `candidates` and only then.
        anchor_offset: int or scalar tensor; anchor i is candidate `anchor_offset + i`, and is
            never its own positive.

    Returns:
        [n] float32.

    Raises:
        ValueError: an unknown margin, or only one of `candidates` and `candidate_labels`.
    """
    _check_margin(margin)
    distances, positives, negatives = candidate_pairs(
        embeddings, labels, normalize, candidates, candidate_labels, anchor_offset)
    return _batch_hard(distances, positives, negatives, margin)


def batch_all_triplet(embeddings, labels, margin: float | str = 0.3, *, normalize: bool = False,
                      average: str = "active", candidates=None, candidate_labels=None,
                      anchor_offset=0) -> tf.Tensor:
    """Computes the mean loss over all triplets of the batch; the memory needed is n * m * m.

    Args:
        average: "active" divides by the number of triplets whose loss is not zero (Hermans et
            al. write BA with a "not equal 0"), "valid" by the number of all triplets. With the
            soft margin every triplet is active.
        Others: as in `batch_hard_triplet`.

    Returns:
        [] float32, zero when there is no such triplet.

    Raises:
        ValueError: an unknown margin or average, or only one of `candidates` and
            `candidate_labels`.
    """
    sums, counts = triplet_terms(
        embeddings, labels, margin, mining="batch_all", normalize=normalize, average=average,
        candidates=candidates, candidate_labels=candidate_labels, anchor_offset=anchor_offset)
    return tf.math.divide_no_nan(tf.reduce_sum(sums), tf.reduce_sum(counts))


def triplet_terms(embeddings, labels, margin: float | str = 0.3, *, mining: str = "batch_hard",
                  normalize: bool = False, average: str = "active", candidates=None,
                  candidate_labels=None, anchor_offset=0) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the numerator and the denominator of the mean loss, anchor by anchor.

    The loss is sum(sums) / sum(counts). Replicas add both over all of them before they divide,
    and so obtain the loss of one large batch.

    Args:
        mining: "batch_hard", one triplet per valid anchor, or "batch_all".
        average: which triplets "batch_all" counts; see `batch_all_triplet`.
        Others: as in `batch_hard_triplet`.

    Returns:
        sums: [n] float32, the losses of each anchor's triplets, added up.
        counts: [n] float32, how many triplets of that anchor the mean counts; no gradient.

    Raises:
        ValueError: an unknown margin, mining or average, or only one of `candidates` and
            `candidate_labels`.
    """
    _check_margin(margin)
    _check_choice("mining", mining, MININGS)
    _check_choice("average", average, AVERAGES)
    distances, positives, negatives = candidate_pairs(
        embeddings, labels, normalize, candidates, candidate_labels, anchor_offset)
    if mining == "batch_hard":
        counts = tf.cast(_has_both(positives, negatives), tf.float32)
        return _batch_hard(distances, positives, negatives, margin), counts
    return _batch_all(distances, positives, negatives, margin, average)


def valid_anchors(labels, *, candidate_labels=None, anchor_offset=0) -> tf.Tensor:
    """Tells which anchors have at least one positive and one negative among the candidates.

    Args as in `batch_hard_triplet`.

    Returns:
        [n] bool.
    """
    return _has_both(*relations(labels, candidate_labels, anchor_offset))


class TripletLoss(keras.losses.Loss):
    """Computes a triplet loss as a Keras loss of labels [n] and embeddings [n, d].

    `call` returns [n] values whose plain mean is the mean over the triplets that count: they
    are `sums * n / sum(counts)` of `triplet_terms`. With "batch_hard" and a P x K batch, where
    every anchor is valid, these are simply the losses per anchor.

    Args:
        mining: "batch_hard" or "batch_all".
        margin, normalize, average: as in `triplet_terms`.
        reduction, name: as in `keras.losses.Loss`.

    Raises:
        ValueError: an unknown margin, mining or average.
    """

    def __init__(self, mining: str = "batch_hard", margin: float | str = 0.3,
                 normalize: bool = False, average: str = "active",
                 reduction: str = "sum_over_batch_size", name: str = "triplet"):
        super().__init__(reduction=reduction, name=name)
        _check_choice("mining", mining, MININGS)
        _check_margin(margin)
        _check_choice("average", average, AVERAGES)
        self.mining = mining
        self.margin = margin
        self.normalize = normalize
        self.average = average

    def call(self, y_true, y_pred):
        sums, counts = triplet_terms(
            y_pred, y_true, self.margin, mining=self.mining, normalize=self.normalize,
            average=self.average)
        return tf.math.divide_no_nan(sums * tf.cast(tf.size(sums), tf.float32),
                                     tf.reduce_sum(counts))

    def get_config(self) -> dict:
        return {**super().get_config(), "mining": self.mining, "margin": self.margin,
                "normalize": self.normalize, "average": self.average}


def _has_both(positives, negatives):
    return tf.logical_and(tf.reduce_any(positives, axis=1), tf.reduce_any(negatives, axis=1))


def _batch_hard(distances, positives, negatives, margin):
    # The fillers are replaced before any arithmetic, which might overflow on them and leave NaN.
    farthest_positive = tf.reduce_max(tf.where(positives, distances, -1.0), axis=1)
    nearest_negative = tf.reduce_min(tf.where(negatives, distances, tf.float32.max), axis=1)
    valid = _has_both(positives, negatives)
    difference = tf.where(valid, farthest_positive, 0.0) - tf.where(valid, nearest_negative, 0.0)
    return tf.where(valid, _with_margin(difference, margin), 0.0)


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


def _check_margin(margin) -> None:
    is_number = isinstance(margin, (int, float)) and not isinstance(margin, bool)
    if margin != "soft" and not (is_number and 0.0 <= margin < math.inf):
        raise ValueError('margin must be a number that is not negative, or "soft". '
                         f"Received: margin={margin!r}")


def _check_choice(name: str, value, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}. Received: {name}={value!r}")
