"""The Lin loss, and with other settings the ranked list loss that it grew from.

Zhang, "Ranking and classification-driven feature learning for person re-identification", Eq. 1-5;
Wang et al., "Ranked list loss for deep metric learning" (2019).

Every image is a query once. Distances d are Euclidean between unit vectors, so at most 2:

    positives  Lp = sum over positives of [d - r]_+ / Np                                 (Eq. 1, 2)
    negatives  Ln = sum over negatives of W [alpha - d]_+ / sum of W                     (Eq. 1, 4)
               W = exp(-d) exp(T (alpha - d))                                            (Eq. 3)
    query      Lin = Lp + Ln                                                             (Eq. 5)

with r = 0.7, alpha = 2 and T = 1 in the Lin loss. Np counts all positives of the query, also those
within r. Normalised, the weights W are softmax(-(T + 1) d) for any alpha. By default they are
constants for the gradient, which the paper implies but does not state; its published code lets the
gradient through them (`weight_gradient`) and has no factor exp(-d) (`decay=False`).

The ranked list loss with boundary alpha and margin m is r = alpha - m, the published alpha = 1.2,
m = 0.4, T = 10, `decay=False` (no factor exp(-d)) and `pairs="active"` (Np and the weights count
only pairs that violate their boundary).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import keras
import tensorflow as tf

from tfreid.losses.base import FunctionLoss, check_choice
from tfreid.losses.distances import candidate_pairs

PAIRS = ("all", "active")


class LinTerms(NamedTuple):
    """What each query contributes, float32 [n] each; its loss is the sum of the first two.

    Attributes:
        positive_losses: Lp; zero for a query without positives.
        negative_losses: Ln; zero for a query without negatives.
        active_positives: Share of its positives farther away than r; no gradient.
        active_negatives: Share of its negatives nearer than alpha; no gradient.
    """

    positive_losses: tf.Tensor
    negative_losses: tf.Tensor
    active_positives: tf.Tensor
    active_negatives: tf.Tensor


def lin_terms(embeddings, labels, *, positive_boundary: float = 0.7,
              negative_boundary: float = 2.0, temperature: float = 1.0, decay: bool = True,
              pairs: str = "all", weight_gradient: bool = False, candidates=None,
              candidate_labels=None, anchor_offset=0) -> LinTerms:
    """Computes both parts of the loss of each query, and how many pairs are active.

    Args:
        embeddings: Float array [n, d] of any length.
        labels: Integers [n] or [n, 1].
        positive_boundary: r, up to which positives cost nothing. Defaults to 0.7.
        negative_boundary: alpha, from which negatives cost nothing. Defaults to 2.
        temperature: T, how much nearer negatives outweigh farther ones. Defaults to 1.
        decay: Whether the weights have the factor exp(-d).
        pairs: "all" averages over all positives and negatives, "active" over those that violate
            their boundary.
        weight_gradient: Whether the gradient also goes through the weights W, instead of taking
            them for constants. Defaults to False.
        candidates: As in `candidate_pairs`, to rank the images of all replicas.
        candidate_labels: As in `candidate_pairs`.
        anchor_offset: As in `candidate_pairs`.

    Returns:
        The terms; the batch's loss is the sum or the mean of `positive_losses + negative_losses`.

    Raises:
        ValueError: If a setting is out of range, or only one of `candidates` and
            `candidate_labels` is given.
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
    if not weight_gradient:
        weights = tf.stop_gradient(weights)
    pulls = tf.where(positives, tf.nn.relu(distances - positive_boundary), 0.0)
    pushes = tf.where(negatives, tf.nn.relu(negative_boundary - distances), 0.0)
    return LinTerms(
        positive_losses=tf.math.divide_no_nan(tf.reduce_sum(pulls, axis=1), _count(averaged[0])),
        negative_losses=tf.reduce_sum(weights * pushes, axis=1),
        active_positives=tf.math.divide_no_nan(_count(beyond), _count(positives)),
        active_negatives=tf.math.divide_no_nan(_count(within), _count(negatives)),
    )


@keras.saving.register_keras_serializable(package="tfreid")
class LinLoss(FunctionLoss):
    """Keras loss over `lin_terms`, of labels [n] and features [n, d].

    Args:
        positive_boundary: As in `lin_terms`.
        negative_boundary: As in `lin_terms`.
        temperature: As in `lin_terms`.
        decay: As in `lin_terms`.
        pairs: As in `lin_terms`.
        weight_gradient: As in `lin_terms`.
        reduction: As in `keras.losses.Loss`. Defaults to the mean over the queries of the batch.
        name: Name of the loss.

    Raises:
        ValueError: If a setting is out of range.

    Example:
    >>> loss = tfreid.LinLoss(reduction="none")
    >>> loss(np.array([0, 0, 1, 1]), np.eye(4, dtype=np.float32)).shape
    TensorShape([4])
    """

    def __init__(self, positive_boundary: float = 0.7, negative_boundary: float = 2.0,
                 temperature: float = 1.0, decay: bool = True, pairs: str = "all",
                 weight_gradient: bool = False, reduction: str = "sum_over_batch_size",
                 name: str = "lin"):
        """Checks the settings."""
        _check_settings(positive_boundary, negative_boundary, temperature, pairs)
        super().__init__(
            reduction, name, positive_boundary=positive_boundary,
            negative_boundary=negative_boundary, temperature=temperature, decay=decay, pairs=pairs,
            weight_gradient=weight_gradient)

    def terms(self, y_true, y_pred, **candidates) -> LinTerms:
        """Returns `lin_terms`; `candidates` are its arguments for ranking across replicas."""
        return lin_terms(y_pred, y_true, **self.settings, **candidates)

    def call(self, y_true, y_pred):
        """Returns the loss of each query, [n]."""
        terms = self.terms(y_true, y_pred)
        return terms.positive_losses + terms.negative_losses


def _weights(distances, counted, steepness):
    """Returns weights [n, m] that sum to one over the counted pairs of a row, if there are any."""
    # Softmax subtracts the largest exponent, so that no temperature overflows.
    exponents = tf.where(counted, -steepness * distances, tf.float32.min)
    return tf.where(counted, tf.nn.softmax(exponents, axis=1), 0.0)


def _count(mask):
    return tf.reduce_sum(tf.cast(mask, tf.float32), axis=1)


def _check_settings(positive_boundary, negative_boundary, temperature, pairs) -> None:
    numbers = {"positive_boundary": positive_boundary, "negative_boundary": negative_boundary,
               "temperature": temperature}
    for name, value in numbers.items():
        if not 0.0 <= value < math.inf:
            raise ValueError(f"{name} must be finite and not negative. Received: {name}={value!r}")
    check_choice("pairs", pairs, PAIRS)
