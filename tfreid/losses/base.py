"""What the losses share: the Keras class over a pure function, labels, and checks of settings."""

from __future__ import annotations

import math

import keras
import tensorflow as tf


class FunctionLoss(keras.losses.Loss):
    """Base of the Keras losses, whose `call` applies a pure function with the loss's settings.

    Args:
        reduction: As in `keras.losses.Loss`; "none" returns one value per image or pair.
        name: Name of the loss.
        **settings: The other arguments of the constructor, which are part of the configuration.
    """

    def __init__(self, reduction: str, name: str, **settings):
        """Keeps the settings."""
        super().__init__(reduction=reduction, name=name)
        self.settings = settings

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {**super().get_config(), **self.settings}


def flat_labels(labels) -> tf.Tensor:
    """Turns labels [n] or [n, 1] of any numeric type into [n] int64.

    Keras 3 passes float labels to its losses, and Keras 2 adds a last axis of one.
    """
    return tf.reshape(tf.cast(labels, tf.int64), [-1])


def one_hot_mask(labels, logits) -> tf.Tensor:
    """Returns the bool mask [n, c] of each row's own class, for labels [n] or [n, 1]."""
    return tf.one_hot(flat_labels(labels), tf.shape(logits)[1], True, False, dtype=tf.bool)


def flat_floats(values) -> tf.Tensor:
    """Turns values [n] or [n, 1] of any numeric type or bool into [n] float32."""
    return tf.reshape(tf.cast(values, tf.float32), [-1])


def check_choice(name: str, value, choices: tuple[str, ...]) -> None:
    """Raises a ValueError if a setting is none of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}. Received: {name}={value!r}")


def check_margin(margin: float) -> None:
    """Raises a ValueError if a margin is not a finite number above 0."""
    check_positive("margin", margin)


def check_positive(name: str, value: float) -> None:
    """Raises a ValueError if a setting is not a finite number above 0."""
    if not 0.0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number above 0. Received: {name}={value!r}")


def check_scale_and_margin(scale: float, margin: float) -> None:
    """Raises a ValueError if the scale is not above 0 or the margin of cosines not from 0 to 1."""
    check_positive("scale", scale)
    if not 0.0 <= margin <= 1.0:
        raise ValueError(f"margin must be from 0 to 1. Received: margin={margin!r}")
