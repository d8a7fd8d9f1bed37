"""Pooling: of feature maps to one vector per image, and of maps inside backbones."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfreid")
class GeneralizedMeanPooling(keras.layers.Layer):
    """Pools by the generalised mean (GeM) with one trainable exponent.

    Computes (mean over the area of max(x, epsilon)^p)^(1/p) of Radenovic et al., "Fine-tuning CNN
    Image Retrieval with No Human Annotation" (TPAMI 2019), Eq. 3, in float32: p = 1 averages, and
    a growing p approaches the maximum.

    Args:
        p: The exponent before training.
        epsilon: Smallest activation; it keeps the gradient of the powers finite.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, p: float = 3.0, epsilon: float = 1e-6, **kwargs):
        """Keeps the settings."""
        super().__init__(**kwargs)
        self.initial_p = p
        self.epsilon = epsilon

    def build(self, input_shape):
        """Creates the exponent, a scalar."""
        self.p = self.add_weight(
            name="p", shape=(), initializer=keras.initializers.Constant(self.initial_p)
        )
        self.built = True

    def call(self, inputs):
        """Pools maps [n, h, w, c] to vectors [n, c]."""
        x = tf.maximum(tf.cast(inputs, tf.float32), self.epsilon)
        p = tf.cast(self.p, tf.float32)
        # Dividing by the maximum first keeps large activations from overflowing in the power.
        peak = tf.stop_gradient(tf.reduce_max(x, [1, 2], keepdims=True))
        mean = tf.reduce_mean(tf.pow(x / peak, p), [1, 2])
        return tf.cast(tf.pow(mean, 1.0 / p) * peak[:, 0, 0, :], self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Returns [n, c]."""
        return (input_shape[0], input_shape[-1])

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "p": self.initial_p, "epsilon": self.epsilon}


POOLINGS = {
    "average": keras.layers.GlobalAveragePooling2D,
    "max": keras.layers.GlobalMaxPooling2D,
    "gem": GeneralizedMeanPooling,
    "flatten": keras.layers.Flatten,
}


def pool(x, method: str, name: str = "pool"):
    """Pools a feature map [n, h, w, c] to one vector per image.

    Args:
        x: Feature map [n, h, w, c].
        method: "average", "max", "gem", or "flatten", which keeps all values.
        name: Name of the layer.

    Returns:
        [n, c]; [n, h * w * c] for "flatten".

    Raises:
        ValueError: If `method` is unknown.
    """
    if method not in POOLINGS:
        raise ValueError(f"method must be one of {', '.join(POOLINGS)}, got {method!r}")
    return POOLINGS[method](name=name)(x)


def max_pool_3x3(x, name: str):
    """Halves a feature map [n, h, w, c] by 3x3 maxima around every second position.

    As with padding 1: at stride 1 "same" pads evenly and ignores what lies beyond the border, where
    zeros would exceed the negative values of a map without ReLU.
    """
    x = keras.layers.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_max")(x)
    return keras.layers.MaxPooling2D(1, strides=2, name=name)(x)


def max_pool_3x3_ceil(x, name: str):
    """Halves a feature map [n, h, w, c] after a ReLU by 3x3 maxima from the corner on.

    The last window may reach one beyond an even side (PyTorch's `ceil_mode`). Padding with zeros is
    safe because the map is never negative; no window reaches the padding of an odd side.
    """
    x = keras.layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x)
    return keras.layers.MaxPooling2D(3, strides=2, name=name)(x)
