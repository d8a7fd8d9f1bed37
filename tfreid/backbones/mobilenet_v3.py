"""MobileNetV3-Large."""

from __future__ import annotations

from typing import NamedTuple

import keras

from tfreid.backbones.base import stage_strides
from tfreid.layers.activations import HardSigmoid, HardSwish
from tfreid.layers.convolution import DepthwiseConv2D, conv_bn, he_normal
from tfreid.layers.normalization import batch_norm

STRIDES = (2, 2, 2, 2)
EPSILON = 1e-3
MOMENTUM = 0.99


class Block(NamedTuple):
    """One row of Howard et al., Table 1.

    Attributes:
        kernel_size: Side of the depthwise filters.
        expanded: Channels that these filter.
        channels: Output channels.
        squeeze: Whether squeeze-and-excitation follows the depthwise convolution.
        hard_swish: Whether the activations are hard swishes instead of ReLUs.
    """

    kernel_size: int
    expanded: int
    channels: int
    squeeze: bool
    hard_swish: bool


STEM = Block(3, 16, 16, False, False)
STAGES = (
    (Block(3, 64, 24, False, False), Block(3, 72, 24, False, False)),
    (Block(5, 72, 40, True, False), *[Block(5, 120, 40, True, False)] * 2),
    (
        Block(3, 240, 80, False, True),
        Block(3, 200, 80, False, True),
        Block(3, 184, 80, False, True),
        Block(3, 184, 80, False, True),
        Block(3, 480, 112, True, True),
        Block(3, 672, 112, True, True),
    ),
    (Block(5, 672, 160, True, True), *[Block(5, 960, 160, True, True)] * 2),
)


def mobilenet_v3_large(
    x,
    strides: tuple[int, int, int, int] | None = None,
    last_stride: int | None = None,
):
    """Applies MobileNetV3-Large up to its last feature map: 2,971,952 trainable weights.

    Howard et al., "Searching for MobileNetV3" (ICCV 2019), Table 1, up to its last 1x1 convolution
    before the pooling. Squeezes have a quarter of the expanded channels, rounded to a multiple of
    eight, as in the released ImageNet weights.

    Args:
        x: Normalised images [n, h, w, 3].
        strides: Strides of the four stages, of 24, 40, 80 to 112, and 160 channels; the stem of 16
            channels before them always halves the image. Defaults to (2, 2, 2, 2).
        last_stride: Replaces the last of `strides`; 1 doubles the sides of the feature map.

    Returns:
        Feature map [n, h / 32, w / 32, 960] at the default strides, sizes rounded up.

    Raises:
        ValueError: If `strides` are not four positive integers.
    """
    strides = stage_strides(strides or STRIDES, last_stride, len(STRIDES))
    x = _conv(x, STEM.channels, 3, "stem_conv", HardSwish, strides=2)
    x = _inverted_residual(x, STEM, 1, "stem_block")
    for stage, (blocks, stride) in enumerate(zip(STAGES, strides), 1):
        for number, block in enumerate(blocks, 1):
            x = _inverted_residual(
                x, block, stride if number == 1 else 1, f"stage{stage}_block{number}"
            )
    return _conv(x, 960, 1, "last_conv", HardSwish)


def _inverted_residual(x, block, stride, name):
    shortcut = x
    activation = HardSwish if block.hard_swish else keras.layers.ReLU
    if block.expanded != x.shape[-1]:
        x = _conv(x, block.expanded, 1, f"{name}_expand", activation)
    x = DepthwiseConv2D(block.kernel_size, stride, name=f"{name}_depthwise")(x)
    x = batch_norm(x, f"{name}_depthwise_bn", MOMENTUM, EPSILON)
    x = activation(name=f"{name}_depthwise_act")(x)
    if block.squeeze:
        x = _squeeze_and_excite(x, f"{name}_se")
    x = _conv(x, block.channels, 1, f"{name}_project")
    if stride != 1 or shortcut.shape[-1] != block.channels:
        return x
    return keras.layers.Add(name=f"{name}_add")([x, shortcut])


def _squeeze_and_excite(x, name):
    """Weights channels by hard sigmoids; sums over a map in half precision would lose digits."""
    channels = x.shape[-1]
    gate = keras.layers.GlobalAveragePooling2D(
        keepdims=True, dtype="float32", name=f"{name}_pool"
    )(x)
    gate = _conv_with_bias(gate, _round_to_eight(channels // 4), f"{name}_squeeze")
    gate = keras.layers.ReLU(name=f"{name}_relu")(gate)
    gate = _conv_with_bias(gate, channels, f"{name}_expand")
    gate = HardSigmoid(name=f"{name}_gate")(gate)
    return keras.layers.Multiply(name=name)([x, gate])


def _conv(x, filters, kernel_size, name, activation=None, strides=1):
    x = conv_bn(x, filters, kernel_size, name, strides, False, EPSILON, MOMENTUM)
    return activation(name=f"{name}_act")(x) if activation else x


def _conv_with_bias(x, filters, name):
    return keras.layers.Conv2D(
        filters, 1, kernel_initializer=he_normal("fan_out"), name=name
    )(x)


def _round_to_eight(channels):
    """Rounds to a multiple of eight, upwards if rounding down would lose over a tenth."""
    rounded = max(8, (channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8
