"""Residual networks."""

from __future__ import annotations

import keras

from tfreid.backbones.strides import stage_strides
from tfreid.layers.convolution import conv_bn, max_pool_3x3

# Blocks in each of the four stages (He et al., Table 1).
BLOCKS = {50: (3, 4, 6, 3)}
STRIDES = (1, 2, 2, 2)
WIDTHS = (64, 128, 256, 512)
EXPANSION = 4


def resnet50(
    x,
    strides: tuple[int, int, int, int] | None = None,
    last_stride: int | None = None,
    stride_in_1x1: bool = False,
    bn_epsilon: float = 1e-5,
):
    """Applies ResNet-50 up to its last feature map: 23,508,032 trainable weights.

    He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016), in the common later form
    whose 3x3 convolutions carry the stride.

    Args:
        x: Normalised images [n, h, w, 3].
        strides: Strides of the four stages. Defaults to (1, 2, 2, 2).
        last_stride: Replaces the last of `strides`; 1 doubles the sides of the feature map (Luo et
            al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification", 2019).
        stride_in_1x1: Whether the first 1x1 convolution of a block carries the stride, as in the
            paper and in the weights of Keras Applications.
        bn_epsilon: Added to variances; the weights of Keras Applications expect 1.001e-5.

    Returns:
        Feature map [n, h / 32, w / 32, 2048] at the default strides, sizes rounded up.

    Raises:
        ValueError: `strides` are not four positive integers.
    """
    return _resnet(50, x, strides, last_stride, stride_in_1x1, bn_epsilon)


def _resnet(depth, x, strides, last_stride, stride_in_1x1, bn_epsilon):
    strides = stage_strides(strides or STRIDES, last_stride, len(STRIDES))
    x = conv_bn(x, 64, 7, "stem_conv", strides=2, epsilon=bn_epsilon)
    x = max_pool_3x3(x, "stem_pool")
    for stage, (blocks, width, stride) in enumerate(zip(BLOCKS[depth], WIDTHS, strides), 1):
        for block in range(1, blocks + 1):
            x = _bottleneck(
                x,
                width,
                stride if block == 1 else 1,
                f"stage{stage}_block{block}",
                stride_in_1x1,
                bn_epsilon,
            )
    return x


def _bottleneck(x, width, stride, name, stride_in_1x1, epsilon):
    shortcut = x
    if stride != 1 or x.shape[-1] != width * EXPANSION:
        shortcut = conv_bn(
            x, width * EXPANSION, 1, f"{name}_shortcut", stride, activation=False, epsilon=epsilon
        )
    strides = (stride, 1) if stride_in_1x1 else (1, stride)
    x = conv_bn(x, width, 1, f"{name}_conv1", strides[0], epsilon=epsilon)
    x = conv_bn(x, width, 3, f"{name}_conv2", strides[1], epsilon=epsilon)
    x = conv_bn(x, width * EXPANSION, 1, f"{name}_conv3", activation=False, epsilon=epsilon)
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_relu")(x)
