"""OSNet, OSNet-IBN and OSNet-AIN: torchreid's layer names, which fast-reid and BoxMOT share."""

from __future__ import annotations

from collections.abc import Iterator

from tfreid.backbones.osnet import BRANCH, INSTANCE_NORMS, STREAMS, STRIDES, SUM
from tfreid.weights.layouts.layout import LayerPair, Layout


def layer_pairs(backbone: str) -> list[LayerPair]:
    """Lists the layers of a backbone, the same at all widths, without its head.

    OSNet-AIN's code is another one than that of OSNet and OSNet-IBN, with other names.
    """
    variant = backbone.rpartition("_x")[0]
    norms = INSTANCE_NORMS[variant]
    renamed = variant == "osnet_ain"
    pairs = [*_conv("stem_conv", "conv1", "IN" if any(map(any, norms)) else "BN")]
    for stage, blocks in enumerate(norms, 1):
        for block, norm in enumerate(blocks):
            names = f"stage{stage}_block{block + 1}", f"conv{stage + 1}.{block}"
            pairs += _block(*names, norm, renamed)
        if stage < len(STRIDES):
            transition = f"pool{stage + 1}.0" if renamed else f"conv{stage + 1}.{len(blocks)}.0"
            pairs += _conv(f"stage{stage}_transition", transition)
    return [*pairs, *_conv("last_conv", "conv5")]


def _block(ours, theirs, norm, renamed) -> Iterator[LayerPair]:
    yield from _conv(f"{ours}_conv1", f"{theirs}.conv1")
    for stream, letter in zip(range(1, STREAMS + 1), "abcd"):
        for step in range(stream):
            lite = f"{ours}_stream{stream}_lite{step + 1}"
            if renamed:
                module = f"{theirs}.conv2.{stream - 1}.layers.{step}"
            else:
                # The first stream is a convolution, the others are sequences of them.
                module = f"{theirs}.conv2{letter}" + (f".{step}" if stream > 1 else "")
            yield LayerPair(f"{lite}_pointwise", f"{module}.conv1", "conv")
            yield LayerPair(f"{lite}_depthwise", f"{module}.conv2", "depthwise")
            yield LayerPair(f"{lite}_bn", f"{module}.bn", "batch_norm")
    for part, module in (("squeeze_", "fc1"), ("expand_", "fc2")):
        yield LayerPair(f"{ours}_gate", f"{theirs}.gate.{module}", "conv_as_dense", part)
    yield from _conv(f"{ours}_conv2", f"{theirs}.conv3", None if norm == BRANCH else "BN")
    if norm:
        place = {BRANCH: "_conv2_in", SUM: "_in"}[norm]
        yield LayerPair(f"{ours}{place}", f"{theirs}.IN", "instance_norm")
    if ours.endswith("block1"):
        yield from _conv(f"{ours}_shortcut", f"{theirs}.downsample")


def _conv(ours, theirs, norm="BN"):
    yield LayerPair(ours, f"{theirs}.conv", "conv")
    if norm == "BN":
        yield LayerPair(f"{ours}_bn", f"{theirs}.bn", "batch_norm")
    elif norm == "IN":
        yield LayerPair(f"{ours}_in", f"{theirs}.bn", "instance_norm")


LAYOUT = Layout(layer_pairs)
