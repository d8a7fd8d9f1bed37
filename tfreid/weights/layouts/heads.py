"""Heads: the layers behind the backbone in the checkpoints of the toolboxes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from tfreid.weights.layouts.layout import LayerPair, weight_pairs

Classifier = Literal["keep", "drop"]
IMAGENET_CLASSES = 1000

_IMAGENET = "ImageNet's classes are not identities; --classifier keep converts it anyway"
# Known keys that no layer uses, with reasons.
_UNUSED = (
    (re.compile(r"pixel_(mean|std)"), "normalisation belongs to the recipe"),
    (
        re.compile(r"(classifier\.[036]|conv_head|pre_logits|head\.fc)\."),
        "ImageNet's layers behind the last pooling are not part of this backbone",
    ),
)
# fast-reid's names, and those of earlier versions, beside the common ones.
_RENAMED = (
    (re.compile(r"heads\.(bottleneck\.0|bnneck)\."), "bottleneck."),
    (re.compile(r"heads\.(classifier\.)?weight$"), "classifier.weight"),
    (re.compile(r"(heads\.pool_layer|global_pool)\.p$"), "pool.p"),
)


class Head(NamedTuple):
    """A converted head.

    Attributes:
        weights: Arrays by our keys.
        sources: The checkpoint's key of each of ours.
        settings: Settings of a recipe's `model` section that build this head.
        dropped: Keys of the checkpoint that were left out, with reasons.
    """

    weights: dict[str, np.ndarray]
    sources: dict[str, str]
    settings: dict[str, Any]
    dropped: dict[str, str]


def convert_head(
    state: Mapping[str, np.ndarray], channels: int, classifier: Classifier | None = None
) -> Head:
    """Converts the head of torchreid, Bag of Tricks, fast-reid, torchvision or timm.

    Args:
        state: Arrays by the checkpoint's keys, without the backbone's; unknown keys are ignored.
        channels: Channels of the backbone's feature map.
        classifier: Whether to keep the classifier. Defaults to yes unless it is ImageNet's.
    """
    head = Head({}, {}, {}, {})
    head.dropped.update(
        (key, reason) for key in state for pattern, reason in _UNUSED if pattern.match(key)
    )
    keys = {_rename(key): key for key in state if key not in head.dropped}
    if _axes(state, keys, "fc.0.weight") == 2 and "fc.1.running_mean" in keys:
        _take(head, state, keys, LayerPair("fc", "fc.0", "dense"))
        _take(head, state, keys, LayerPair("fc_bn", "fc.1", "batch_norm"))
        channels = head.weights["fc/kernel"].shape[1]
        head.settings.update(embedding_size=channels, embedding_head="linear_bn_relu", neck=False)
    if _axes(state, keys, "bottleneck.weight") == 1:
        _take(head, state, keys, LayerPair("neck", "bottleneck", "batch_norm"))
        shift = head.weights.get("neck/beta", np.zeros(1))
        head.settings.update(neck=True, neck_beta=bool(np.any(shift)))
    if "pool.p" in keys and state[keys["pool.p"]].size == 1:
        head.weights["pool/p"] = state[keys["pool.p"]].reshape(())
        head.sources["pool/p"] = keys["pool.p"]
        head.settings["pooling"] = "gem"
    _convert_classifier(head, state, keys, channels, classifier)
    return head


def _convert_classifier(head, state, keys, channels, wanted):
    # torchvision and timm, Cadene's SE networks; then the toolboxes of this field.
    names = ("fc", "last_linear", "classifier")
    module = next((name for name in names if _axes(state, keys, f"{name}.weight") == 2), None)
    if module is None:
        return
    bias = f"{module}.bias" in keys
    classes, inputs = state[keys[f"{module}.weight"]].shape
    reason = None
    if wanted == "drop":
        reason = "as requested"
    elif wanted is None and (module != "classifier" or classes == IMAGENET_CLASSES):
        reason = _IMAGENET
    elif inputs != channels:
        reason = f"it classifies features of length {inputs}, and the model's have {channels}"
    if reason:
        parts = ("weight", "bias") if bias else ("weight",)
        head.dropped.update({keys[f"{module}.{part}"]: reason for part in parts})
        return
    kind = "dense" if bias else "dense_no_bias"
    _take(head, state, keys, LayerPair("classifier", module, kind))
    head.settings.setdefault("neck", False)
    head.settings.update(classifier_bias=bias, num_identities=classes)


def _take(head, state, keys, layer):
    for pair in weight_pairs(layer):
        if pair.theirs in keys:
            head.weights[pair.ours] = pair.transform(state[keys[pair.theirs]])
            head.sources[pair.ours] = keys[pair.theirs]


def _axes(state, keys, name):
    return state[keys[name]].ndim if name in keys else None


def _rename(key):
    for pattern, name in _RENAMED:
        key = pattern.sub(name, key)
    return key
