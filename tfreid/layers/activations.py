"""Piecewise linear activations, which Keras 2 and 3 define differently."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfreid")
class HardSigmoid(keras.layers.Layer):
    """Approximates the sigmoid by min(max(x + 3, 0), 6) / 6.

    Howard et al., "Searching for MobileNetV3" (ICCV 2019), Section 5.2.
    """

    def call(self, inputs):
        """Maps a tensor of any shape to 0..1."""
        return tf.nn.relu6(inputs + 3.0) / 6.0

    def compute_output_shape(self, input_shape):
        """Returns the input's shape."""
        return input_shape


@keras.saving.register_keras_serializable(package="tfreid")
class HardSwish(HardSigmoid):
    """Weights each value by its hard sigmoid: x * min(max(x + 3, 0), 6) / 6.

    Howard et al., "Searching for MobileNetV3" (ICCV 2019), Section 5.2.
    """

    def call(self, inputs):
        """Weights the values of a tensor of any shape."""
        return inputs * super().call(inputs)
