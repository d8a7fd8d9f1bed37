"""Residual networks: plain, with instance normalisation, with squeeze-and-excitation.

The first two may have non-local blocks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import keras

from tfreid.backbones.base import stage_strides
from tfreid.layers.convolution import GroupedConv3x3, conv, conv_bn
from tfreid.layers.gate import SqueezeExcitation
from tfreid.layers.non_local import non_local_block
from tfreid.layers.normalization import batch_norm, instance_batch_norm
from tfreid.layers.pooling import max_pool_3x3, max_pool_3x3_ceil

# Blocks in each of the four stages (He et al., Table 1).
BLOCKS = {34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
STRIDES = (1, 2, 2, 2)
WIDTHS = (64, 128, 256, 512)
# Output channels of a bottleneck per unit of width.
EXPANSION = 4
# Groups of a ResNeXt block's 3x3 convolution, and its channels per unit of width (32x4d).
GROUPS, _NEXT_EXPANSION = 32, 2
# Stems differ in their function, not in their weights.
STEMS = ("torchvision", "bag_of_tricks", "fast_reid")
IBN_STEMS = ("torchvision", "fast_reid")
# In the names of the layers of non-local blocks, which start as identities.
NON_LOCAL = "_non_local"


def resnet(
    x,
    depth: int = 50,
    strides: tuple[int, int, int, int] | None = None,
    last_stride: int | None = None,
    stride_in_1x1: bool = False,
    bn_epsilon: float = 1e-5,
    stem: str = "torchvision",
    non_local: Sequence[int] | None = None,
    non_local_channels: int | None = None,
):
    """Applies ResNet-34, -50, -101 or -152 up to its last feature map.

    He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016), in the common later form
    whose 3x3 convolutions carry the stride. Trainable weights: 21,284,672, 23,508,032, 42,500,160
    and 58,143,808.

    Args:
        x: Normalised images [n, h, w, 3].
        depth: 34, of blocks of two 3x3 convolutions, or 50, 101 or 152, of bottlenecks.
        strides: Strides of the four stages. Defaults to (1, 2, 2, 2).
        last_stride: Replaces the last of `strides`; 1 doubles the sides of the feature map (Luo et
            al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification", 2019).
        stride_in_1x1: Whether the first 1x1 convolution of a bottleneck carries the stride, as in
            the paper and in the weights of Keras Applications.
        bn_epsilon: Added to variances; the weights of Keras Applications expect 1.001e-5.
        stem: "torchvision": ReLU, then 3x3 max pooling with padding 1; "bag_of_tricks", the code of
            Luo et al.: without ReLU; "fast_reid", since November 2020: ReLU, then 3x3 max pooling
            from the corner on, without padding, sizes rounded up.
        non_local: Non-local blocks of each stage, one behind each of its last blocks: (0, 2, 3, 0)
            in AGW, the ResNet-50 of Ye et al. (TPAMI 2021). Defaults to none.
        non_local_channels: Channels within them; see `non_local_block`.

    Returns:
        Feature map [n, h / 32, w / 32, c] at the default strides, sizes rounded up; c is 2048, or
        512 at depth 34.

    Raises:
        ValueError: If `depth` or `stem` is unknown, `strides` are not four positive integers,
            `stride_in_1x1` is set at depth 34, or a stage has fewer blocks than non-local ones.
    """
    if depth == 34:
        if stride_in_1x1:
            raise ValueError("stride_in_1x1 needs bottlenecks, which depth 34 does not have")
        block = functools.partial(_basic_block, epsilon=bn_epsilon)
    else:
        block = functools.partial(_bottleneck, stride_in_1x1=stride_in_1x1, epsilon=bn_epsilon)
    x = _stem(x, stem, STEMS, bn_epsilon)
    return _stages(x, depth, strides, last_stride, block, non_local, non_local_channels)


def resnet_ibn_a(
    x,
    depth: int = 50,
    strides: tuple[int, int, int, int] | None = None,
    last_stride: int | None = None,
    stem: str = "torchvision",
    non_local: Sequence[int] | None = None,
    non_local_channels: int | None = None,
):
    """Applies ResNet-50-IBN-a or -101-IBN-a up to its last feature map.

    Pan et al., "Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net" (ECCV
    2018): after the first convolution of the blocks of the first three stages, half the channels
    are instance-normalised. It has as many trainable weights as the plain network.

    Args:
        x: Normalised images [n, h, w, 3].
        depth: 50, 101 or 152.
        strides: Strides of the four stages. Defaults to (1, 2, 2, 2).
        last_stride: Replaces the last of `strides`.
        stem: "torchvision" (also in the IBN networks of Bag of Tricks) or "fast_reid"; see
            `resnet`.
        non_local: Non-local blocks of each stage; see `resnet`.
        non_local_channels: Channels within them.

    Returns:
        Feature map [n, h / 32, w / 32, 2048] at the default strides, sizes rounded up.

    Raises:
        ValueError: If `depth` or `stem` is another, `strides` are not four positive integers, or a
            stage has fewer blocks than non-local ones.
    """
    if depth == 34:
        raise ValueError("depth must be one of [50, 101, 152], got 34")
    x = _stem(x, stem, IBN_STEMS)
    return _stages(x, depth, strides, last_stride, _ibn_bottleneck, non_local, non_local_channels)


def se_resnet50(
    x,
    strides: tuple[int, int, int, int] | None = None,
    last_stride: int | None = None,
    resnext: bool = False,
):
    """Applies SE-ResNet-50 or SE-ResNeXt-50 (32x4d) up to its last feature map.

    Hu et al., "Squeeze-and-Excitation Networks" (CVPR 2018), as its authors released it: the first
    1x1 convolution of a block carries the stride, and the stem's pooling pads only the right and
    the bottom. The second is built on Xie et al., "Aggregated Residual Transformations for Deep
    Neural Networks" (CVPR 2017): the 3x3 convolutions have 32 groups and carry the stride.
    Trainable weights: 26,039,024 and 25,510,896.

    Args:
        x: Normalised images [n, h, w, 3].
        strides: Strides of the four stages. Defaults to (1, 2, 2, 2).
        last_stride: Replaces the last of `strides`.
        resnext: Whether to build SE-ResNeXt-50.

    Returns:
        Feature map [n, h / 32, w / 32, 2048] at the default strides.

    Raises:
        ValueError: If `strides` are not four positive integers.
    """
    block = _se_next_bottleneck if resnext else _se_bottleneck
    return _stages(_stem(x, "fast_reid", STEMS), 50, strides, last_stride, block)


def _stages(
    x, depth: int, strides: Sequence[int] | None, last_stride: int | None, block: Callable,
    non_local: Sequence[int] | None = None, channels: int | None = None,
):
    """Applies the four stages to the stem's map; `block` takes a map, width, stride and name."""
    if depth not in BLOCKS:
        raise ValueError(f"depth must be one of {sorted(BLOCKS)}, got {depth}")
    strides = stage_strides(strides or STRIDES, last_stride, len(STRIDES))
    followed = [non_local_places(depth, stage, count)
                for stage, count in enumerate(non_local or (0,) * len(STRIDES), 1)]
    for stage, (blocks, width, stride) in enumerate(zip(BLOCKS[depth], WIDTHS, strides), 1):
        for number in range(1, blocks + 1):
            name = f"stage{stage}_block{number}"
            x = block(x, width, stride if number == 1 else 1, name)
            if name in followed[stage - 1]:
                x = non_local_block(x, name + NON_LOCAL, channels)
    return x


def non_local_places(depth: int, stage: int, count: int) -> list[str]:
    """Lists the names of the last `count` blocks of a stage (1-4), which non-local blocks follow.

    Raises:
        ValueError: If the stage has fewer blocks.
    """
    blocks = BLOCKS[depth][stage - 1]
    if not 0 <= count <= blocks:
        raise ValueError(f"stage {stage} of depth {depth} has {blocks} blocks, got {count}")
    return [f"stage{stage}_block{number}" for number in range(blocks - count + 1, blocks + 1)]


def _shortcut(x, channels: int, stride: int, name: str, epsilon: float = 1e-5):
    """Returns a block's input, projected by a 1x1 convolution where the block changes its shape."""
    if stride == 1 and x.shape[-1] == channels:
        return x
    return conv_bn(x, channels, 1, f"{name}_shortcut", stride, activation=False, epsilon=epsilon)


def _join(x, identity, name: str):
    """Adds a block's shortcut to its branch and applies ReLU."""
    x = keras.layers.Add(name=f"{name}_add")([x, identity])
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _stem(x, stem, allowed, epsilon=1e-5):
    if stem not in allowed:
        raise ValueError(f"stem must be one of {list(allowed)}, got {stem}")
    relu = stem != "bag_of_tricks"
    x = conv_bn(x, 64, 7, "stem_conv", strides=2, activation=relu, epsilon=epsilon)
    max_pool = max_pool_3x3_ceil if stem == "fast_reid" else max_pool_3x3
    return max_pool(x, "stem_pool")


def _basic_block(x, width, stride, name, epsilon):
    identity = _shortcut(x, width, stride, name, epsilon)
    x = conv_bn(x, width, 3, f"{name}_conv1", stride, epsilon=epsilon)
    x = conv_bn(x, width, 3, f"{name}_conv2", activation=False, epsilon=epsilon)
    return _join(x, identity, name)


def _bottleneck(x, width, stride, name, stride_in_1x1=False, epsilon=1e-5, first=conv_bn):
    identity = _shortcut(x, width * EXPANSION, stride, name, epsilon)
    strides = (stride, 1) if stride_in_1x1 else (1, stride)
    x = first(x, width, 1, f"{name}_conv1", strides[0], epsilon=epsilon)
    x = conv_bn(x, width, 3, f"{name}_conv2", strides[1], epsilon=epsilon)
    x = conv_bn(x, width * EXPANSION, 1, f"{name}_conv3", activation=False, epsilon=epsilon)
    return _join(x, identity, name)


def _ibn_bottleneck(x, width, stride, name):
    first = conv_bn if width == WIDTHS[-1] else _conv_ibn
    return _bottleneck(x, width, stride, name, first=first)


def _conv_ibn(x, filters, kernel_size, name, strides, epsilon):
    x = conv(x, filters, kernel_size, name, strides)
    x = instance_batch_norm(x, name, epsilon)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _se_bottleneck(x, width, stride, name):
    identity = _shortcut(x, width * EXPANSION, stride, name)
    x = conv_bn(x, width, 1, f"{name}_conv1", stride)
    x = conv_bn(x, width, 3, f"{name}_conv2")
    return _excite(x, identity, width, name)


def _se_next_bottleneck(x, width, stride, name):
    identity = _shortcut(x, width * EXPANSION, stride, name)
    x = conv_bn(x, width * _NEXT_EXPANSION, 1, f"{name}_conv1")
    x = GroupedConv3x3(GROUPS, stride, name=f"{name}_conv2")(x)
    x = batch_norm(x, f"{name}_conv2_bn")
    x = keras.layers.ReLU(name=f"{name}_conv2_relu")(x)
    return _excite(x, identity, width, name)


def _excite(x, identity, width, name):
    x = conv_bn(x, width * EXPANSION, 1, f"{name}_conv3", activation=False)
    x = SqueezeExcitation(name=f"{name}_se")(x)
    return _join(x, identity, name)
