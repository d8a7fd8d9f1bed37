"""Initial weights: from ImageNet, or from a file."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tfrecords.errors import UserError
from tfreid.config import ModelConfig
from tfreid.models.embedding import HEAD_LAYERS
from tfreid.weights.files import load_weights
from tfreid.weights.keras_applications import IMAGENET_BACKBONES, load_imagenet


def load_initial_weights(model: keras.Model, embed: keras.Model, config: ModelConfig,
                         skip: Sequence[str] = ("classifier",),
                         heads: Sequence[str] = HEAD_LAYERS) -> None:
    """Loads the weights that `model.weights` names, if any, except for the classifier.

    Args:
        model: The model.
        embed: The embedding model in it, or the model itself.
        config: The `model` section.
        skip: Layers whose weights are not loaded, since they depend on the identities.
        heads: Layers that a file may lack, as ImageNet's weights do.

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
        report = load_weights(model, weights, skip=[f"{layer}/" for layer in skip],
                              allow_missing=[f"{layer}/" for layer in heads])
        if report.missing:
            print(f"{weights} has no {', '.join(report.missing)}: trained from initial values")
