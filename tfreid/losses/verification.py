"""The binary cross-entropy of pairs: is this one person or two?"""

from __future__ import annotations

import keras
import tensorflow as tf


def verification_loss(logits, matches) -> tf.Tensor:
    """Computes each pair's -(y log p + (1 - y) log(1 - p)), p = sigmoid(logit), y = 1 for a match.

    Bojja, "Metric Learning for Person ReIdentification task", Eq. 1.2, where the second term is
    missing in print: without it p = 1 for every pair would cost nothing. It equals `pair_softmax`
    of the logits 0 and logit. The batch's loss is the mean.

    Args:
        logits: [n] or [n, 1] of any floating type: of a match.
        matches: [n] or [n, 1] of any numeric type or bool, 1 where both images show one identity.

    Returns:
        [n] float32.
    """
    logits = tf.reshape(tf.cast(logits, tf.float32), [-1])
    matches = tf.reshape(tf.cast(matches, tf.float32), [-1])
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=matches, logits=logits)


class VerificationLoss(keras.losses.Loss):
    """Computes `verification_loss` as a Keras loss of matches [n] and logits [n]."""

    def __init__(self, reduction: str = "sum_over_batch_size", name: str = "verification"):
        super().__init__(reduction=reduction, name=name)

    def call(self, y_true, y_pred):
        return verification_loss(y_pred, y_true)
