"""The warning of dropout that puts an image farther from itself than the margin."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.config import Config, ModelConfig
from tfreid.layers.preprocessing import InputSize
from tfreid.models.embedding import build_embedding_model
from tfreid.records import Records
from tfreid.systems.registry import make_system
from tfreid.training.dropout_noise import Margin, describe_noise

MODEL = ModelConfig(backbone="siamese_twin", filters=[4, 4], height=32, width=16, pooling="flatten",
                    embedding_size=2500, embedding_head="sigmoid", neck=False, classifier=False)


def noise(table, margin, **model):
    """What is told; the network is as before."""
    keras.utils.set_random_seed(0)
    network = build_embedding_model(dataclasses.replace(MODEL, **model))
    before = network.get_weights()
    found = describe_noise(network, margin, table, InputSize(32, 16), tf.distribute.get_strategy())
    for one, other in zip(network.get_weights(), before):
        np.testing.assert_array_equal(one, other)
    return found


def test_an_image_that_dropout_puts_beyond_the_margin_is_told(records):
    table = Records(records)["train"].load()
    # Of 2,500 sigmoids near 1/2, 32 % are dropped in one of two copies: 0.5 / 0.8 apart each.
    expected = np.sqrt(2500 * 0.32) * 0.5 / 0.8
    told, = noise(table, Margin(1.0, "loss.contrastive.margin=1"), dropout=0.2, block_dropout=0.0)
    assert "beyond loss.contrastive.margin=1: " in told
    assert float(told.split("image ")[1].split()[0]) == pytest.approx(expected, rel=0.05)
    unit = Margin(1.0, "x", normalize=True)
    assert not noise(table, unit, dropout=0.2, block_dropout=0.0)
    assert noise(table, Margin(1e-4, "x"), block_dropout=0.2)
    assert not noise(table, Margin(1e-4, "x"))  # without dropout


@pytest.mark.parametrize(("system", "overrides", "expected"), [
    ("siamese", {"siamese.loss": "contrastive"}, (1.0, "embedding", False)),
    ("siamese", {"siamese.loss": "triplet", "loss.triplet.normalize": True},
     (0.3, "embedding", True)),
    ("siamese", {"siamese.loss": "verification"}, None),
    ("embedding", {"loss.metric_feature": "neck"}, (0.3, "neck", False)),
    ("embedding", {"loss.triplet.margin": "soft"}, None),
    ("embedding", {"loss.triplet.weight": 0.0}, None),
    ("triplet", {"triplet.batch_norm": "batch"}, (0.2 ** 0.5, "embedding", False)),
    ("triplet", {}, None),
    ("csn", {}, None),
])
def test_the_margins_of_the_systems(system, overrides, expected):
    config = Config(system=system)
    for key, value in overrides.items():
        *sections, name = key.split(".")
        place = config
        for section in sections:
            place = getattr(place, section)
        setattr(place, name, value)
    found = make_system(config).margin()
    assert (found and (pytest.approx(found.distance), *found[2:])) == expected
