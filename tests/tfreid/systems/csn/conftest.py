"""What tests of the CSN share: small networks, of which each kind is built once."""

from __future__ import annotations

import dataclasses
import functools
import json

import keras
import pytest

from tfreid.config import Config, ModelConfig
from tfreid.systems.csn.network import build_csn, csn_parts, pair_inputs
from tfreid.systems.csn.settings import Settings

WIDTH = 24


def _build(height, width, csn):
    shape = ModelConfig(height=height, width=width)
    return build_csn(Config(system="csn", model=shape, csn=csn))


@functools.cache
def _initialized(seed, csn):
    keras.utils.set_random_seed(seed)
    model = _build(64, 28, Settings(**json.loads(csn)))
    return model, [weight.numpy() for weight in model.weights]


@pytest.fixture(scope="session")
def small_csn():
    """The function from a seed and settings to a network of 24 channels for images of 64x28.

    It is the same network for the same arguments, with its initial weights once more.
    """

    def get(seed=1, **csn):
        settings = dataclasses.asdict(Settings(**{"width": WIDTH, **csn}))
        del settings["score"]  # no part of the network
        model, initial = _initialized(seed, json.dumps(settings))
        for weight, value in zip(model.weights, initial):
            weight.assign(value)
        return model

    return get


@pytest.fixture(scope="session")
def paper_csn():
    """The function from levels to the paper's network, for images of 160x60; read only."""
    return functools.cache(lambda *levels: _build(160, 60, Settings(levels=list(levels))))


@pytest.fixture(scope="session")
def settle():
    """The function that gives a network's decision the statistics of pairs of its own features.

    Then the logits, which are huge before training, are of sensible size.
    """

    def run(model, images, first, second):
        parts = csn_parts(model)
        features = parts.extract(images, training=False)
        norms = [layer for layer in parts.decide.layers
                 if isinstance(layer, keras.layers.BatchNormalization)]
        momenta = [layer.momentum for layer in norms]
        for layer in norms:
            layer.momentum = 0.0
        parts.compare(pair_inputs(*({name: x.numpy()[rows] for name, x in features.items()}
                                    for rows in (first, second))), training=True)
        for layer, momentum in zip(norms, momenta):
            layer.momentum = momentum
        return features

    return run
