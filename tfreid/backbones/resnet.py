"""Residual networks, plain and with instance normalisation."""

from __future__ import annotations

import functools

import keras

from tfreid.backbones.residual import EXPANSION, WIDTHS, join, residual_stages, shortcut
from tfreid.layers.convolution import conv_bn, he_normal, max_pool_3x3, max_pool_3x3_ceil
from tfreid.layers.instance_norm import instance_batch_norm

# Whose stem: all have the same weights, but not the same function.
STEMS = ("torchvision", "bag_of_tricks", "fast_reid")
IBN_STEMS = ("torchvision", "fast_reid")


def resnet(
    x,
    depth: int = 50,
    strides: tuple[int, int, int, int] | None = None,
    last_stride: int | None = None,
    stride_in_1x1: bool = False,
    bn_epsilon: float = 1e-5,
    stem: str = "torchvision",
):
    """Applies ResNet-34, -50, -101 or -152 up to its last feature map.

    He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016), in the common later form
    whose 3x3 convolutions carry the stride. Trainable weights: 21,284,672, 23,508,032, 42,500,160
    and 58,143,808.

    Args:
        x: Normalised images [n, h, w, 3].
        depth: 34, whose blocks are pairs of 3x3 convolutions, or 50, 101 or 152 of bottlenecks.
        strides: Strides of the four stages. Defaults to (1, 2, 2, 2).
        last_stride: Replaces the last of `strides`; 1 doubles the sides of the feature map (Luo et
            al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification", 2019).
        stride_in_1x1: Whether the first 1x1 convolution of a bottleneck carries the stride, as in
            the paper and in the weights of Keras Applications.
        bn_epsilon: Added to variances; the weights of Keras Applications expect 1.001e-5.
        stem: `torchvision`: ReLU, then the maximum over 3x3, padded by one; `bag_of_tricks`, of the
            code of Luo et al.: no ReLU; `fast_reid`, since November 2020: ReLU, then the maximum
            over 3x3 from the corner on, without padding, sizes rounded up.

    Returns:
        Feature map [n, h / 32, w / 32, c] at the default strides, sizes rounded up, where c is
        2048, at depth 34 512.

    Raises:
        ValueError: An unknown depth or stem, `strides` are not four positive integers, or
            `stride_in_1x1` at depth 34.
    """
    if depth == 34:
        if stride_in_1x1:
            raise ValueError("stride_in_1x1 needs bottlenecks, which depth 34 does not have")
        block = functools.partial(_basic_block, epsilon=bn_epsilon)
    else:
        block = functools.partial(_bottleneck, stride_in_1x1=stride_in_1x1, epsilon=bn_epsilon)
    x = _stem(x, stem, STEMS, bn_epsilon)
    return residual_stages(x, depth, strides, last_stride, block)


def resnet_ibn_a(
    x,
    depth: int = 50,
    strides: tuple[int, int, int, int] | None = None,
    last_stride: int | None = None,
    stem: str = "torchvision",
):
    """Applies ResNet-50-IBN-a or -101-IBN-a up to its last feature map.

    Pan et al., "Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net" (ECCV
    2018): in the blocks of the first three stages, instance normalisation takes half the channels
    behind the first convolution. Trainable weights: as many as the plain network has.

    Args:
        x: Normalised images [n, h, w, 3].
        depth: 50, 101 or 152.
        strides: Strides of the four stages. Defaults to (1, 2, 2, 2).
        last_stride: Replaces the last of `strides`.
        stem: `torchvision` or `fast_reid`, as in `resnet`; the IBN networks of Bag of Tricks have
            the first.

    Returns:
        Feature map [n, h / 32, w / 32, 2048] at the default strides, sizes rounded up.

    Raises:
        ValueError: A depth without bottlenecks, another stem, or `strides` are not four positive
            integers.
    """
    if depth == 34:
        raise ValueError("depth must be one of [50, 101, 152], got 34")
    x = _stem(x, stem, IBN_STEMS)
    return residual_stages(x, depth, strides, last_stride, _ibn_bottleneck)


def _stem(x, stem, allowed, epsilon=1e-5):
    if stem not in allowed:
        raise ValueError(f"stem must be one of {list(allowed)}, got {stem}")
    relu = stem != "bag_of_tricks"
    x = conv_bn(x, 64, 7, "stem_conv", strides=2, activation=relu, epsilon=epsilon)
    max_pool = max_pool_3x3_ceil if stem == "fast_reid" else max_pool_3x3
    return max_pool(x, "stem_pool")


def _basic_block(x, width, stride, name, epsilon):
    identity = shortcut(x, width, stride, name, epsilon)
    x = conv_bn(x, width, 3, f"{name}_conv1", stride, epsilon=epsilon)
    x = conv_bn(x, width, 3, f"{name}_conv2", activation=False, epsilon=epsilon)
    return join(x, identity, name)


def _bottleneck(x, width, stride, name, stride_in_1x1=False, epsilon=1e-5, first=conv_bn):
    identity = shortcut(x, width * EXPANSION, stride, name, epsilon)
    strides = (stride, 1) if stride_in_1x1 else (1, stride)
    x = first(x, width, 1, f"{name}_conv1", strides[0], epsilon=epsilon)
    x = conv_bn(x, width, 3, f"{name}_conv2", strides[1], epsilon=epsilon)
    x = conv_bn(x, width * EXPANSION, 1, f"{name}_conv3", activation=False, epsilon=epsilon)
    return join(x, identity, name)


def _ibn_bottleneck(x, width, stride, name):
    first = conv_bn if width == WIDTHS[-1] else _conv_ibn
    return _bottleneck(x, width, stride, name, first=first)


def _conv_ibn(x, filters, kernel_size, name, strides, epsilon):
    x = keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        use_bias=False,
        kernel_initializer=he_normal("fan_out"),
        name=name,
    )(x)
    x = instance_batch_norm(x, name, epsilon)
    return keras.layers.ReLU(name=f"{name}_relu")(x)
