"""The contrastive loss of pairs: matches are drawn together, others pushed a margin apart.

    L = y d^2 + (1 - y) max(0, margin - d)^2,    y = 1 for a match, d the Euclidean distance

Two published scales of one loss, both with a margin of 1:

- "half": 1 / (2m) times the sum over the m pairs of a batch (Guo and Cheung, "Efficient and deep
  person re-identification using multi-level similarity", 2018, Eq. 4-5; the descriptors are unit
  vectors there, so d is at most 2);
- "mean": the loss of a pair without the factor 1/2, averaged over the batch (the Siamese network
  for MARS, Eq. 1.1).
"""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from tfreid.losses.distances import paired_euclidean

SCALES = ("half", "mean")


def contrastive_loss(first, second, matches, margin: float = 1.0,
                     scale: str = "half") -> tf.Tensor:
    """Computes each pair's loss from its two vectors; the batch's loss is the mean.

    The gradient at distance 0 is zero: two equal vectors that do not match cost margin^2, but have
    no direction in which to part.

    Args:
        first, second: [n, d] of any floating type; row i of both is pair i. They are compared as
            they are, so unit vectors are up to the caller.
        matches: [n] or [n, 1] of any numeric type or bool, 1 where both show one identity.
        margin: the distance from which pairs that do not match cost nothing.
        scale: "half" halves the loss, "mean" does not.

    Returns:
        [n] float32.

    Raises:
        ValueError: a margin that is not above 0, or an unknown scale.
    """
    return contrastive_from_distance(paired_euclidean(first, second), matches, margin, scale)


def contrastive_from_distance(distance, matches, margin: float = 1.0,
                              scale: str = "half") -> tf.Tensor:
    """Computes `contrastive_loss` of Euclidean distances.

    `paired_euclidean` makes distances whose gradient stays finite where they vanish.

    Args:
        distance: [n] or [n, 1] of any floating type, not squared.
        Others: as in `contrastive_loss`.

    Returns:
        [n] float32.

    Raises:
        ValueError: as `contrastive_loss`.
    """
    _check(margin, scale)
    distance = tf.reshape(tf.cast(distance, tf.float32), [-1])
    matches = tf.reshape(tf.cast(matches, tf.float32), [-1])
    losses = (matches * tf.square(distance)
              + (1.0 - matches) * tf.square(tf.nn.relu(margin - distance)))
    return 0.5 * losses if scale == "half" else losses


class ContrastiveLoss(keras.losses.Loss):
    """Computes `contrastive_from_distance` as a Keras loss of matches and distances, [n] each.

    Args:
        margin, scale: as in `contrastive_loss`.
        reduction, name: as in `keras.losses.Loss`.

    Raises:
        ValueError: as `contrastive_loss`.
    """

    def __init__(self, margin: float = 1.0, scale: str = "half",
                 reduction: str = "sum_over_batch_size", name: str = "contrastive"):
        super().__init__(reduction=reduction, name=name)
        _check(margin, scale)
        self.margin = margin
        self.scale = scale

    def call(self, y_true, y_pred):
        return contrastive_from_distance(y_pred, y_true, self.margin, self.scale)

    def get_config(self) -> dict:
        return {**super().get_config(), "margin": self.margin, "scale": self.scale}


def _check(margin: float, scale: str) -> None:
    if not 0.0 < margin < math.inf:
        raise ValueError(f"margin must be a finite number above 0. Received: margin={margin!r}")
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}. Received: scale={scale!r}")
