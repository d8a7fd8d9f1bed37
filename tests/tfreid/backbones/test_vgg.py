"""VGG16: parameter count, sizes, strides, and the function of Keras Applications."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.backbones import BACKBONES
from tfreid.backbones.vgg import vgg16
from tfreid.config import ModelConfig
from tfreid.models.embedding import build_embedding_model
from tfreid.systems.embedding.grad_cam import cut_at_map, unit_features

# Simonyan and Zisserman, Table 1, column D: channels of the convolutions, M for max pooling.
COLUMN_D = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, BACKBONES["vgg16"](inputs))


@pytest.fixture(scope="module")
def theirs():
    """Keras's network, of biases that are not zero."""
    network = keras.applications.VGG16(include_top=False, weights=None)
    generator = np.random.default_rng(0)
    for layer in network.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            kernel = generator.normal(0, np.sqrt(2 / np.prod(kernel.shape[:3])), kernel.shape)
            layer.set_weights([kernel, generator.normal(0, 0.1, bias.shape)])
    return network


def outputs(network, names):
    return keras.Model(network.input, [network.get_layer(name).output for name in names])


def test_every_layer():
    inputs = keras.Input((256, 128, 3))
    network = keras.Model(inputs, vgg16(inputs))
    height, width, channels, sizes, parameters = 256, 128, 3, [], []
    for entry in COLUMN_D:
        if entry == "M":
            height, width = height // 2, width // 2
            parameters.append(0)
        else:
            parameters.append(9 * channels * entry + entry)
            channels = entry
        sizes.append((None, height, width, channels))
    layers = network.layers[1:]
    assert [tuple(layer.output.shape) for layer in layers] == sizes
    assert [layer.count_params() for layer in layers] == parameters
    assert sum(parameters) == network.count_params() == 14_714_688
    assert len(network.trainable_weights) == len(network.weights) == 26
    assert sizes[-1] == (None, 8, 4, BACKBONES["vgg16"].channels)


@pytest.mark.parametrize("size", [(64, 32), (75, 47)])
def test_same_function_as_keras_applications_layer_by_layer(size, model, theirs):
    names = [layer.name for layer in theirs.layers[1:]]
    assert [layer.name for layer in model.layers[1:]] == names
    for name in names:
        model.get_layer(name).set_weights(theirs.get_layer(name).get_weights())
    images = np.random.default_rng(1).normal(size=(2, *size, 3)).astype(np.float32)
    expected = outputs(theirs, names)(images, training=False)
    for actual, wanted in zip(outputs(model, names)(images, training=False), expected):
        wanted = np.asarray(wanted)
        assert wanted.std() > 0.01
        np.testing.assert_allclose(actual, wanted, atol=1e-5 * wanted.max())


@pytest.mark.parametrize(
    "settings, side",
    [
        ({}, (8, 4)),
        ({"last_stride": 2}, (8, 4)),
        ({"last_stride": 1}, (16, 8)),
        ({"strides": (2, 2, 1, 2, 1)}, (32, 16)),
        ({"strides": (2, 2, 1, 2, 1), "last_stride": 2}, (16, 8)),
    ],
)
def test_strides_change_the_map_and_not_the_weights(settings, side):
    inputs = keras.Input((256, 128, 3))
    network = keras.Model(inputs, vgg16(inputs, **settings))
    assert network.output_shape == (None, *side, 512)
    assert network.count_params() == 14_714_688


def test_last_stride_of_1_keeps_the_maxima(model):
    inputs = keras.Input((None, None, 3))
    fine = keras.Model(inputs, vgg16(inputs, last_stride=1))
    fine.set_weights(model.get_weights())
    images = np.random.default_rng(0).normal(size=(1, 96, 64, 3)).astype(np.float32)
    last = outputs(fine, ["block5_conv3", "block5_pool"])
    before, after = (np.asarray(x)[0] for x in last(images))
    expected = [[before[r : r + 2, c : c + 2].max((0, 1)) for c in range(4)] for r in range(6)]
    np.testing.assert_array_equal(after, expected)
    np.testing.assert_allclose(after[::2, ::2], np.asarray(model(images))[0], rtol=1e-5)


@pytest.mark.parametrize("settings", [{"strides": (2, 2, 2, 2)}, {"last_stride": 0}])
def test_bad_strides(settings):
    with pytest.raises(ValueError, match="5 positive integers"):
        vgg16(keras.Input((64, 32, 3)), **settings)


def test_initial_weights_are_he_normal_over_the_fan_out(model):
    inputs = keras.Input((None, None, 3))
    convolution = keras.Model(inputs, vgg16(inputs)).get_layer("block5_conv2")
    kernel, bias = convolution.get_weights()
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 512)), rel=0.01)
    assert not bias.any()


def test_embedding_model():
    config = ModelConfig(backbone="vgg16", height=64, width=32, num_identities=4)
    network = build_embedding_model(config)
    images = np.random.default_rng(0).integers(0, 256, (2, 80, 40, 3)).astype(np.float32)
    found = network(images, training=False)
    assert {name: tuple(x.shape) for name, x in found.items()} == {
        "embedding": (2, 512), "neck": (2, 512), "logits": (2, 4)
    }
    # What Grad-CAM explains is the last pooling's map.
    to_map, head = cut_at_map(network, "neck")
    area = to_map(images)
    assert area.shape == (2, 2, 1, 512)
    unit = np.asarray(found["neck"]) / np.linalg.norm(found["neck"], axis=1, keepdims=True)
    np.testing.assert_allclose(unit_features(head, area), unit, atol=1e-5)


@pytest.mark.parametrize(
    "settings, size",
    [
        ({"height": 64, "width": 31}, "64x31"),
        ({"height": 16, "width": 32, "last_stride": 1}, "16x32"),
        ({"longest_side": 62}, "62x31"),
    ],
)
def test_images_too_small(settings, size):
    with pytest.raises(UserError, match=f"images of {size} are too small .* make both sides 32"):
        build_embedding_model(ModelConfig(backbone="vgg16", num_identities=4, **settings))
