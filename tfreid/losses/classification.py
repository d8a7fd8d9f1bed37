"""The identity loss: softmax cross-entropy with smoothed labels."""

from __future__ import annotations

import keras
import tensorflow as tf


def label_smoothed_softmax(logits, labels, smoothing: float = 0.1) -> tf.Tensor:
    """Computes the cross-entropy with the target (1 - smoothing) * one_hot + smoothing / c.

    Bag of Tricks (Luo et al., 2019), Eq. 2, with its smoothing of 0.1 by default; 0 gives the
    plain cross-entropy.

    Args:
        logits: [n, c] of any floating type.
        labels: [n] or [n, 1] integers from 0 to c - 1. A label outside that range is an error on
            the CPU and NaN on a GPU, never a silent small loss.
        smoothing: share of the probability spread over all classes, from 0 up to, but not
            including, 1.

    Returns:
        [n] float32, one loss per image.

    Raises:
        ValueError: `smoothing` is out of range.
    """
    _check_smoothing(smoothing)
    logits = tf.cast(logits, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(flat_labels(labels), logits)
    if not smoothing:
        return losses
    uniform = tf.reduce_logsumexp(logits, axis=1) - tf.reduce_mean(logits, axis=1)
    return (1.0 - smoothing) * losses + smoothing * uniform


class LabelSmoothedSoftmax(keras.losses.Loss):
    """Computes `label_smoothed_softmax` as a Keras loss of labels [n] and logits [n, c]."""

    def __init__(self, smoothing: float = 0.1, reduction: str = "sum_over_batch_size",
                 name: str = "label_smoothed_softmax"):
        super().__init__(reduction=reduction, name=name)
        _check_smoothing(smoothing)
        self.smoothing = smoothing

    def call(self, y_true, y_pred):
        return label_smoothed_softmax(y_pred, y_true, self.smoothing)

    def get_config(self) -> dict:
        return {**super().get_config(), "smoothing": self.smoothing}


def flat_labels(labels) -> tf.Tensor:
    """Turns labels [n] or [n, 1] of any numeric type into [n] int64.

    Keras 3 hands its losses float labels, and Keras 2 gives them a last axis of one.
    """
    return tf.reshape(tf.cast(labels, tf.int64), [-1])


def _check_smoothing(smoothing: float) -> None:
    if not 0.0 <= smoothing < 1.0:
        raise ValueError(f"smoothing must be in [0, 1). Received: smoothing={smoothing!r}")
