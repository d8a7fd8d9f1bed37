"""The softmax cross-entropy over "no match" and "match" of a pair of images."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfreid.losses.classification import label_smoothed_softmax


def pair_softmax(logits, matches) -> tf.Tensor:
    """Computes each pair's -log p(y), y = 1 for a match.

    Guo and Cheung, "Efficient and deep person re-identification using multi-level similarity"
    (2018), Eq. 3, which is printed without the logarithm and its sign; its mean over the batch is
    the loss there.

    Args:
        logits: [n, 2] of any floating type: of no match (0) and of a match (1).
        matches: [n] or [n, 1] of any numeric type or bool, 1 where both images show one identity.

    Returns:
        [n] float32.

    Raises:
        ValueError: `logits` has not two columns.
    """
    logits = tf.convert_to_tensor(logits)
    if logits.shape[-1] not in (2, None):
        raise ValueError("logits must have the columns no match and match. "
                         f"Received: shape {tuple(logits.shape)}")
    return label_smoothed_softmax(logits, matches, smoothing=0.0)


class PairSoftmax(keras.losses.Loss):
    """Computes `pair_softmax` as a Keras loss of matches [n] and logits [n, 2]."""

    def __init__(self, reduction: str = "sum_over_batch_size", name: str = "pair_softmax"):
        super().__init__(reduction=reduction, name=name)

    def call(self, y_true, y_pred):
        return pair_softmax(y_pred, y_true)
