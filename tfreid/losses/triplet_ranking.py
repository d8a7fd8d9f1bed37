"""The triplet loss of dot products, on triplets that were mined before.

Almazan et al., "Re-ID done right: towards good practices for person re-identification" (2018),
Eq. 1.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfreid.losses.base import FunctionLoss, check_margin


def triplet_ranking(queries, positives, negatives, margin: float = 0.1) -> tf.Tensor:
    """Computes max(0, m + q . d- - q . d+) of each triplet.

    Args:
        queries: q, float array [n, d]; unit vectors in the paper.
        positives: d+, [n, d], of the query's identity.
        negatives: d-, [n, d], of another identity.
        margin: m, above 0. Defaults to 0.1.

    Returns:
        float32 [n], one loss per triplet.

    Raises:
        ValueError: If `margin` is not a finite number above 0.
    """
    check_margin(margin)
    queries, positives, negatives = (
        tf.cast(side, tf.float32) for side in (queries, positives, negatives))
    return tf.nn.relu(margin + tf.reduce_sum(queries * (negatives - positives), axis=1))


@keras.saving.register_keras_serializable(package="tfreid")
class TripletRankingLoss(FunctionLoss):
    """Keras loss over `triplet_ranking`, of stacked triplets [n, 3, d]; it ignores the labels.

    Args:
        margin: As in `triplet_ranking`.
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.

    Raises:
        ValueError: If `margin` is not a finite number above 0.

    Example:
    >>> loss = tfreid.TripletRankingLoss(margin=0.1)
    >>> triplets = np.eye(3, dtype=np.float32)[None]
    >>> round(float(loss(np.zeros(1), triplets)), 3)
    0.1
    """

    def __init__(self, margin: float = 0.1, reduction: str = "sum_over_batch_size",
                 name: str = "triplet_ranking"):
        """Checks the settings."""
        check_margin(margin)
        super().__init__(reduction, name, margin=margin)

    def call(self, y_true, y_pred):
        """Returns the loss of each triplet, [n]."""
        return triplet_ranking(*tf.unstack(y_pred, 3, axis=1), **self.settings)
