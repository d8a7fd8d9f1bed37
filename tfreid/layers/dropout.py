"""Dropout without a state."""

from __future__ import annotations

import zlib

import keras
import tensorflow as tf


class StatelessDropout(keras.layers.Layer):
    """Drops entries in training; which ones hangs on the input and the layer's name alone.

    The seed is the sum of the input, bit for bit, so other inputs have other masks, and a training
    that goes on from a checkpoint drops what it would have dropped, without a generator's state in
    it. What stays is divided by the share that stays (Srivastava et al., "Dropout", JMLR 2014).

    Args:
        rate: Share of the entries that are dropped, in [0, 1).

    Raises:
        ValueError: The rate lies outside.
    """

    def __init__(self, rate: float, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be from 0 to below 1, received {rate!r}")
        self.rate = rate

    def call(self, inputs, training=None):
        """Returns the inputs, in training with some entries at zero and the others scaled."""
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
