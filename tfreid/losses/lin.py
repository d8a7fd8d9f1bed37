"""The Lin loss, and with other settings the ranked list loss that it grew from.

Sources: Zhang, "Ranking and classification-driven feature learning for person re-identification",
Eq. 1-5; Wang et al., "Ranked list loss for deep metric learning" (2019).

Every image is a query once. Distances d are Euclidean between vectors of length one, so at most 2:

    positives  Lp = sum over positives of [d - r]_+ / Np                                 (Eq. 1, 2)
    negatives  Ln = sum over negatives of W [alpha - d]_+ / sum of W                     (Eq. 1, 4)
               W = exp(-d) exp(T (alpha - d))                                            (Eq. 3)
    query      Lin = Lp + Ln                                                             (Eq. 5)

with r = 0.7, alpha = 2 and T = 1 in the Lin loss. Np counts all positives of the query, those
within r too. The weights W are constants for the gradient; the paper does not say, but treats them
as a weighting. Normalised, they are softmax(-(T + 1) d), whatever alpha is.

The ranked list loss with boundary alpha and margin m is r = alpha - m, the published alpha = 1.2,
m = 0.4, T = 10, `decay=False` (no factor exp(-d)) and `pairs="active"` (Np and the weights count
only pairs that violate their boundary).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import keras
import tensorflow as tf

from tfreid.losses.distances import candidate_pairs

PAIRS = ("all", "active")


class LinTerms(NamedTuple):
    """What each query contributes, [n] float32 each.

    Attributes:
        positive_losses: Lp; zero for a query without positives.
        negative_losses: Ln; zero for a query without negatives.
        active_positives: share of its positives that lie beyond r; no gradient.
        active_negatives: share of its negatives that lie within alpha; no gradient.
    """

    positive_losses: tf.Tensor
    negative_losses: tf.Tensor
    active_positives: tf.Tensor
    active_negatives: tf.Tensor


def lin_loss(embeddings, labels, *, positive_boundary: float = 0.7,
             negative_boundary: float = 2.0, temperature: float = 1.0, decay: bool = True,
             pairs: str = "all", candidates=None, candidate_labels=None,
             anchor_offset=0) -> tf.Tensor:
    """Computes the loss of each query; a batch's loss is their sum or their mean.

    Args:
        embeddings: [n, d] of any floating type, of any length.
        labels: [n] or [n, 1] integers.
        positive_boundary: r, up to which positives cost nothing.
        negative_boundary: alpha, from which negatives cost nothing.
        temperature: T, how much nearer negatives outweigh farther ones.
        decay: whether the weights have the factor exp(-d).
        pairs: "all" averages over every positive and every negative, "active" over those that
            violate their boundary.
        candidates, candidate_labels, anchor_offset: as in `candidate_pairs`, to rank the images
            of all replicas.

    Returns:
        [n] float32.

    Raises:
        ValueError: a setting out of range, or only one of `candidates` and `candidate_labels`.
    """
    terms = lin_terms(
        embeddings, labels, positive_boundary=positive_boundary,
        negative_boundary=negative_boundary, temperature=temperature, decay=decay, pairs=pairs,
        candidates=candidates, candidate_labels=candidate_labels, anchor_offset=anchor_offset)
    return terms.positive_losses + terms.negative_losses


def lin_terms(embeddings, labels, *, positive_boundary: float = 0.7,
              negative_boundary: float = 2.0, temperature: float = 1.0, decay: bool = True,
              pairs: str = "all", candidates=None, candidate_labels=None,
              anchor_offset=0) -> LinTerms:
    """Computes the two parts of `lin_loss` apart, and how many pairs are active.

    Args and errors as in `lin_loss`.
    """
    _check_settings(positive_boundary, negative_boundary, temperature, pairs)
    distances, positives, negatives = candidate_pairs(
        embeddings, labels, normalize=True, candidates=candidates,
        candidate_labels=candidate_labels, anchor_offset=anchor_offset)
    beyond = tf.logical_and(positives, distances > positive_boundary)
    within = tf.logical_and(negatives, distances < negative_boundary)
    averaged = (positives, negatives) if pairs == "all" else (beyond, within)
    steepness = temperature + 1.0 if decay else temperature
    weights = _weights(distances, averaged[1], steepness)
    pulls = tf.where(positives, tf.nn.relu(distances - positive_boundary), 0.0)
    pushes = tf.where(negatives, tf.nn.relu(negative_boundary - distances), 0.0)
    return LinTerms(
        positive_losses=tf.math.divide_no_nan(tf.reduce_sum(pulls, axis=1), _count(averaged[0])),
        negative_losses=tf.reduce_sum(weights * pushes, axis=1),
        active_positives=tf.math.divide_no_nan(_count(beyond), _count(positives)),
        active_negatives=tf.math.divide_no_nan(_count(within), _count(negatives)),
    )


class LinLoss(keras.losses.Loss):
    """Computes `lin_loss` as a Keras loss of labels [n] and features [n, d].

    The default reduction adds over the queries of the batch.

    Args:
        positive_boundary, negative_boundary, temperature, decay, pairs: as in `lin_loss`.
        reduction, name: as in `keras.losses.Loss`.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(self, positive_boundary: float = 0.7, negative_boundary: float = 2.0,
                 temperature: float = 1.0, decay: bool = True, pairs: str = "all",
                 reduction: str = "sum", name: str = "lin"):
        super().__init__(reduction=reduction, name=name)
        _check_settings(positive_boundary, negative_boundary, temperature, pairs)
        self._settings = {
            "positive_boundary": positive_boundary, "negative_boundary": negative_boundary,
            "temperature": temperature, "decay": decay, "pairs": pairs,
        }

    def call(self, y_true, y_pred):
        return lin_loss(y_pred, y_true, **self._settings)

    def get_config(self) -> dict:
        return {**super().get_config(), **self._settings}


def _weights(distances, counted, steepness):
    """Returns [n, m] weights that add up to one over the counted pairs of a row, if any."""
    # Softmax subtracts the largest exponent, so that no temperature overflows.
    exponents = tf.where(counted, -steepness * distances, tf.float32.min)
    return tf.stop_gradient(tf.where(counted, tf.nn.softmax(exponents, axis=1), 0.0))


def _count(mask):
    return tf.reduce_sum(tf.cast(mask, tf.float32), axis=1)


def _check_settings(positive_boundary, negative_boundary, temperature, pairs) -> None:
    numbers = {"positive_boundary": positive_boundary, "negative_boundary": negative_boundary,
               "temperature": temperature}
    for name, value in numbers.items():
        if not 0.0 <= value < math.inf:
            raise ValueError(f"{name} must be finite and not negative. Received: {name}={value!r}")
    if pairs not in PAIRS:
        raise ValueError(f"pairs must be one of {', '.join(PAIRS)}. Received: pairs={pairs!r}")
