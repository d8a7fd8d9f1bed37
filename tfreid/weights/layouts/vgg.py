"""VGG16: torchvision's layer names, which timm shares."""

from __future__ import annotations

from collections.abc import Iterable

from tfreid.backbones.vgg import BLOCKS, convolution_names
from tfreid.weights.layouts.layout import LayerPair, Layout


def layer_pairs(backbone: str) -> list[LayerPair]:
    """Lists the layers of the backbone under torchvision's names, without the dense layers.

    These number convolutions, ReLUs and poolings in one sequence.
    """
    numbers, number = [], 0
    for convolutions, _ in BLOCKS:
        numbers += range(number, number + 2 * convolutions, 2)
        number += 2 * convolutions + 1
    return [
        LayerPair(ours, f"features.{number}", "conv_bias")
        for ours, number in zip(convolution_names(), numbers)
    ]


def other_network(keys: Iterable[str], backbone: str) -> str | None:
    """Names the VGG variants that this project does not have."""
    if "features.1.running_mean" in keys:
        return "a VGG with batch normalisation"
    return None


LAYOUT = Layout(layer_pairs, other_network=other_network)
