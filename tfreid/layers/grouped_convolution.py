"""A grouped 3x3 convolution that trains on any device."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfreid.layers.convolution import he_normal

# Channels that the gradient convolves at once: fewer make more operations, more make more zeros.
_SLICE = 32


class GroupedConv3x3(keras.layers.Layer):
    """Convolves each of several equal groups of channels with its own 3x3 filters.

    It keeps the number of channels, pads by one on every side and has no bias. Without oneDNN, and
    in half precision, TensorFlow has no gradient of grouped convolutions on CPUs, so the gradient
    is that of a few dense convolutions, each over a slice of the channels.

    Args:
        groups: Number of groups; it must divide the channels.
        strides: Stride in both directions.
    """

    def __init__(self, groups: int, strides: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.groups = groups
        self.strides = strides

    def build(self, input_shape):
        """Makes the kernel [3, 3, c / groups, c] for inputs [n, h, w, c].

        Raises:
            ValueError: The groups do not divide the channels.
        """
        channels = input_shape[-1]
        if channels % self.groups:
            raise ValueError(f"groups must divide the {channels} channels, got {self.groups}")
        self.kernel = self.add_weight(
            name="kernel",
            shape=(3, 3, channels // self.groups, channels),
            initializer=he_normal("fan_out"),
        )
        self.built = True

    def call(self, inputs):
        """Returns the filtered maps [n, ceil(h / strides), ceil(w / strides), c]."""
        padded = tf.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]])
        return _convolve(padded, tf.convert_to_tensor(self.kernel), self.groups, self.strides)

    def compute_output_shape(self, input_shape):
        """Returns the shape of the output."""
        batch, *sides, channels = input_shape
        sides = [side if side is None else -(-side // self.strides) for side in sides]
        return (batch, *sides, channels)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "groups": self.groups, "strides": self.strides}


def _convolve(inputs, kernel, groups, strides):
    @tf.custom_gradient
    def convolve(inputs, kernel):
        def gradient(upstream):
            # In a graph only the gradient's own operations of this second pass are run.
            with tf.GradientTape() as tape:
                tape.watch([inputs, kernel])
                outputs = _convolve_slices(inputs, kernel, groups, strides)
            return tape.gradient(outputs, [inputs, kernel], upstream)

        return tf.nn.conv2d(inputs, kernel, strides, "VALID"), gradient

    return convolve(inputs, kernel)


def _convolve_slices(inputs, kernel, groups, strides):
    slices = _slices(inputs.shape[-1], groups)
    outputs = [
        tf.nn.conv2d(channels, _block_diagonal(part, groups // slices), strides, "VALID")
        for channels, part in zip(tf.split(inputs, slices, -1), tf.split(kernel, slices, -1))
    ]
    return tf.concat(outputs, -1)


def _slices(channels, groups):
    """Cuts between groups only, into at most channels / _SLICE equal slices."""
    wanted = min(groups, max(1, channels // _SLICE))
    return next(slices for slices in range(wanted, 0, -1) if groups % slices == 0)


def _block_diagonal(kernel, groups):
    """Turns a grouped kernel [3, 3, c / groups, c] into the dense one [3, 3, c, c]."""
    height, width, group, channels = kernel.shape
    own_group = tf.reshape(tf.eye(groups, dtype=kernel.dtype), (groups, 1, groups, 1))
    blocks = tf.reshape(kernel, (height, width, 1, group, groups, group)) * own_group
    return tf.reshape(blocks, (height, width, channels, channels))
