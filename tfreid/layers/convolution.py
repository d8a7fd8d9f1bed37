"""Convolutions that backbones repeat, padded as PyTorch weights expect."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfreid.layers.normalization import InstanceNormalization, batch_norm

# Channels that the gradient of grouped convolutions convolves at once: fewer make more operations,
# more make more zeros.
_SLICE = 32


def he_normal(mode: str) -> keras.initializers.Initializer:
    """Returns a new He-normal initialiser; Keras 3 repeats the draws of one that is shared."""
    return keras.initializers.VarianceScaling(2.0, mode, "untruncated_normal")


def conv_bn(
    x,
    filters: int,
    kernel_size: int,
    name: str,
    strides: int = 1,
    activation: bool = True,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
):
    """Applies a convolution without bias, batch normalisation and optionally ReLU.

    Args:
        x: Feature map [n, h, w, c].
        filters: Output channels.
        kernel_size: Odd side of the kernel.
        name: Name of the convolution; the others are `NAME_pad`, `NAME_bn` and `NAME_relu`.
        strides: Stride of the convolution.
        activation: Whether ReLU follows.
        epsilon: Added to the variance by the batch normalisation.
        momentum: Momentum of the moving statistics.

    Returns:
        Feature map [n, ceil(h / strides), ceil(w / strides), filters].
    """
    x = conv(x, filters, kernel_size, name, strides)
    x = batch_norm(x, f"{name}_bn", momentum, epsilon)
    return keras.layers.ReLU(name=f"{name}_relu")(x) if activation else x


def conv_in(
    x, filters: int, kernel_size: int, name: str, strides: int = 1, activation: bool = True
):
    """Applies a convolution as `conv_bn` does, with instance in place of batch normalisation.

    The normalisation's name is `NAME_in`; it divides by the deviation over each image's own map.
    """
    x = conv(x, filters, kernel_size, name, strides)
    x = InstanceNormalization(name=f"{name}_in")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x) if activation else x


def conv(x, filters: int, kernel_size: int, name: str, strides: int = 1):
    """Applies a convolution without bias.

    Padding is (kernel_size - 1) / 2 on every side at any stride, by a layer `NAME_pad` where
    Keras's "same" would pad only the right and the bottom: at stride 2 over an even size.

    Args:
        x: Feature map [n, h, w, c].
        filters: Output channels.
        kernel_size: Odd side of the kernel.
        name: Name of the convolution.
        strides: Stride of the convolution.

    Returns:
        Feature map [n, ceil(h / strides), ceil(w / strides), filters].
    """
    padding = "same"
    if strides > 1 and kernel_size > 1:
        x = keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
        padding = "valid"
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer=he_normal("fan_out"),
        name=name,
    )(x)


class _PaddedConvolution(keras.layers.Layer):
    """Base of convolutions that keep the channels, without bias and with PyTorch's padding."""

    def __init__(self, strides, **kwargs):
        super().__init__(**kwargs)
        self.strides = strides

    def compute_output_shape(self, input_shape):
        """Returns [n, ceil(h / strides), ceil(w / strides), c]."""
        batch, *sides, channels = input_shape
        sides = (None if side is None else -(-side // self.strides) for side in sides)
        return (batch, *sides, channels)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "strides": self.strides}


@keras.saving.register_keras_serializable(package="tfreid")
class DepthwiseConv2D(_PaddedConvolution):
    """Convolves every channel with its own filter, without bias.

    Padding is (kernel_size - 1) / 2 on every side at any stride. Unlike Keras's layer, it names its
    weight `depthwise_kernel` on Keras 2 and 3.

    Args:
        kernel_size: Odd side of the filters.
        strides: Stride in both directions.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, kernel_size: int = 3, strides: int = 1, **kwargs):
        """Keeps the settings."""
        super().__init__(strides, **kwargs)
        self.kernel_size = kernel_size

    def build(self, input_shape):
        """Creates the filters [kernel_size, kernel_size, c, 1] for inputs [n, h, w, c]."""
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

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "kernel_size": self.kernel_size}


@keras.saving.register_keras_serializable(package="tfreid")
class GroupedConv3x3(_PaddedConvolution):
    """Convolves each of several equal groups of channels with its own 3x3 filters.

    It keeps the number of channels, pads by one on every side and has no bias. TensorFlow lacks the
    gradient of grouped convolutions on CPUs without oneDNN, and in half precision, so the gradient
    is that of a few dense convolutions, each over a slice of the channels.

    Args:
        groups: Number of groups; it must divide the channels.
        strides: Stride in both directions.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, groups: int, strides: int = 1, **kwargs):
        """Keeps the settings."""
        super().__init__(strides, **kwargs)
        self.groups = groups

    def build(self, input_shape):
        """Creates the kernel [3, 3, c / groups, c] for inputs [n, h, w, c].

        Raises:
            ValueError: If the groups do not divide the channels.
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

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "groups": self.groups}


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
