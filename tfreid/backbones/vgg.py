"""VGG16."""

from __future__ import annotations

import itertools

import keras

from tfreid.backbones.base import stage_strides
from tfreid.layers.convolution import he_normal

# Convolutions of each block and their channels (Simonyan and Zisserman, Table 1, column D).
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
STRIDES = (2, 2, 2, 2, 2)


def vgg16(
    x,
    strides: tuple[int, int, int, int, int] | None = None,
    last_stride: int | None = None,
):
    """Applies VGG16 up to its last max pooling: 14,714,688 trainable weights.

    Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition"
    (ICLR 2015), Table 1, column D, without the three dense layers. Convolutions have biases and no
    batch normalisation. Layers have the names of Keras Applications.

    Args:
        x: Normalised images [n, h, w, 3].
        strides: Strides of the 2x2 max poolings that end the five blocks. Defaults to
            (2, 2, 2, 2, 2). A pooling of stride 1 keeps its window, so that the layers after it
            see maxima, as in training: every second row and column of the finer map is the coarse
            one. At the last row and column the window is cut off at the border.
        last_stride: Replaces the last of `strides`; 1 doubles the sides of the feature map.

    Returns:
        Feature map [n, h / 32, w / 32, 512] at the default strides, sizes rounded down.

    Raises:
        ValueError: If `strides` are not five positive integers, or images are too small for them
            (below 32 pixels a side at the default).
    """
    strides = stage_strides(strides or STRIDES, last_stride, len(STRIDES))
    names = iter(convolution_names())
    for block, ((convolutions, channels), stride) in enumerate(zip(BLOCKS, strides), 1):
        for name in itertools.islice(names, convolutions):
            x = keras.layers.Conv2D(
                channels, 3, padding="same", activation="relu",
                kernel_initializer=he_normal("fan_out"), name=name,
            )(x)
        padding = "same" if stride == 1 else "valid"
        x = keras.layers.MaxPooling2D(2, stride, padding, name=f"block{block}_pool")(x)
    return x


def convolution_names() -> list[str]:
    """Lists the names of the thirteen convolutions in order: all layers with weights."""
    return [
        f"block{block}_conv{number}"
        for block, (convolutions, _) in enumerate(BLOCKS, 1)
        for number in range(1, convolutions + 1)
    ]
