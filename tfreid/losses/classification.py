"""The identity loss: softmax cross-entropy with smoothed labels."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfreid.losses.base import FunctionLoss, flat_labels


def label_smoothed_softmax(logits, labels, smoothing: float = 0.1) -> tf.Tensor:
    """Computes the cross-entropy with the target (1 - smoothing) * one_hot + smoothing / c.

    Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification" (2019),
    Eq. 2.

    Args:
        logits: Float array [n, c].
        labels: Integers [n] or [n, 1] from 0 to c - 1. Others raise an error on CPUs and give NaN
            on GPUs, never a small loss.
        smoothing: Share of the probability that is spread over all classes, from 0 (the plain
            cross-entropy) to below 1. Defaults to 0.1.

    Returns:
        float32 [n], one loss per image.

    Raises:
        ValueError: If `smoothing` is out of range.
    """
    check_smoothing(smoothing)
    logits = tf.cast(logits, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(flat_labels(labels), logits)
    if not smoothing:
        return losses
    uniform = tf.reduce_logsumexp(logits, axis=1) - tf.reduce_mean(logits, axis=1)
    return (1.0 - smoothing) * losses + smoothing * uniform


@keras.saving.register_keras_serializable(package="tfreid")
class LabelSmoothedSoftmax(FunctionLoss):
    """Keras loss over `label_smoothed_softmax`, of labels [n] and logits [n, c].

    Args:
        smoothing: As in `label_smoothed_softmax`.
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.

    Raises:
        ValueError: If `smoothing` is out of range.

    Example:
    >>> loss = tfreid.LabelSmoothedSoftmax(smoothing=0.1)
    >>> round(float(loss(np.array([0]), np.zeros((1, 4), np.float32))), 4)
    1.3863
    """

    def __init__(self, smoothing: float = 0.1, reduction: str = "sum_over_batch_size",
                 name: str = "label_smoothed_softmax"):
        """Checks the settings."""
        check_smoothing(smoothing)
        super().__init__(reduction, name, smoothing=smoothing)

    def call(self, y_true, y_pred):
        """Returns the loss of each image, [n]."""
        return label_smoothed_softmax(y_pred, y_true, **self.settings)


def check_smoothing(smoothing: float) -> None:
    """Raises a ValueError if the label smoothing is out of range."""
    if not 0.0 <= smoothing < 1.0:
        raise ValueError(f"smoothing must be in [0, 1). Received: smoothing={smoothing!r}")
