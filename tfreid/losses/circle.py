"""The circle loss between the images of a batch, and its form for a classifier.

Sun et al., "Circle loss: a unified perspective of pair similarity optimization" (2020), with the
cosines s_p of positive and s_n of negative pairs, the scale gamma and the margin m:

    L = log(1 + sum over s_n of exp(gamma a_n (s_n - m))
              * sum over s_p of exp(-gamma a_p (s_p - (1 - m))))
    a_p = [1 + m - s_p]_+,    a_n = [s_n + m]_+

(Eq. 4-6 with the paper's O_p = 1 + m, O_n = -m, Delta_p = 1 - m and Delta_n = m.) The weights a are
constants for the gradient. With classes for images, s_p is the
cosine with the image's own class and L is the softmax cross-entropy of `circle_logits`.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfreid.losses.base import FunctionLoss, check_scale_and_margin, one_hot_mask
from tfreid.losses.distances import candidate_cosines, masked_logsumexp

SCALE, MARGIN = 128.0, 0.25


def circle_loss(embeddings, labels, scale: float = SCALE, margin: float = MARGIN,
                **candidates) -> tf.Tensor:
    """Computes the pair-wise circle loss of each anchor.

    Args:
        embeddings: Float array [n, d] of any length.
        labels: Integers [n] or [n, 1].
        scale: gamma. Defaults to 128, the paper's for person re-identification.
        margin: m, from 0 to 1. Defaults to 0.25, likewise.
        **candidates: `candidates`, `candidate_labels` and `anchor_offset` of
            `tfreid.losses.distances.candidate_pairs`, to compare with the images of all replicas.

    Returns:
        float32 [n], zero for an anchor without a positive or a negative.

    Raises:
        ValueError: If a setting is out of range, or only one of `candidates` and
            `candidate_labels` is given.
    """
    check_scale_and_margin(scale, margin)
    cosines, positives, negatives = candidate_cosines(embeddings, labels, **candidates)
    pulls = masked_logsumexp(-scale * _positive(cosines, margin), positives)
    pushes = masked_logsumexp(scale * _negative(cosines, margin), negatives)
    valid = tf.logical_and(tf.reduce_any(positives, axis=1), tf.reduce_any(negatives, axis=1))
    return tf.where(valid, tf.nn.softplus(pulls + pushes), 0.0)


def circle_logits(cosines, labels, scale: float = SCALE, margin: float = MARGIN) -> tf.Tensor:
    """Computes the logits whose softmax cross-entropy is the class-level circle loss.

    Args:
        cosines: Float array [n, c] of features with the weights of the classes.
        labels: Integers [n] or [n, 1] from 0 to c - 1.
        scale: As in `circle_loss`.
        margin: As in `circle_loss`.

    Returns:
        float32 [n, c].

    Raises:
        ValueError: If a setting is out of range.
    """
    check_scale_and_margin(scale, margin)
    cosines = tf.cast(cosines, tf.float32)
    own = one_hot_mask(labels, cosines)
    return scale * tf.where(own, _positive(cosines, margin), _negative(cosines, margin))


@keras.saving.register_keras_serializable(package="tfreid")
class CircleLoss(FunctionLoss):
    """Keras loss over `circle_loss`, of labels [n] and embeddings [n, d].

    Args:
        scale: As in `circle_loss`.
        margin: As in `circle_loss`.
        reduction: As in `keras.losses.Loss`. Defaults to the mean over the anchors of the batch.
        name: Name of the loss.

    Raises:
        ValueError: If a setting is out of range.

    Example:
    >>> loss = tfreid.CircleLoss(scale=1.0, margin=0.25)
    >>> labels, embeddings = np.array([0, 0, 1, 1]), np.eye(4, dtype=np.float32)
    >>> round(float(loss(labels, embeddings)), 3)
    1.757
    """

    def __init__(self, scale: float = SCALE, margin: float = MARGIN,
                 reduction: str = "sum_over_batch_size", name: str = "circle"):
        """Checks the settings."""
        check_scale_and_margin(scale, margin)
        super().__init__(reduction, name, scale=scale, margin=margin)

    def call(self, y_true, y_pred, **candidates):
        """Returns the loss of each anchor, [n]; `candidates` are those of `circle_loss`."""
        return circle_loss(y_pred, y_true, **self.settings, **candidates)


def _positive(cosines, margin):
    return tf.stop_gradient(tf.nn.relu(1.0 + margin - cosines)) * (cosines - (1.0 - margin))


def _negative(cosines, margin):
    return tf.stop_gradient(tf.nn.relu(cosines + margin)) * (cosines - margin)
