"""Instance normalisation, and its mixture with batch normalisation."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfreid.layers.normalization import batch_norm


class InstanceNormalization(keras.layers.Layer):
    """Normalises each channel of each feature map over the map's own area, then scales and shifts.

    Ulyanov et al., "Instance Normalization: The Missing Ingredient for Fast Stylization" (2016).
    The statistics are float32 at any precision, and the same in training and inference.

    Args:
        epsilon: Added to the variance.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        """Makes `gamma` and `beta` [c] for inputs [n, h, w, c]."""
        shape = (input_shape[-1],)
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")
        self.built = True

    def call(self, inputs):
        """Returns the normalised maps [n, h, w, c]."""
        x = tf.cast(inputs, tf.float32)
        mean, variance = tf.nn.moments(x, [1, 2], keepdims=True)
        gamma, beta = (tf.cast(w, tf.float32) for w in (self.gamma, self.beta))
        outputs = tf.nn.batch_normalization(x, mean, variance, beta, gamma, self.epsilon)
        return tf.cast(outputs, inputs.dtype)

    def compute_output_shape(self, input_shape):
        """Returns the input's shape."""
        return input_shape

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}


class _Halves(keras.layers.Layer):
    """Splits the channels of a feature map [n, h, w, c] into two equal parts."""

    def call(self, inputs):
        return tf.split(inputs, 2, axis=-1)

    def compute_output_shape(self, input_shape):
        half = (*input_shape[:-1], input_shape[-1] // 2)
        return [half, half]


def instance_batch_norm(x, name: str, epsilon: float = 1e-5):
    """Normalises the first half of the channels per instance and the second half over the batch.

    Pan et al., "Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net" (ECCV
    2018), Fig. 3 (a).

    Args:
        x: Feature map [n, h, w, c] with an even number of channels.
        name: The layers are `NAME_in` and `NAME_bn`, beside `NAME_halves` and `NAME_join`.
        epsilon: Added to the variances.

    Returns:
        Normalised feature map [n, h, w, c].
    """
    first, second = _Halves(name=f"{name}_halves")(x)
    first = InstanceNormalization(epsilon, name=f"{name}_in")(first)
    second = batch_norm(second, f"{name}_bn", epsilon=epsilon)
    return keras.layers.Concatenate(name=f"{name}_join")([first, second])
