"""The unit that convolutional backbones repeat: convolution, batch normalisation, ReLU."""

from __future__ import annotations

import keras

from tfreid.layers.normalization import batch_norm


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
    """Applies a convolution without bias, batch normalisation and, on request, ReLU.

    Padding is (kernel_size - 1) / 2 on every side at any stride, as PyTorch weights expect;
    Keras's "same" would pad only the right and the bottom when it strides over an even size.

    Args:
        x: Feature map [n, h, w, c].
        filters: Output channels.
        kernel_size: Odd side of the kernel.
        name: Name of the convolution; the others are `NAME_pad`, `NAME_bn` and `NAME_relu`.
        strides: Stride of the convolution.
        activation: Whether ReLU follows.
        epsilon: Added to the variance by the batch normalisation.
        momentum: Share of the moving statistics that a step keeps.

    Returns:
        Feature map [n, ceil(h / strides), ceil(w / strides), filters].
    """
    padding = "same"
    if strides > 1 and kernel_size > 1:
        x = keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
        padding = "valid"
    x = keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer=he_normal("fan_out"),
        name=name,
    )(x)
    x = batch_norm(x, f"{name}_bn", momentum, epsilon)
    return keras.layers.ReLU(name=f"{name}_relu")(x) if activation else x


def max_pool_3x3(x, name: str):
    """Halves a feature map [n, h, w, c] by the maximum over 3x3, around every second position.

    As padded by one: at stride 1 "same" is even, and leaves out what lies beyond the border, where
    a padding of zeros would exceed the negative values of a map without ReLU.
    """
    x = keras.layers.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_max")(x)
    return keras.layers.MaxPooling2D(1, strides=2, name=name)(x)


def max_pool_3x3_ceil(x, name: str):
    """Halves a feature map [n, h, w, c] after a ReLU by the maximum over 3x3 from the corner on.

    The last window may reach one beyond an even side (PyTorch's `ceil_mode`). Zeros may pad what
    is never negative: they cannot exceed a maximum. No window reaches those beside an odd side.
    """
    x = keras.layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x)
    return keras.layers.MaxPooling2D(3, strides=2, name=name)(x)


def he_normal(mode: str) -> keras.initializers.Initializer:
    """Returns a new He-normal initialiser; Keras 3 repeats the draws of one that is shared."""
    return keras.initializers.VarianceScaling(2.0, mode, "untruncated_normal")
