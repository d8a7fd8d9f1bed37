"""The triplet loss of dot products, on triplets that were mined before.

Source: Almazan et al., "Re-ID done right: towards good practices for person re-identification"
(2018), Eq. 1.
"""

from __future__ import annotations

import math

import keras
import tensorflow as tf


def triplet_ranking(queries, positives, negatives, margin: float = 0.1) -> tf.Tensor:
    """Computes max(0, m + q . d- - q . d+) of each triplet.

    Args:
        queries: q, [n, d] of any floating type; unit vectors in the paper.
        positives: d+, [n, d], of the query's identity.
        negatives: d-, [n, d], of another one.
        margin: m.

    Returns:
        [n] float32.

    Raises:
        ValueError: a margin that is not a finite number above 0.
    """
    _check(margin)
    queries, positives, negatives = (
        tf.cast(side, tf.float32) for side in (queries, positives, negatives))
    return tf.nn.relu(margin + tf.reduce_sum(queries * (negatives - positives), axis=1))


class TripletRankingLoss(keras.losses.Loss):
    """Computes `triplet_ranking` as a Keras loss of stacked triplets [n, 3, d]; labels are ignored.

    Args:
        margin: as in `triplet_ranking`.
        reduction, name: as in `keras.losses.Loss`.

    Raises:
        ValueError: as `triplet_ranking`.
    """

    def __init__(self, margin: float = 0.1, reduction: str = "sum_over_batch_size",
                 name: str = "triplet_ranking"):
        super().__init__(reduction=reduction, name=name)
        _check(margin)
        self.margin = margin

    def call(self, y_true, y_pred):
        return triplet_ranking(*tf.unstack(y_pred, 3, axis=1), self.margin)

    def get_config(self) -> dict:
        return {**super().get_config(), "margin": self.margin}


def _check(margin: float) -> None:
    if not 0.0 < margin < math.inf:
        raise ValueError(f"margin must be a finite number above 0. Received: margin={margin!r}")
