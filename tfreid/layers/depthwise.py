"""Depthwise convolution."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfreid.layers.convolution import he_normal


class DepthwiseConv2D(keras.layers.Layer):
    """Convolves every channel with its own filter, without bias.

    Padding is (kernel_size - 1) / 2 on every side at any stride, as PyTorch weights expect. Unlike
    Keras's layer, it names its weight `depthwise_kernel` on Keras 2 and 3.

    Args:
        kernel_size: Odd side of the filters.
        strides: Stride in both directions.
    """

    def __init__(self, kernel_size: int = 3, strides: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = kernel_size
        self.strides = strides

    def build(self, input_shape):
        """Makes the filters [kernel_size, kernel_size, c, 1] for inputs [n, h, w, c]."""
        self.depthwise_kernel = self.add_weight(
            name="depthwise_kernel",
            shape=(self.kernel_size, self.kernel_size, input_shape[-1], 1),
            # In this shape Keras's fan-in, 9c at size 3, is what PyTorch calls the fan-out.
            initializer=he_normal("fan_in"),
        )
        self.built = True

    def call(self, inputs):
        """Returns the filtered maps [n, ceil(h / strides), ceil(w / strides), c]."""
        padding = "SAME"
        if self.strides > 1:
            side = [self.kernel_size // 2] * 2
            inputs = tf.pad(inputs, [[0, 0], side, side, [0, 0]])
            padding = "VALID"
        strides = [1, self.strides, self.strides, 1]
        return tf.nn.depthwise_conv2d(inputs, self.depthwise_kernel, strides, padding)

    def compute_output_shape(self, input_shape):
        """Returns [n, ceil(h / strides), ceil(w / strides), c]."""
        batch, *sides, channels = input_shape
        sides = (None if side is None else -(-side // self.strides) for side in sides)
        return (batch, *sides, channels)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "strides": self.strides,
        }
