"""Initial weights: from ImageNet, or from a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import keras

from tfrecords.errors import UserError
from tfrecords.storage import exists
from tfreid.backbones import BACKBONES
from tfreid.backbones.resnet import NON_LOCAL
from tfreid.config import ModelConfig
from tfreid.models.embedding import HEAD_LAYERS
from tfreid.weights.files import load_weights, read_shapes, weight_keys
from tfreid.weights.keras_applications import IMAGENET_BACKBONES, load_imagenet
from tfreid.weights.rendered import NAME, find_weights


def load_initial_weights(model: keras.Model, embed: keras.Model, config: ModelConfig,
                         skip: Sequence[str] = ("classifier",),
                         heads: Sequence[str] = HEAD_LAYERS) -> None:
    """Loads the weights that `model.weights` names, if any, except for the classifier.

    Args:
        model: The model.
        embed: The embedding model in it, or the model itself.
        config: The `model` section.
        skip: Layers whose weights are not loaded, since they depend on the identities.
        heads: Layers that a file may lack, as ImageNet's weights do, beside non-local blocks.

    Raises:
        UserError: If the weights are missing or do not fit.
    """
    weights = config.weights
    if config.imagenet_weights and weights != "imagenet":
        raise UserError("model.imagenet_weights needs model.weights=imagenet; set both or neither.")
    if weights == "imagenet":
        if config.backbone not in IMAGENET_BACKBONES:
            raise UserError(f"model.weights=imagenet exists for {', '.join(IMAGENET_BACKBONES)} "
                            f"only, not for {config.backbone}; give a .weights.h5 file or null.")
        load_imagenet(embed, config.backbone, config.imagenet_weights or "imagenet")
    elif weights is not None:
        added = [layer.name for layer in embed.layers if NON_LOCAL in layer.name]
        file = find_weights(weights, config.backbone)
        if (weights == NAME or _is_converted(config)) and not _fits_head(
                model, file, heads, whole=weights == NAME):
            skip = (*skip, *heads)
            print(f"the weights {weights} have another head: it is trained from initial values")
        report = load_weights(model, file, skip=[f"{layer}/" for layer in skip],
                              allow_missing=[f"{layer}/" for layer in (*heads, *added)])
        if report.missing:
            print(f"{weights} has no {', '.join(report.missing)}: trained from initial values")


def _is_converted(config: ModelConfig) -> bool:
    """Returns whether the weights are named as `tfreid convert` names ImageNet's."""
    return os.path.basename(config.weights) == f"{config.backbone}.weights.h5"


def _fits_head(model: keras.Model, file: str, heads: Sequence[str], whole: bool) -> bool:
    """Returns whether the layers that a file has behind the backbone are the model's.

    The classifier does not count. If `whole`, the file must have all of the model's.
    """
    def shapes(of: Mapping[str, Sequence[int]]) -> dict[str, tuple]:
        return {key: tuple(shape) for key, shape in of.items()
                if key.partition("/")[0] in heads and not key.startswith("classifier/")}

    found, own = shapes(read_shapes(file)), shapes(
        {key: variable.shape for key, variable in weight_keys(model).items()})
    return found == own if whole else found.items() <= own.items()


def describe_initial_weights(config: ModelConfig) -> str:
    """Returns what a training starts from, as text."""
    if config.weights is None:
        return "random weights"
    return {"imagenet": "Keras's ImageNet weights", NAME: "weights of rendered people"}.get(
        config.weights, config.weights)


def check_converted(config: ModelConfig) -> None:
    """Refuses a recipe whose file of ImageNet weights was not made yet, to fail fast.

    Raises:
        UserError: If `model.weights` is BACKBONE.weights.h5 and missing; it says how to get it.
    """
    weights, backbone = config.weights, config.backbone
    source = BACKBONES[backbone].checkpoints if backbone in BACKBONES else None
    if source and weights and _is_converted(config) and not exists(weights):
        raise UserError(
            f"model.weights: {weights} does not exist; get the ImageNet checkpoint of {backbone} "
            f"from {source} and convert it by `tfreid convert --arch {backbone} --input "
            f"CHECKPOINT.pth --output {weights}` (docs/recipes.md), or set model.weights=null to "
            "start from random weights.")
