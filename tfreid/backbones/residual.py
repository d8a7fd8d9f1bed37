"""What all residual networks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras

from tfreid.backbones.strides import stage_strides
from tfreid.layers.convolution import conv_bn

# Blocks in each of the four stages (He et al., Table 1).
BLOCKS = {34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
STRIDES = (1, 2, 2, 2)
WIDTHS = (64, 128, 256, 512)
# Output channels of a bottleneck per unit of width.
EXPANSION = 4


def residual_stages(
    x, depth: int, strides: Sequence[int] | None, last_stride: int | None, block: Callable
):
    """Applies the four stages of residual blocks.

    Args:
        x: Feature map [n, h, w, 64] behind the stem.
        depth: Depth of the network, a key of `BLOCKS`.
        strides: Strides of the four stages. Defaults to (1, 2, 2, 2).
        last_stride: Replaces the last of `strides`.
        block: Function of a feature map, the stage's width, the block's stride and its name.

    Returns:
        Feature map [n, h', w', c].

    Raises:
        ValueError: An unknown depth, or `strides` are not four positive integers.
    """
    if depth not in BLOCKS:
        raise ValueError(f"depth must be one of {sorted(BLOCKS)}, got {depth}")
    strides = stage_strides(strides or STRIDES, last_stride, len(STRIDES))
    for stage, (blocks, width, stride) in enumerate(zip(BLOCKS[depth], WIDTHS, strides), 1):
        for number in range(1, blocks + 1):
            x = block(x, width, stride if number == 1 else 1, f"stage{stage}_block{number}")
    return x


def shortcut(x, channels: int, stride: int, name: str, epsilon: float = 1e-5):
    """Returns a block's input, projected by a 1x1 convolution where the block changes its shape."""
    if stride == 1 and x.shape[-1] == channels:
        return x
    return conv_bn(x, channels, 1, f"{name}_shortcut", stride, activation=False, epsilon=epsilon)


def join(x, identity, name: str):
    """Adds a block's shortcut to its branch and applies ReLU."""
    x = keras.layers.Add(name=f"{name}_add")([x, identity])
    return keras.layers.ReLU(name=f"{name}_relu")(x)
