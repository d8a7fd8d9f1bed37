"""OSNet: torchreid's layer names, which fast-reid shares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tfreid.backbones.osnet import BLOCKS, STREAMS, STRIDES
from tfreid.weights.layouts.layout import LayerPair, Layout


def layer_pairs(backbone: str) -> list[LayerPair]:
    """Lists the layers of a backbone, the same at all widths, without its head."""
    pairs = [*_conv_bn("stem_conv", "conv1")]
    for stage in range(1, len(STRIDES) + 1):
        for block in range(BLOCKS):
            pairs += _block(f"stage{stage}_block{block + 1}", f"conv{stage + 1}.{block}")
        if stage < len(STRIDES):
            pairs += _conv_bn(f"stage{stage}_transition", f"conv{stage + 1}.{BLOCKS}.0")
    return [*pairs, *_conv_bn("last_conv", "conv5")]


def other_network(keys: Iterable[str], backbone: str) -> str | None:
    """Names the OSNet variants that this project does not have."""
    if any(".IN." in key for key in keys):
        return "OSNet-IBN or OSNet-AIN, which normalise single images"
    return None


def _block(ours, theirs) -> Iterator[LayerPair]:
    yield from _conv_bn(f"{ours}_conv1", f"{theirs}.conv1")
    for stream, letter in zip(range(1, STREAMS + 1), "abcd"):
        for step in range(stream):
            lite = f"{ours}_stream{stream}_lite{step + 1}"
            module = f"{theirs}.conv2{letter}"
            # The first stream is a convolution, the others are sequences of them.
            module += f".{step}" if stream > 1 else ""
            yield LayerPair(f"{lite}_pointwise", f"{module}.conv1", "conv")
            yield LayerPair(f"{lite}_depthwise", f"{module}.conv2", "depthwise")
            yield LayerPair(f"{lite}_bn", f"{module}.bn", "batch_norm")
    for part, module in (("squeeze_", "fc1"), ("expand_", "fc2")):
        yield LayerPair(f"{ours}_gate", f"{theirs}.gate.{module}", "conv_as_dense", part)
    yield from _conv_bn(f"{ours}_conv2", f"{theirs}.conv3")
    if ours.endswith("block1"):
        yield from _conv_bn(f"{ours}_shortcut", f"{theirs}.downsample")


def _conv_bn(ours, theirs):
    yield LayerPair(ours, f"{theirs}.conv", "conv")
    yield LayerPair(f"{ours}_bn", f"{theirs}.bn", "batch_norm")


LAYOUT = Layout(layer_pairs, other_network=other_network)
