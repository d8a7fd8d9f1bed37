"""The classifier of the losses with a margin: cosines of features with the weights of classes."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfreid")
class CosineClassifier(keras.layers.Layer):
    """Computes the cosine of each feature with the weights of each class, in float32.

    Its one weight `kernel` [d, c] has the name and shape of a dense layer's without bias, so that
    files of weights fit both. It starts with columns of about unit length, since a step of the
    optimizer turns a shorter one further.

    Args:
        units: Number of classes.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        """Creates the weights for features [n, d]."""
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[-1], self.units),
            initializer=keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal"))
        self.built = True

    def call(self, inputs):
        """Returns the cosines [n, c]; a feature of zeros has zeros."""
        features = tf.math.l2_normalize(tf.cast(inputs, tf.float32), axis=1)
        classes = tf.math.l2_normalize(tf.cast(self.kernel, tf.float32), axis=0)
        return tf.matmul(features, classes)

    def compute_output_shape(self, input_shape):
        """Returns [n, c]."""
        return (input_shape[0], self.units)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "units": self.units}
