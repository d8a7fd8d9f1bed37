"""A trained model from settings and a weight file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras

from tfreid.config import Config
from tfreid.devices import share_gpus
from tfreid.models.embedding import build_embedding_model
from tfreid.systems.csn.network import build_csn
from tfreid.systems.siamese.network import build_siamese, siamese_parts
from tfreid.weights.files import load_weights, read_shapes

_CLASSIFIER = "classifier/"
_WITHOUT_CLASSIFIER = {"csn": build_csn, "siamese": build_siamese}


def load_model(config: Config, weights: str | Path) -> tuple[keras.Model, Config]:
    """Builds the model of any system with trained weights.

    Args:
        config: The settings.
        weights: `.weights.h5` file.

    Returns:
        The model, and the settings with what the file decides.

    Raises:
        UserError: The file is missing, or holds the weights of another architecture.
    """
    build = _WITHOUT_CLASSIFIER.get(config.system)
    if build is None:
        return load_embedding_model(config, weights)
    share_gpus()
    model = build(config)
    load_weights(model, weights)
    return model, config


def load_embedding_model(config: Config, weights: str | Path) -> tuple[keras.Model, Config]:
    """Builds the model of a recipe with trained weights.

    The classifier takes the width that it has in the file; a file without one, such as a converted
    checkpoint, leaves it untrained, which ranking does not mind. Of `system: siamese` it is the
    twin.

    Args:
        config: The settings.
        weights: `.weights.h5` file.

    Returns:
        The model, and the settings with the classifier's width.

    Raises:
        UserError: The file is missing, or holds the weights of another architecture.
    """
    if config.system == "siamese":
        model, config = load_model(config, weights)
        return siamese_parts(model).embed, config
    share_gpus()
    kernel = read_shapes(weights).get(_CLASSIFIER + "kernel", (0, 1))
    settings = dataclasses.replace(config.model, num_identities=kernel[-1])
    model = build_embedding_model(settings)
    load_weights(model, weights, allow_missing=(_CLASSIFIER,))
    return model, dataclasses.replace(config, model=settings)
