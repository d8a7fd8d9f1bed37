"""OSNet, the omni-scale network, and its relatives with instance normalisation."""

from __future__ import annotations

import keras

from tfreid.backbones.base import stage_strides
from tfreid.layers.convolution import DepthwiseConv2D, conv_bn, conv_in, he_normal
from tfreid.layers.gate import AggregationGate
from tfreid.layers.normalization import InstanceNormalization, batch_norm
from tfreid.layers.pooling import max_pool_3x3

# Output channels of the stem and of the three stages at width 1 (Zhou et al., Table 1).
CHANNELS = (64, 256, 384, 512)
STRIDES = (1, 2, 2)
STREAMS = 4
BOTTLENECK = 4
# Where a block normalises single images: in the branch, in place of its last batch normalisation,
# or behind the sum of branch and shortcut.
BRANCH, SUM = "branch", "sum"
# Of each network, that place in both blocks of each stage. Those with any also do so in the stem.
INSTANCE_NORMS = {
    "osnet": ((None, None), (None, None), (None, None)),
    "osnet_ibn": ((SUM, SUM), (None, None), (None, None)),
    "osnet_ain": ((BRANCH, BRANCH), (None, BRANCH), (BRANCH, None)),
}


def osnet(
    x,
    width: float = 1.0,
    strides: tuple[int, int, int] | None = None,
    last_stride: int | None = None,
    variant: str = "osnet",
):
    """Applies OSNet, OSNet-IBN or OSNet-AIN up to its last feature map.

    Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification" (ICCV 2019), Table 1
    and Fig. 4. Trainable weights: 134,792 at width 0.25. The other two are of Zhou et al.,
    "Learning Generalisable Omni-Scale Representations for Person Re-Identification" (TPAMI 2021),
    and normalise single images where the authors' code does: OSNet-AIN where their search found it
    best, with as many weights; OSNet-IBN behind the blocks of the first stage.

    Args:
        x: Normalised images [n, h, w, 3].
        width: Multiplies the channels of every layer: 1.0, 0.75, 0.5 or 0.25 in the paper.
        strides: Strides at which the three stages are entered, by average pooling. Defaults to
            (1, 2, 2).
        last_stride: Replaces the last of `strides`; 1 doubles the sides of the feature map, for
            small images.
        variant: A key of `INSTANCE_NORMS`.

    Returns:
        Feature map [n, h / 16, w / 16, 512 * width] at the default strides.

    Raises:
        ValueError: If `width` leaves a gate without hidden units, `strides` are not three positive
            integers, or `variant` is unknown.
    """
    if variant not in INSTANCE_NORMS:
        raise ValueError(f"variant must be one of {list(INSTANCE_NORMS)}, got {variant}")
    strides = stage_strides(strides or STRIDES, last_stride, len(STRIDES))
    stem, *stages = (int(channels * width) for channels in CHANNELS)
    if stages[0] < BOTTLENECK * AggregationGate.REDUCTION:
        raise ValueError(f"width must be at least 0.25, got {width}")
    norms = INSTANCE_NORMS[variant]
    convolve = conv_in if any(map(any, norms)) else conv_bn
    x = convolve(x, stem, 7, "stem_conv", strides=2)
    x = max_pool_3x3(x, "stem_pool")
    for stage, (channels, stride) in enumerate(zip(stages, strides), 1):
        if stride > 1:
            x = keras.layers.AveragePooling2D(stride, name=f"stage{stage}_pool")(x)
        for block, norm in enumerate(norms[stage - 1], 1):
            x = _omni_scale_block(x, channels, f"stage{stage}_block{block}", norm)
        if stage < len(stages):
            x = conv_bn(x, channels, 1, f"stage{stage}_transition")
    return conv_bn(x, stages[-1], 1, "last_conv")


def osnet_head(x, units: int = 512):
    """Turns OSNet's feature map into the embedding of the authors' released models.

    Args:
        x: Feature map [n, h, w, c].
        units: Length of the embedding.

    Returns:
        Non-negative embeddings [n, units].
    """
    return linear_bn_relu(keras.layers.GlobalAveragePooling2D(name="global_pool")(x), units, "fc")


def linear_bn_relu(x, units: int, name: str):
    """Applies a linear layer, batch normalisation and a ReLU to features [n, d].

    The layers are `NAME`, `NAME_bn` and `NAME_relu`.
    """
    x = keras.layers.Dense(
        units, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01), name=name
    )(x)
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _omni_scale_block(x, channels, name, norm=None):
    shortcut = x
    if x.shape[-1] != channels:
        shortcut = conv_bn(x, channels, 1, f"{name}_shortcut", activation=False)
    middle = channels // BOTTLENECK
    x = conv_bn(x, middle, 1, f"{name}_conv1")
    streams = [_stream(x, middle, depth, name) for depth in range(1, STREAMS + 1)]
    x = AggregationGate(name=f"{name}_gate")(streams)
    convolve = conv_in if norm == BRANCH else conv_bn
    x = convolve(x, channels, 1, f"{name}_conv2", activation=False)
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    if norm == SUM:
        x = InstanceNormalization(name=f"{name}_in")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _stream(x, channels, depth, name):
    """Chains `depth` lite convolutions: each widens the receptive field by two pixels."""
    for step in range(1, depth + 1):
        lite = f"{name}_stream{depth}_lite{step}"
        x = keras.layers.Conv2D(
            channels, 1, use_bias=False, kernel_initializer=he_normal("fan_out"),
            name=f"{lite}_pointwise",
        )(x)
        x = DepthwiseConv2D(name=f"{lite}_depthwise")(x)
        x = batch_norm(x, f"{lite}_bn")
        x = keras.layers.ReLU(name=f"{lite}_relu")(x)
    return x
