"""MobileNetV3-Large: torchvision's layer names and timm's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from tfreid.backbones.mobilenet_v3 import EPSILON, STAGES, STEM
from tfreid.weights.layouts.layout import LayerPair, Layout

TIMM_EPSILON = 1e-5
_TIMM = re.compile(r"(conv_stem|bn1|blocks\.[0-6])\.")


def layer_pairs(backbone: str) -> list[LayerPair]:
    """Lists the layers of the backbone under torchvision's names, without its classifier."""
    return [pair for pair, _ in _layers()]


def rename(key: str, backbone: str) -> str:
    """Turns a weight's name in timm's `mobilenetv3_large_100` into torchvision's."""
    module, _, weight = key.rpartition(".")
    return f"{_RENAMED.get(module, module)}.{weight}"


def adapt(weights: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str | None]:
    """Adapts timm's weights to the larger epsilon of our batch normalisations.

    The difference is subtracted from the moving variances, which gives the same function at
    inference; in training these variances follow the new data.

    Args:
        weights: Arrays by the file's keys, without prefixes.

    Returns:
        The arrays, and a note for the user, or None if the weights are not timm's.
    """
    if not any(_TIMM.match(key) for key in weights):
        return dict(weights), None
    adapted = {
        key: value - np.float32(EPSILON - TIMM_EPSILON) if key.endswith("running_var") else value
        for key, value in weights.items()
    }
    return adapted, (
        "these are timm's names; its mobilenetv3_large_100 is assumed (batch-norm epsilon 1e-5, "
        "moved into the variances): tf_mobilenetv3_large_100 has the same names and another "
        "padding, and gives wrong features here"
    )


def _layers() -> Iterator[tuple[LayerPair, str]]:
    """Pairs our layers with torchvision's modules; also yields timm's names of these."""
    yield from _conv_bn("stem_conv", "features.0", "conv_stem", "bn1")
    timm_stages = ((STEM,), *STAGES[:2], STAGES[2][:4], STAGES[2][4:], *STAGES[3:])
    names = ["stem_block"]
    names += [
        f"stage{stage}_block{number}"
        for stage, blocks in enumerate(STAGES, 1)
        for number in range(1, len(blocks) + 1)
    ]
    timm_names = [
        (f"blocks.{stage}.{number}", block)
        for stage, blocks in enumerate(timm_stages)
        for number, block in enumerate(blocks)
    ]
    for index, (ours, (timm, block)) in enumerate(zip(names, timm_names), 1):
        yield from _block(block, ours, f"features.{index}.block", timm)
    last = len(names) + 1
    yield from _conv_bn("last_conv", f"features.{last}", "blocks.6.0.conv", "blocks.6.0.bn1")


def _block(block, ours, theirs, timm):
    """Torchvision numbers the parts of a block; timm names them."""
    expands = block is not STEM
    depthwise = f"{theirs}.{int(expands)}"
    project = f"{theirs}.{expands + block.squeeze + 1}"
    if expands:
        yield from _conv_bn(f"{ours}_expand", f"{theirs}.0", f"{timm}.conv_pw", f"{timm}.bn1")
    yield from _conv_bn(
        f"{ours}_depthwise", depthwise, f"{timm}.conv_dw", f"{timm}.bn{1 + expands}", "depthwise"
    )
    if block.squeeze:
        gate = f"{theirs}.{expands + 1}"
        for part, number, name in (("squeeze", 1, "reduce"), ("expand", 2, "expand")):
            pair = LayerPair(f"{ours}_se_{part}", f"{gate}.fc{number}", "conv_bias")
            yield pair, f"{timm}.se.conv_{name}"
    timm_project = "conv_pwl" if expands else "conv_pw"
    yield from _conv_bn(
        f"{ours}_project", project, f"{timm}.{timm_project}", f"{timm}.bn{2 + expands}"
    )


def _conv_bn(ours, theirs, timm, timm_bn, kind="conv"):
    yield LayerPair(ours, f"{theirs}.0", kind), timm
    yield LayerPair(f"{ours}_bn", f"{theirs}.1", "batch_norm"), timm_bn


_RENAMED = {timm: pair.theirs for pair, timm in _layers()}
LAYOUT = Layout(layer_pairs, (rename,), adapt=adapt)
