"""MobileNetV3-Large: parameter counts, sizes, initial weights, and one block in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfreid.backbones import BACKBONES
from tfreid.backbones.mobilenet_v3 import Block, _inverted_residual, mobilenet_v3_large
from tfreid.config import ModelConfig
from tfreid.models.embedding import build_embedding_model

# The layers of the ImageNet classifier, 960 -> 1280 -> 1000 with biases, which no feature needs.
DEAD_HEAD = 960 * 1280 + 1280 + 1280 * 1000 + 1000


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((256, 128, 3))
    return keras.Model(inputs, BACKBONES["mobilenet_v3_large"](inputs))


def test_trunk(model):
    assert trainable(model) == 2_971_952
    assert model.output_shape == (None, 8, 4, 960)
    assert BACKBONES["mobilenet_v3_large"].channels == 960


def test_published_count_of_the_report():
    config = ModelConfig(backbone="mobilenet_v3_large", neck_beta=True, classifier_bias=True)
    count = trainable(build_embedding_model(config, 751))
    assert count == 3_695_583
    assert DEAD_HEAD == 2_511_080
    assert count + DEAD_HEAD == 6_206_663


def test_squeezes_have_a_quarter_rounded_to_eights(model):
    """Widths of torchvision's release."""
    squeezed = [layer.filters for layer in model.layers if layer.name.endswith("_se_squeeze")]
    assert squeezed == [24, 32, 32, 120, 168, 168, 240, 240]


def test_normalisation_constants(model):
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 46
    assert {(layer.epsilon, layer.momentum) for layer in norms} == {(1e-3, 0.99)}


@pytest.mark.parametrize(
    "settings, side",
    [
        ({}, (8, 4)),
        ({"last_stride": 1}, (16, 8)),
        ({"strides": (1, 2, 2, 2)}, (16, 8)),
        ({"strides": (2, 1, 2, 1), "last_stride": 2}, (16, 8)),
        ({"strides": (1, 1, 1, 1)}, (128, 64)),
    ],
)
def test_strides_change_the_map_and_not_the_weights(settings, side, model):
    inputs = keras.Input((256, 128, 3))
    other = keras.Model(inputs, mobilenet_v3_large(inputs, **settings))
    assert other.output_shape == (None, *side, 960)
    assert other.count_params() == model.count_params()
    assert sum(isinstance(layer, keras.layers.Add) for layer in other.layers) == 10


def test_odd_sides_round_up():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, mobilenet_v3_large(inputs))
    assert model(np.zeros((1, 65, 31, 3), np.float32)).shape == (1, 3, 1, 960)


def test_strides_must_be_four():
    with pytest.raises(ValueError, match=r"4 positive integers, got \[2, 2, 2\]"):
        mobilenet_v3_large(keras.Input((64, 32, 3)), strides=(2, 2, 2))


def test_initial_weights_are_he_normal_over_the_fan_out(model):
    def deviation(name):
        return model.get_layer(name).trainable_weights[0].numpy().std()

    assert deviation("last_conv") == pytest.approx(np.sqrt(2 / 960), rel=0.05)
    assert deviation("stage4_block2_depthwise") == pytest.approx(np.sqrt(2 / (25 * 960)), rel=0.05)
    assert deviation("stage4_block2_se_squeeze") == pytest.approx(np.sqrt(2 / 240), rel=0.05)


@pytest.mark.parametrize("hard_swish", [False, True])
def test_block_against_numpy(hard_swish):
    """The moving statistics of a new block, 0 and 1, leave only a factor of its normalisations."""
    inputs = keras.Input((6, 5, 8))
    block = Block(5, 24, 8, True, hard_swish)
    model = keras.Model(inputs, _inverted_residual(inputs, block, 1, "block"))
    maps = np.random.default_rng(0).normal(size=(2, 6, 5, 8)).astype(np.float32) * 4

    def kernel(name):
        return model.get_layer(f"block_{name}").weights[0].numpy()

    def norm(x):
        return x / np.sqrt(1 + 1e-3)

    def hard_sigmoid(x):
        return np.clip(x / 6 + 0.5, 0, 1)

    def activation(x):
        return x * hard_sigmoid(x) if hard_swish else np.maximum(x, 0)

    x = activation(norm(maps @ kernel("expand")[0, 0]))
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    filters = kernel("depthwise")[..., 0]
    x = sum(padded[:, r : r + 6, c : c + 5] * filters[r, c] for r in range(5) for c in range(5))
    x = activation(norm(x))
    hidden = np.maximum(x.mean((1, 2)) @ kernel("se_squeeze")[0, 0], 0)
    assert hidden.shape == (2, 8)
    x = x * hard_sigmoid(hidden @ kernel("se_expand")[0, 0])[:, None, None, :]
    expected = norm(x @ kernel("project")[0, 0]) + maps
    np.testing.assert_allclose(model(maps, training=False), expected, atol=1e-4)
