"""Residual networks with squeeze-and-excitation."""

from __future__ import annotations

import keras

from tfreid.backbones.residual import EXPANSION, join, residual_stages, shortcut
from tfreid.layers.convolution import conv_bn, max_pool_3x3_ceil
from tfreid.layers.grouped_convolution import GroupedConv3x3
from tfreid.layers.normalization import batch_norm
from tfreid.layers.squeeze_excitation import SqueezeExcitation

GROUPS = 32
# Channels of a ResNeXt block's 3x3 convolution per unit of width (32 groups of 4 at width 64).
_NEXT_EXPANSION = 2


def se_resnet50(
    x, strides: tuple[int, int, int, int] | None = None, last_stride: int | None = None
):
    """Applies SE-ResNet-50 up to its last feature map: 26,039,024 trainable weights.

    Hu et al., "Squeeze-and-Excitation Networks" (CVPR 2018), as its authors released it: the first
    1x1 convolution of a block carries the stride, and the stem's pooling pads only the right and
    the bottom.

    Args:
        x: Normalised images [n, h, w, 3].
        strides: Strides of the four stages. Defaults to (1, 2, 2, 2).
        last_stride: Replaces the last of `strides`.

    Returns:
        Feature map [n, h / 32, w / 32, 2048] at the default strides.

    Raises:
        ValueError: `strides` are not four positive integers.
    """
    return residual_stages(_stem(x), 50, strides, last_stride, _se_bottleneck)


def se_resnext50(
    x, strides: tuple[int, int, int, int] | None = None, last_stride: int | None = None
):
    """Applies SE-ResNeXt-50 (32x4d) up to its last feature map: 25,510,896 trainable weights.

    Hu et al., "Squeeze-and-Excitation Networks" (CVPR 2018), on Xie et al., "Aggregated Residual
    Transformations for Deep Neural Networks" (CVPR 2017): the 3x3 convolutions have 32 groups and
    carry the stride. The stem is that of `se_resnet50`.

    Args:
        x: Normalised images [n, h, w, 3].
        strides: Strides of the four stages. Defaults to (1, 2, 2, 2).
        last_stride: Replaces the last of `strides`.

    Returns:
        Feature map [n, h / 32, w / 32, 2048] at the default strides.

    Raises:
        ValueError: `strides` are not four positive integers.
    """
    return residual_stages(_stem(x), 50, strides, last_stride, _se_next_bottleneck)


def _stem(x):
    x = conv_bn(x, 64, 7, "stem_conv", strides=2)
    return max_pool_3x3_ceil(x, "stem_pool")


def _se_bottleneck(x, width, stride, name):
    identity = shortcut(x, width * EXPANSION, stride, name)
    x = conv_bn(x, width, 1, f"{name}_conv1", stride)
    x = conv_bn(x, width, 3, f"{name}_conv2")
    return _excite(x, identity, width, name)


def _se_next_bottleneck(x, width, stride, name):
    identity = shortcut(x, width * EXPANSION, stride, name)
    x = conv_bn(x, width * _NEXT_EXPANSION, 1, f"{name}_conv1")
    x = GroupedConv3x3(GROUPS, stride, name=f"{name}_conv2")(x)
    x = batch_norm(x, f"{name}_conv2_bn")
    x = keras.layers.ReLU(name=f"{name}_conv2_relu")(x)
    return _excite(x, identity, width, name)


def _excite(x, identity, width, name):
    x = conv_bn(x, width * EXPANSION, 1, f"{name}_conv3", activation=False)
    x = SqueezeExcitation(name=f"{name}_se")(x)
    return join(x, identity, name)
