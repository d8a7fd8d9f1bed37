"""VGG16: torchvision's layer names, which timm shares."""

from __future__ import annotations

from collections.abc import Iterable

from tfreid.backbones.vgg import BLOCKS, convolution_names
from tfreid.weights.layouts.layout import LayerPair

BACKBONES = ("vgg16",)


def layer_pairs(backbone: str) -> list[LayerPair]:
    """Lists the layers of the backbone under torchvision's names, without the dense layers.

    These number convolutions, ReLUs and poolings in one sequence.
    """
    del backbone
    numbers, number = [], 0
    for convolutions, _ in BLOCKS:
        numbers += range(number, number + 2 * convolutions, 2)
        number += 2 * convolutions + 1
    return [
        LayerPair(ours, f"features.{number}", "conv_bias")
        for ours, number in zip(convolution_names(), numbers)
    ]


def rename(key: str, backbone: str) -> str:
    """Returns the key: one layout is known."""
    del backbone
    return key


def other_network(keys: Iterable[str], backbone: str) -> str | None:
    """Names the network that weights belong to where its name is no backbone's of this project."""
    del backbone
    if "features.1.running_mean" in keys:
        return "a VGG with batch normalisation"
    return None
