"""Softmax losses with a margin, for a classifier of unit vectors: ArcFace, CosFace and circle.

The classifier computes cosines of features with the weights of the classes, as
`tfreid.layers.CosineClassifier` does. A margin makes the cosine with the image's own class smaller;
what remains is scaled and goes into a softmax cross-entropy:

- ArcFace (Deng et al., "ArcFace: additive angular margin loss for deep face recognition", 2019,
  Eq. 3): cos(theta + m);
- CosFace (Wang et al., "CosFace: large margin cosine loss for deep face recognition", 2018, Eq. 4):
  cos(theta) - m;
- circle: `tfreid.losses.circle.circle_logits`.

The papers of ArcFace and CosFace scale by 64, for up to 85,000 people and long trainings. With the
hundreds of re-identification all but the nearest other class then vanish from the gradient, and
learning starts slowly. CosFace's Eq. 6 asks for at least ln(99 (c - 1)), so that an image on its
class has a probability of 0.99: 11.2 with 751 classes. 16 is enough for 89,000.
"""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from tfreid.losses.base import FunctionLoss, check_scale_and_margin, one_hot_mask
from tfreid.losses.circle import MARGIN, SCALE, circle_logits
from tfreid.losses.classification import check_smoothing, label_smoothed_softmax
from tfreid.losses.distances import safe_sqrt

SMALL_SCALE = 16.0


def arcface_logits(cosines, labels, scale: float = SMALL_SCALE, margin: float = 0.5) -> tf.Tensor:
    """Computes the logits of ArcFace.

    cos(theta + m) would rise again beyond theta = pi - m. There it is cos(theta) - m sin(m), as in
    the authors' code, so that the logit falls with the angle everywhere; at pi - m it has a step
    from -1 to -cos(m) - m sin(m). At theta = 0, where the gradient by the cosine is infinite, it is
    taken for cos(m).

    Args:
        cosines: Float array [n, c] of features with the weights of the classes.
        labels: Integers [n] or [n, 1] from 0 to c - 1.
        scale: s. Defaults to 16; see the module.
        margin: m in radians, from 0 to 1. Defaults to 0.5.

    Returns:
        float32 [n, c].

    Raises:
        ValueError: If a setting is out of range.
    """
    check_scale_and_margin(scale, margin)
    cosines = tf.cast(cosines, tf.float32)
    # Factorised, so that nothing cancels; rounding may have made a cosine larger than 1.
    sines = safe_sqrt(tf.nn.relu((1.0 - cosines) * (1.0 + cosines)))
    turned = math.cos(margin) * cosines - math.sin(margin) * sines
    beyond = cosines - margin * math.sin(margin)
    target = tf.where(cosines >= -math.cos(margin), turned, beyond)
    return scale * tf.where(one_hot_mask(labels, cosines), target, cosines)


def cosface_logits(cosines, labels, scale: float = SMALL_SCALE, margin: float = 0.35) -> tf.Tensor:
    """Computes the logits of CosFace.

    Args:
        cosines: Float array [n, c] of features with the weights of the classes.
        labels: Integers [n] or [n, 1] from 0 to c - 1.
        scale: s. Defaults to 16; see the module.
        margin: m, from 0 to 1. Defaults to 0.35.

    Returns:
        float32 [n, c].

    Raises:
        ValueError: If a setting is out of range.
    """
    check_scale_and_margin(scale, margin)
    cosines = tf.cast(cosines, tf.float32)
    return scale * tf.where(one_hot_mask(labels, cosines), cosines - margin, cosines)


class MarginSoftmax(FunctionLoss):
    """Base of the Keras losses of this module; `logits` is the function of each."""

    logits = None

    def __init__(self, scale: float, margin: float, smoothing: float, reduction: str, name: str):
        """Checks the settings."""
        check_scale_and_margin(scale, margin)
        check_smoothing(smoothing)
        super().__init__(reduction, name, scale=scale, margin=margin, smoothing=smoothing)

    def call(self, y_true, y_pred):
        """Returns the loss of each image, [n]."""
        logits = self.logits(y_pred, y_true, self.settings["scale"], self.settings["margin"])
        return label_smoothed_softmax(logits, y_true, self.settings["smoothing"])


@keras.saving.register_keras_serializable(package="tfreid")
class ArcFaceLoss(MarginSoftmax):
    """Cross-entropy of `arcface_logits`, of labels [n] and cosines [n, c].

    Args:
        scale: As in `arcface_logits`.
        margin: As in `arcface_logits`.
        smoothing: As in `tfreid.LabelSmoothedSoftmax`. Defaults to 0, as published.
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.

    Raises:
        ValueError: If a setting is out of range.

    Example:
    >>> loss = tfreid.ArcFaceLoss(scale=4.0, margin=0.5)
    >>> round(float(loss(np.array([0]), np.array([[0.8, 0.1]], np.float32))), 4)
    0.2502
    """

    logits = staticmethod(arcface_logits)

    def __init__(self, scale: float = SMALL_SCALE, margin: float = 0.5, smoothing: float = 0.0,
                 reduction: str = "sum_over_batch_size", name: str = "arcface"):
        """Checks the settings."""
        super().__init__(scale, margin, smoothing, reduction, name)


@keras.saving.register_keras_serializable(package="tfreid")
class CosFaceLoss(MarginSoftmax):
    """Cross-entropy of `cosface_logits`, of labels [n] and cosines [n, c].

    Args:
        scale: As in `cosface_logits`.
        margin: As in `cosface_logits`.
        smoothing: As in `tfreid.LabelSmoothedSoftmax`. Defaults to 0, as published.
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.

    Raises:
        ValueError: If a setting is out of range.

    Example:
    >>> loss = tfreid.CosFaceLoss(scale=4.0, margin=0.35)
    >>> round(float(loss(np.array([0]), np.array([[0.8, 0.1]], np.float32))), 4)
    0.2204
    """

    logits = staticmethod(cosface_logits)

    def __init__(self, scale: float = SMALL_SCALE, margin: float = 0.35, smoothing: float = 0.0,
                 reduction: str = "sum_over_batch_size", name: str = "cosface"):
        """Checks the settings."""
        super().__init__(scale, margin, smoothing, reduction, name)


@keras.saving.register_keras_serializable(package="tfreid")
class CircleClassifierLoss(MarginSoftmax):
    """Cross-entropy of `circle_logits`, of labels [n] and cosines [n, c].

    Args:
        scale: As in `tfreid.losses.circle.circle_logits`.
        margin: As in `tfreid.losses.circle.circle_logits`.
        smoothing: As in `tfreid.LabelSmoothedSoftmax`. Defaults to 0, as published.
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.

    Raises:
        ValueError: If a setting is out of range.

    Example:
    >>> loss = tfreid.CircleClassifierLoss(scale=4.0, margin=0.25)
    >>> round(float(loss(np.array([0]), np.array([[0.8, 0.1]], np.float32))), 4)
    0.5544
    """

    logits = staticmethod(circle_logits)

    def __init__(self, scale: float = SCALE, margin: float = MARGIN, smoothing: float = 0.0,
                 reduction: str = "sum_over_batch_size", name: str = "circle_classifier"):
        """Checks the settings."""
        super().__init__(scale, margin, smoothing, reduction, name)
