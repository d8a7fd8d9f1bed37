"""ResNets: torchvision's layer names, IBN-Net's and those of the SE networks' PyTorch release."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from tfreid.backbones import BACKBONES
from tfreid.backbones.resnet import BLOCKS
from tfreid.weights.layouts.layout import LayerPair, Layout

# Children with weights of `nn.Sequential(conv1, bn1, relu, maxpool, layer1, ..., layer4)`, and of
# the same without the ReLU.
_CHILDREN = dict(zip("014567", ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")))
_CHILDREN_WITHOUT_RELU = dict(zip("013456", _CHILDREN.values()))


def layer_pairs(backbone: str) -> list[LayerPair]:
    """Lists the layers of a backbone, without its classifier.

    The canonical names are torchvision's; IBN-Net's `bn1.IN` and `bn1.BN` where instance
    normalisation takes half; for SE networks Cadene's `layer0` and `se_module`.
    """
    stem = "layer0." if backbone.startswith("se_") else ""
    pairs = [*_conv_bn("stem_conv", f"{stem}conv1", f"{stem}bn1")]
    for stage, blocks in enumerate(BLOCKS[BACKBONES[backbone].depth], 1):
        for block in range(blocks):
            pairs += _block(backbone, stage, block)
    return pairs


def rename(key: str, backbone: str) -> str:
    """Turns a weight's name in another naming of the network into the canonical one.

    Except for SE networks, the trunk may be an `nn.Sequential` of its children, whose layers have
    numbers. timm, torchreid and fast-reid use the canonical names.
    """
    return _rename_children(key, backbone, _CHILDREN)


def rename_without_relu(key: str, backbone: str) -> str:
    """Turns a weight's name in a sequence of children without the stem's ReLU into the canonical.

    Descendants of open-reid for unsupervised learning (MMT, SpCL, Cluster Contrast) have one.
    """
    return _rename_children(key, backbone, _CHILDREN_WITHOUT_RELU)


def other_network(keys: Iterable[str], backbone: str) -> str | None:
    """Names the network of SE weights that differ from `backbone` only in their names.

    timm's own `seresnet50` and `seresnext50_32x4d`, unlike its `legacy_` ones, and the SE networks
    of fast-reid and IBN-Net have weights of the same shapes but other strides and pooling, or no
    biases.
    """
    if not backbone.startswith("se_"):
        return None
    for key in keys:
        if re.search(r"\.se\.fc[12]\.", key):
            return "timm's own SE-ResNet, which strides and pools elsewhere than its legacy_ one"
        if re.search(r"\.se\.fc\.[02]\.", key):
            return "the SE-ResNet of fast-reid or IBN-Net, whose gates have no biases"
    return None


def toolbox_settings(keys: Iterable[str], backbone: str) -> dict[str, Any]:
    """Infers from a toolbox's names what weights do not show: the stem and the usual last stride.

    Bag of Tricks, and AGW after it, call the trunk `base` and the neck `bottleneck`, and their
    plain networks lack the stem's ReLU; a trunk of numbered children is torchvision's. fast-reid
    pools its stem in its own way since November 2020; no neck is called `bnneck` since September.
    A trunk of numbered children without ReLU is that of open-reid's descendants. open-reid itself,
    Person_reID_baseline_pytorch and mmtracking keep torchvision's strides. Other names give no
    settings.
    """
    names = " ".join(keys)
    last_stride = 1
    if re.search(r"\b3\.0\.conv1\.", names):
        stem = "bag_of_tricks"
    elif re.search(r"\b(feat\.|classifier\.add_block\.|head\.fc_out\.)", names):
        stem, last_stride = "torchvision", 2
    elif re.search(r"\bbase\.(layer0\.)?conv1\.", names) and re.search(r"\bbottleneck\.", names):
        stem = "bag_of_tricks"
    elif re.search(r"\bheads\.bnneck\.", names):
        stem = "torchvision"
    elif re.search(r"\bheads\.(bottleneck\.|weight\b)", names):
        stem = "fast_reid"
    else:
        return {}
    stems = BACKBONES[backbone].stems
    if not stems:
        return {"last_stride": last_stride}
    return {"stem": stem if stem in stems else "torchvision", "last_stride": last_stride}


def _rename_children(key, backbone, children):
    number, _, rest = key.partition(".")
    if backbone.startswith("se_") or number not in children:
        return key
    return f"{children[number]}.{rest}"


def _block(backbone, stage, block) -> Iterator[LayerPair]:
    ours, theirs = f"stage{stage}_block{block + 1}", f"layer{stage}.{block}"
    bottleneck = backbone != "resnet34"
    if block == 0 and (bottleneck or stage > 1):
        yield from _conv_bn(f"{ours}_shortcut", f"{theirs}.downsample.0", f"{theirs}.downsample.1")
    for number in range(1, 4 if bottleneck else 3):
        layer, batch_norm = f"{ours}_conv{number}", f"{theirs}.bn{number}"
        if backbone.endswith("_ibn_a") and number == 1 and stage < 4:
            yield LayerPair(f"{layer}_in", f"{batch_norm}.IN", "instance_norm")
            batch_norm = f"{batch_norm}.BN"
        yield from _conv_bn(layer, f"{theirs}.conv{number}", batch_norm)
    if backbone.startswith("se_"):
        for part, module in (("squeeze_", "fc1"), ("expand_", "fc2")):
            yield LayerPair(f"{ours}_se", f"{theirs}.se_module.{module}", "conv_as_dense", part)


def _conv_bn(ours, convolution, batch_norm):
    yield LayerPair(ours, convolution, "conv")
    yield LayerPair(f"{ours}_bn", batch_norm, "batch_norm")


LAYOUT = Layout(layer_pairs, (rename, rename_without_relu), other_network, toolbox_settings,
                last_stride_varies=True)
