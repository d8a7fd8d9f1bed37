"""A 3x3 depthwise convolution."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfreid.layers.convolution import he_normal


class DepthwiseConv3x3(keras.layers.Layer):
    """Convolves every channel with its own 3x3 filter: stride 1, same padding, no bias.

    Unlike Keras's layer, it names its weight `depthwise_kernel` on Keras 2 and 3.
    """

    def build(self, input_shape):
        """Makes the filter [3, 3, c, 1] for inputs [n, h, w, c]."""
        self.depthwise_kernel = self.add_weight(
            name="depthwise_kernel",
            shape=(3, 3, input_shape[-1], 1),
            # In this shape Keras's fan-in, 9c, is what PyTorch calls the fan-out.
            initializer=he_normal("fan_in"),
        )
        self.built = True

    def call(self, inputs):
        """Returns the filtered maps [n, h, w, c]."""
        return tf.nn.depthwise_conv2d(inputs, self.depthwise_kernel, [1, 1, 1, 1], "SAME")

    def compute_output_shape(self, input_shape):
        """Returns the input's shape."""
        return input_shape
