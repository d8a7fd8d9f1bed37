"""Our layers beside the PyTorch modules of the same function, and their namings in checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np


class LayerPair(NamedTuple):
    """A layer of ours and the PyTorch module whose weights it takes.

    Attributes:
        ours: Name of our layer.
        theirs: Path of the module, such as "layer1.0.conv1".
        kind: Kind of the module, which determines its weights; a key of `WEIGHTS`.
        part: Prefix of our weights' names if one layer of ours holds several modules, such as
            "squeeze_" for `squeeze_kernel`.
    """

    ours: str
    theirs: str
    kind: Literal[
        "conv",
        "conv_bias",
        "depthwise",
        "batch_norm",
        "instance_norm",
        "dense",
        "dense_no_bias",
        "conv_as_dense",
    ]
    part: str = ""


class WeightPair(NamedTuple):
    """A weight of ours and the PyTorch weight that it takes.

    Attributes:
        ours: Our key, `layer/weight`.
        theirs: PyTorch's key, `module.weight`.
        transform: Function from PyTorch's array to ours, which reorders axes.
    """

    ours: str
    theirs: str
    transform: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Layout:
    """How checkpoints name the weights of a family of backbones.

    Keys are the checkpoint's, without prefixes unless stated otherwise.

    Attributes:
        layer_pairs: Lists the layers of a backbone, given the settings that `found` returns by
            name, under one canonical naming and without the head.
        renames: One function for each naming of the toolboxes, which turns a key of it into the
            canonical one, given the backbone.
        other_network: Names the network that keys belong to if they only resemble the backbone's:
            a noun phrase for an error message, else None.
        settings: Settings of a recipe's `model` section that the keys, with prefixes, reveal.
        found: Settings of the backbone that decide which layers it has, as the arrays show.
        adapt: Adapts a checkpoint's arrays to our layers; also returns a note for the user or None.
        last_stride_varies: Whether toolboxes differ in the setting `last_stride`.
    """

    layer_pairs: Callable[..., list[LayerPair]]
    renames: tuple[Callable[[str, str], str], ...] = (lambda key, backbone: key,)
    other_network: Callable[[Iterable[str], str], str | None] = lambda keys, backbone: None
    settings: Callable[[Iterable[str], str], dict[str, Any]] = lambda keys, backbone: {}
    found: Callable[[Mapping[str, np.ndarray], str], dict[str, Any]] = (
        lambda weights, backbone: {})
    adapt: Callable[[Mapping[str, np.ndarray]], tuple[Mapping[str, np.ndarray], str | None]] = (
        lambda weights: (weights, None))
    last_stride_varies: bool = False

    def weight_pairs(self, backbone: str, **settings) -> list[WeightPair]:
        """Lists the weights of a backbone under their canonical names."""
        layers = self.layer_pairs(backbone, **settings)
        return [pair for layer in layers for pair in weight_pairs(layer)]


def weight_pairs(pair: LayerPair) -> Iterator[WeightPair]:
    """Lists the weights of a pair of layers."""
    for ours, theirs, transform in WEIGHTS[pair.kind]:
        yield WeightPair(f"{pair.ours}/{pair.part}{ours}", f"{pair.theirs}.{theirs}", transform)


def _same(array):
    return array


def _oihw_to_hwio(array):
    """Also correct for groups: both have [.., input channels of a group, all output channels]."""
    return np.transpose(array, (2, 3, 1, 0))


def _depthwise(array):
    """From [c, 1, h, w] to [h, w, c, 1]."""
    return np.transpose(array, (2, 3, 0, 1))


def _matrix(array):
    """From [out, in] to [in, out]."""
    return np.transpose(array)


def _matrix_of_1x1(array):
    """From [out, in, 1, 1] to [in, out]."""
    return np.transpose(array[:, :, 0, 0])


_AFFINE = (("gamma", "weight", _same), ("beta", "bias", _same))
_BIAS = ("bias", "bias", _same)

# Kind of module: (our weight, their weight, transform) each.
WEIGHTS = {
    "conv": (("kernel", "weight", _oihw_to_hwio),),
    "conv_bias": (("kernel", "weight", _oihw_to_hwio), _BIAS),
    "depthwise": (("depthwise_kernel", "weight", _depthwise),),
    "batch_norm": (
        *_AFFINE,
        ("moving_mean", "running_mean", _same),
        ("moving_variance", "running_var", _same),
    ),
    "instance_norm": _AFFINE,
    "dense": (("kernel", "weight", _matrix), _BIAS),
    "dense_no_bias": (("kernel", "weight", _matrix),),
    "conv_as_dense": (("kernel", "weight", _matrix_of_1x1), _BIAS),
}
