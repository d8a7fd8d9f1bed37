"""Embeddings that are unit vectors of undistorted images, without a classifier."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.config import Config, ModelConfig
from tfreid.models.embedding import build_embedding_model, input_size
from tfreid.models.flops import describe_model


@pytest.fixture
def config(tiny_backbone):
    return ModelConfig(backbone=tiny_backbone, longest_side=64, pooling="max", embedding_size=5,
                       normalize_embedding=True, neck=False, classifier=False)


def test_any_size_and_aspect_ratio_becomes_a_unit_vector(config):
    model = build_embedding_model(config)
    for size in ((40, 80), (80, 40), (30, 200)):
        images = np.random.default_rng(0).integers(0, 256, (2, *size, 3)).astype(np.float32)
        outputs = model(images, training=False)
        assert set(outputs) == {"embedding", "neck"}
        assert outputs["embedding"].shape == (2, 5)
        np.testing.assert_allclose(np.linalg.norm(outputs["embedding"], axis=1), 1.0, rtol=1e-5)


def test_the_maximum_is_pooled_and_projected(config):
    """By hand: the largest value of every channel, times the kernel, over its length."""
    model = build_embedding_model(config)
    images = np.random.default_rng(1).integers(0, 256, (1, 64, 32, 3)).astype(np.float32)
    maps = model.get_layer("pool").input
    kernel, bias = model.get_layer("fc").get_weights()
    peak = np.asarray(keras.Model(model.inputs, maps)(images)).max(axis=(1, 2))
    projected = peak @ kernel + bias
    np.testing.assert_allclose(model(images, training=False)["embedding"],
                               projected / np.linalg.norm(projected), atol=1e-5)


def test_sizes_and_cost_of_a_typical_image(config):
    described = describe_model(Config(model=config), build_embedding_model(config))
    assert input_size(config).of(256, 128) == (64, 32)
    assert described["input_shape"] == [64, 32, 3] and described["embedding_size"] == 5
    assert described["trainable_params"] == 3 * 3 * 3 * 8 + 2 * 8 + 8 * 5 + 5


def test_a_classifier_needs_its_width(config):
    config.classifier = True
    with pytest.raises(UserError, match="model.num_identities is not set"):
        build_embedding_model(config)
