"""ResNets: torchvision's layer names, IBN-Net's and those of the SE networks' PyTorch release."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfreid.backbones import BACKBONES
from tfreid.backbones.resnet import BLOCKS, EXPANSION, NON_LOCAL, WIDTHS, non_local_places
from tfreid.weights.layouts.layout import LayerPair, Layout

# Children with weights of `nn.Sequential(conv1, bn1, relu, maxpool, layer1, ..., layer4)`, and of
# the same without the ReLU.
_CHILDREN = dict(zip("014567", ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")))
_CHILDREN_WITHOUT_RELU = dict(zip("013456", _CHILDREN.values()))
# Relatives of the ResNets, and what only their weights are called.
_OTHERS = (
    (r"\bb\d+_head\.", "fast-reid's MGN, which has three branches of parts"),
    (r"\blayer\d\.\d+\.conv2\.(bn0|fc1)\.", "a ResNeSt, whose blocks split their channels"),
    (r"\.se\.fc[12]\.", "timm's own SE-ResNet, which strides and pools elsewhere than its legacy_ "
     "one"),
    (r"\.se\.fc\.[02]\.", "the SE-ResNet of fast-reid or IBN-Net, whose gates have no biases"),
)
# The name of a trained exponent in fast-reid.
_EXPONENT = "heads.pool_layer.p"


def layer_pairs(
    backbone: str, non_local: Sequence[int] = (), non_local_channels: int | None = None
) -> list[LayerPair]:
    """Lists the layers of a backbone, without its classifier.

    The canonical names are torchvision's; IBN-Net's `bn1.IN` and `bn1.BN` where instance
    normalisation takes half; for SE networks Cadene's `layer0` and `se_module`; for non-local
    blocks, of which AGW and fast-reid have one list for each stage, `NL_2.0` and so on.
    """
    stem = "layer0." if backbone.startswith("se_") else ""
    pairs = [*_conv_bn("stem_conv", f"{stem}conv1", f"{stem}bn1")]
    for stage, blocks in enumerate(BLOCKS[BACKBONES[backbone].depth], 1):
        for block in range(blocks):
            pairs += _block(backbone, stage, block)
    for stage, count in enumerate(non_local, 1):
        for number, ours in enumerate(non_local_places(BACKBONES[backbone].depth, stage, count)):
            pairs += _non_local(ours + NON_LOCAL, f"NL_{stage}.{number}")
    return pairs


def found_settings(weights: Mapping[str, np.ndarray], backbone: str) -> dict[str, Any]:
    """Finds the non-local blocks of a checkpoint, and how many channels are within them."""
    depth = BACKBONES[backbone].depth
    matches = [re.match(r"NL_([1-4])\.(\d+)\.theta\.weight$", key) for key in weights]
    places = sorted((int(match[1]), int(match[2])) for match in matches if match)
    counts = [sum(stage == wanted for stage, _ in places) for wanted in range(1, 5)]
    whole = [(stage, number) for stage, count in enumerate(counts, 1) for number in range(count)]
    fits = all(count <= blocks for count, blocks in zip(counts, BLOCKS[depth]))
    if not places or places != whole or not fits or not BACKBONES[backbone].non_local:
        return {}
    stage, number = places[0]
    channels, *_ = weights[f"NL_{stage}.{number}.theta.weight"].shape or (0,)
    expansion = 1 if depth == 34 else EXPANSION
    half = channels == WIDTHS[stage - 1] * expansion // 2
    return {"non_local": tuple(counts), "non_local_channels": None if half else channels}


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
    """Names the relatives that this project does not have.

    timm's own `seresnet50` and `seresnext50_32x4d`, unlike its `legacy_` ones, and the SE networks
    of fast-reid and IBN-Net have weights of the same shapes as ours but other strides and pooling,
    or no biases.
    """
    return next((network for key in keys for pattern, network in _OTHERS
                 if re.search(pattern, key)), None)


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


def add_exponent(
    weights: Mapping[str, np.ndarray]
) -> tuple[Mapping[str, np.ndarray], str | None]:
    """Adds the exponent of fast-reid's AGW, which since December 2020 is fixed and not stored."""
    keys = " ".join(weights)
    if "NL_" not in keys or not re.search(r"\bheads\.", keys) or re.search(r"\.p\b", keys):
        return weights, None
    return {**weights, _EXPONENT: np.full(1, 3.0, np.float32)}, (
        "the file has non-local blocks and no exponent of a pooling, as fast-reid's AGW, whose GeM "
        "pooling has the fixed exponent 3; if yours pools otherwise, set model.pooling")


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


def _non_local(ours, theirs) -> Iterator[LayerPair]:
    for part in ("theta", "phi", "g"):
        yield LayerPair(f"{ours}_{part}", f"{theirs}.{part}", "conv_bias")
    yield LayerPair(f"{ours}_out", f"{theirs}.W.0", "conv_bias")
    yield LayerPair(f"{ours}_out_bn", f"{theirs}.W.1", "batch_norm")


def _conv_bn(ours, convolution, batch_norm):
    yield LayerPair(ours, convolution, "conv")
    yield LayerPair(f"{ours}_bn", batch_norm, "batch_norm")


LAYOUT = Layout(layer_pairs, (rename, rename_without_relu), other_network, toolbox_settings,
                found_settings, add_exponent, last_stride_varies=True)
