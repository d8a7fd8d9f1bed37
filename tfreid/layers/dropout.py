"""Dropout without a random state."""

from __future__ import annotations

import zlib

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfreid")
class StatelessDropout(keras.layers.Layer):
    """Dropout whose mask depends only on the input and the layer's name.

    The seed is the bit pattern of the input's sum, so different inputs have different masks, and
    training resumed from a checkpoint drops the same entries without a saved generator state. The
    kept entries are divided by their share (Srivastava et al., "Dropout", JMLR 2014).

    Args:
        rate: Share of the entries to drop, in [0, 1).
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: If `rate` is out of range.
    """

    def __init__(self, rate: float, **kwargs):
        """Checks the rate."""
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be from 0 to below 1, received {rate!r}")
        self.rate = rate

    def call(self, inputs, training=None):
        """Returns the inputs, in training with some entries zero and the others scaled."""
        if not training or not self.rate:
            return inputs
        total = tf.reduce_sum(tf.cast(inputs, tf.float32))
        seed = tf.stack([tf.bitcast(total, tf.int32),
                         tf.constant(zlib.crc32(self.name.encode()) >> 1, tf.int32)])
        kept = tf.random.stateless_uniform(tf.shape(inputs), seed) >= self.rate
        return tf.where(kept, inputs / (1 - self.rate), tf.zeros_like(inputs))

    def compute_output_shape(self, input_shape):
        """Returns the input's shape."""
        return input_shape

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "rate": self.rate}
