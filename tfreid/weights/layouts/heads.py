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
_REPLACED = "ImageNet's classes, beside the file's own classifier"
# What fast-reid stores of its normalisation, of colours in 0-255.
_MEAN, _IMAGENET_MEAN = "pixel_mean", (123.675, 116.28, 103.53)
# Known keys that no layer uses, with reasons.
_UNUSED = (
    (re.compile(r"pixel_(mean|std)"), "normalisation belongs to the recipe"),
    (
        re.compile(r"(classifier\.[036]|conv_head|pre_logits|head\.fc)\."),
        "ImageNet's layers behind the last pooling are not part of this backbone",
    ),
)
# The toolboxes' names, beside the common ones: fast-reid's, and those of earlier versions;
# Person_reID_baseline_pytorch's, mmtracking's, open-reid's.
_RENAMED = (
    (re.compile(r"heads\.(bottleneck\.0|bnneck)\."), "bottleneck."),
    (re.compile(r"heads\.(classifier\.)?weight$"), "classifier.weight"),
    (re.compile(r"(heads\.pool_layer|global_pool)\.p$"), "pool.p"),
    (re.compile(r"(classifier\.add_block\.0|head\.fc_out|feat)\."), "linear."),
    (re.compile(r"(classifier\.add_block\.1|head\.bn|feat_bn)\."), "bottleneck."),
    (re.compile(r"(classifier\.classifier\.0|head\.classifier)\."), "classifier."),
    (re.compile(r"head\.fcs\.0\."), "hidden."),
)
# What names tell that weights do not.
_NOTES = (
    ("classifier.add_block.", "a ClassBlock with relu=True has a LeakyReLU behind its batch "
     "normalisation, which no weight shows; it is left out here"),
    ("head.fc_out.", "mmtracking ranks by the feature before the neck; set "
     "evaluation.feature=embedding"),
    ("heads.weight", "if this is fast-reid's SBS, it classifies by cosines, which no weight shows; "
     "to train on with these, set loss.classifier=circle loss.classifier_scale=64 "
     "loss.classifier_margin=0.35"),
)


class Head(NamedTuple):
    """A converted head.

    Attributes:
        weights: Arrays by our keys.
        sources: The checkpoint's key of each of ours.
        settings: Settings of a recipe's `model` section that build this head.
        dropped: Keys of the checkpoint that were left out, with reasons.
        notes: Further information for the user.
    """

    weights: dict[str, np.ndarray]
    sources: dict[str, str]
    settings: dict[str, Any]
    dropped: dict[str, str]
    notes: list[str]


def convert_head(
    state: Mapping[str, np.ndarray], channels: int, classifier: Classifier | None = None
) -> Head:
    """Converts the head of a checkpoint, layer by layer while each fits the one before.

    Known are those of torchreid, Bag of Tricks (and AGW), fast-reid, open-reid and its descendants,
    Person_reID_baseline_pytorch, mmtracking, torchvision and timm.

    Args:
        state: Arrays by the checkpoint's keys, without the backbone's; unknown keys are ignored.
        channels: Channels of the backbone's feature map.
        classifier: Whether to keep the classifier. Defaults to yes unless it is ImageNet's.
    """
    head = Head({}, {}, {}, {}, [])
    head.dropped.update(
        (key, reason) for key in state for pattern, reason in _UNUSED if pattern.match(key)
    )
    head.notes.extend(
        note for start, note in _NOTES if any(key.startswith(start) for key in state))
    mean = np.ravel(state.get(_MEAN, _IMAGENET_MEAN))
    if mean.shape != (3,) or not np.allclose(mean, _IMAGENET_MEAN, atol=0.01):
        head.notes.append(f"{_MEAN} is not that of ImageNet, which model.normalization=torch "
                          "subtracts, so features differ from the toolbox's")
    keys = {_rename(key): key for key in state if key not in head.dropped}
    if any(name.startswith("head.fcs.") for name in keys):
        keys = {}  # mmtracking's second hidden layer has no place, nor has what follows it
    if len(_shape(state, keys, "linear.weight")) == 1:
        # A ClassBlock without its linear layer begins with the batch normalisation.
        keys = {re.sub("^linear", "bottleneck", name): key for name, key in keys.items()}
    channels = _convert_embedding(head, state, keys, channels)
    if _shape(state, keys, "bottleneck.weight") == (channels,):
        _take(head, state, keys, LayerPair("neck", "bottleneck", "batch_norm"))
        shift = head.weights.get("neck/beta", np.zeros(1))
        head.settings.update(neck=True, neck_beta=bool(np.any(shift)))
    if "pool.p" in keys and state[keys["pool.p"]].size == 1:
        head.weights["pool/p"] = state[keys["pool.p"]].reshape(())
        head.sources["pool/p"] = keys["pool.p"]
        head.settings["pooling"] = "gem"
    _convert_classifier(head, state, keys, channels, classifier)
    return head


def _convert_embedding(head, state, keys, channels):
    """Converts the linear layers before the neck, and returns the length of the feature."""
    hidden = _shape(state, keys, "hidden.fc.weight")
    norm = _shape(state, keys, "hidden.bn.running_mean")
    if len(hidden) == 2 and hidden[1] == channels and norm == hidden[:1]:
        _take(head, state, keys, LayerPair("hidden", "hidden.fc", "dense"))
        _take(head, state, keys, LayerPair("hidden_bn", "hidden.bn", "batch_norm"))
        head.settings.update(hidden_size=hidden[0])
        channels = hidden[0]
    names = {"fc.0": "fc.1", "linear": "bottleneck"}
    for linear, norm in names.items():
        shape = _shape(state, keys, f"{linear}.weight")
        if len(shape) != 2 or shape[1] != channels or f"{linear}.bias" not in keys:
            continue
        # torchreid and open-reid have a ReLU behind the normalisation. The descendants of open-reid
        # have none, and freeze its shift at zero.
        relu = linear == "fc.0" or (
            keys[f"{linear}.bias"].startswith("feat.") and f"{norm}.bias" in keys
            and np.any(state[keys[f"{norm}.bias"]]))
        if relu and _shape(state, keys, f"{norm}.running_mean") != shape[:1]:
            continue
        _take(head, state, keys, LayerPair("fc", linear, "dense"))
        head.settings["embedding_size"] = shape[0]
        if relu:
            _take(head, state, keys, LayerPair("fc_bn", norm, "batch_norm"))
            head.settings["embedding_head"] = "linear_bn_relu"
            for part in ("weight", "bias", "running_mean", "running_var"):
                keys.pop(f"{norm}.{part}", None)
        head.settings["neck"] = False
        return shape[0]
    return channels


def _convert_classifier(head, state, keys, channels, wanted):
    # The toolboxes of this field; torchvision and timm, Cadene's SE networks.
    names = ("classifier", "fc", "last_linear")
    modules = [name for name in names if len(_shape(state, keys, f"{name}.weight")) == 2]
    if not modules:
        return
    module, *others = modules
    for other in others:
        if len(state[keys[f"{other}.weight"]]) == IMAGENET_CLASSES:
            _drop(head, keys, other, _REPLACED)
    classes, inputs = state[keys[f"{module}.weight"]].shape
    reason = None
    if wanted == "drop":
        reason = "as requested"
    elif wanted is None and (module != "classifier" or classes == IMAGENET_CLASSES):
        reason = _IMAGENET
    elif inputs != channels:
        reason = f"it classifies features of length {inputs}, and the model's have {channels}"
    if reason:
        _drop(head, keys, module, reason)
        return
    bias = f"{module}.bias" in keys
    kind = "dense" if bias else "dense_no_bias"
    _take(head, state, keys, LayerPair("classifier", module, kind))
    head.settings.setdefault("neck", False)
    head.settings.update(classifier_bias=bias, num_identities=classes)


def _drop(head, keys, module, reason):
    names = (f"{module}.{part}" for part in ("weight", "bias"))
    head.dropped.update({keys[name]: reason for name in names if name in keys})


def _take(head, state, keys, layer):
    for pair in weight_pairs(layer):
        if pair.theirs in keys:
            head.weights[pair.ours] = pair.transform(state[keys[pair.theirs]])
            head.sources[pair.ours] = keys[pair.theirs]


def _shape(state, keys, name):
    """Returns a weight's shape, () if there is none."""
    return state[keys[name]].shape if name in keys else ()


def _rename(key):
    for pattern, name in _RENAMED:
        if pattern.match(key):
            return pattern.sub(name, key)
    return key
