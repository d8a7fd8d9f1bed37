"""ImageNet weights: our trunk must compute what Keras Applications computes."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.backbones import BACKBONES
from tfreid.config import Config, ModelConfig
from tfreid.layers.preprocessing import ImagePreprocessing
from tfreid.systems.embedding.system import EmbeddingSystem
from tfreid.weights.files import weight_keys
from tfreid.weights.keras_applications import load_imagenet

pytestmark = pytest.mark.slow


def our_model(mode="caffe", backbone="resnet50", size=(256, 128), **settings):
    inputs = keras.Input((*size, 3))
    x = ImagePreprocessing(*size, mode, name="preprocess")(inputs)
    return keras.Model(inputs, BACKBONES[backbone](x, **settings))


def randomise(model):
    """Draws every weight, also the biases and the statistics that start as zeros and ones."""
    generator = np.random.default_rng(0)
    for variable in model.weights:
        shape = tuple(variable.shape)
        if len(shape) == 4:
            value = generator.normal(0, np.sqrt(2 / np.prod(shape[:3])), shape)
        elif any(part in variable.name for part in ("gamma", "variance")):
            value = generator.uniform(0.5, 1.5, shape)
        else:
            value = generator.normal(0, 0.3, shape)
        variable.assign(value)


@pytest.fixture(scope="module")
def theirs():
    model = keras.applications.ResNet50(weights=None, include_top=False)
    randomise(model)
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (2, 256, 128, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def expected(theirs, images):
    pixels = keras.applications.resnet50.preprocess_input(images.copy())
    return theirs(pixels, training=False).numpy()


@pytest.fixture(scope="module")
def like_theirs():
    """Our model of the images' size, once for all tests."""
    return our_model(stride_in_1x1=True, bn_epsilon=1.001e-5)


@pytest.fixture
def ours(like_theirs):
    """Our model without a sound weight, so that each test finds those that it loads."""
    for variable in like_theirs.weights:
        variable.assign(np.full(variable.shape, np.nan))
    return like_theirs


@pytest.fixture(scope="module")
def unloaded():
    """A small model of ours, for what is refused before it is changed."""
    return our_model(size=(64, 32), stride_in_1x1=True)


def assert_same(actual, expected):
    np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())


def test_same_features(theirs, ours, images, expected):
    load_imagenet(ours, "resnet50", theirs)
    assert_same(ours(images, training=False), expected)


def test_non_local_blocks_start_without_effect(theirs, images, expected):
    model = our_model(stride_in_1x1=True, bn_epsilon=1.001e-5, non_local=(0, 2, 3, 0))
    load_imagenet(model, "resnet50", theirs)
    assert_same(model(images, training=False), expected)


def test_weights_from_a_file(theirs, ours, images, expected, tmp_path):
    path = tmp_path / "resnet50.weights.h5"
    theirs.save_weights(path)
    load_imagenet(ours, "resnet50", str(path))
    assert_same(ours(images, training=False), expected)


@pytest.mark.parametrize(
    "settings", [{"mode": "torch", "stride_in_1x1": True}, {"stride_in_1x1": False}]
)
def test_model_that_differs_from_theirs(settings):
    model = our_model(size=(64, 32), **settings)
    with pytest.raises(UserError, match="stride_in_1x1=true with model.normalization=caffe"):
        load_imagenet(model, "resnet50", "absent.h5")


def test_every_layer_of_a_deeper_network():
    theirs = keras.applications.ResNet101(weights=None, include_top=False)
    ours = our_model(size=(32, 32), backbone="resnet101", stride_in_1x1=True)
    variables = weight_keys(ours)
    for variable in variables.values():
        variable.assign(np.full(variable.shape, np.nan))
    load_imagenet(ours, "resnet101", theirs)
    assert not [key for key, variable in variables.items() if np.isnan(variable.numpy()).any()]
    with pytest.raises(UserError, match="is not a resnet50"):
        load_imagenet(ours, "resnet50", theirs)
    kernel = theirs.get_layer("conv4_block23_2_conv").kernel
    np.testing.assert_array_equal(variables["stage3_block23_conv2/kernel"], kernel)


@pytest.mark.parametrize("backbone", ["osnet_x0_25", "resnet50_ibn_a"])
def test_another_backbone(backbone):
    model = our_model(backbone=backbone, size=(64, 32))
    with pytest.raises(UserError, match="is not a resnet50"):
        load_imagenet(model, "resnet50", "absent.h5")


def test_backbone_without_such_weights():
    with pytest.raises(ValueError, match="got resnet34"):
        load_imagenet(keras.Sequential(), "resnet34")


def test_vgg16_from_a_file(images, tmp_path):
    theirs = keras.applications.VGG16(weights=None, include_top=False)
    randomise(theirs)
    path = tmp_path / "vgg16.weights.h5"
    theirs.save_weights(path)
    ours = our_model(backbone="vgg16")
    load_imagenet(ours, "vgg16", path)
    pixels = keras.applications.vgg16.preprocess_input(images.copy())
    assert_same(ours(images, training=False), theirs(pixels, training=False).numpy())
    with pytest.raises(UserError, match="is not a resnet50 .the layer block1_conv1"):
        load_imagenet(ours, "resnet50", theirs)


def test_vgg16_needs_their_normalisation_alone(unloaded):
    model = our_model("torch", "vgg16", (64, 32))
    with pytest.raises(UserError, match=r"fit only model.normalization=caffe; set it\.$"):
        load_imagenet(model, "vgg16", "absent.h5")
    model = our_model("caffe", "vgg16", (64, 32), last_stride=1)
    with pytest.raises(UserError, match="path of vgg16_weights_tf_dim_ordering_tf_kernels_notop"):
        load_imagenet(model, "vgg16", "absent.h5")
    with pytest.raises(UserError, match="is not a vgg16"):
        load_imagenet(unloaded, "vgg16", "absent.h5")


def test_recipe_of_a_backbone_without_such_weights():
    config = Config(name="osnet", model=ModelConfig(backbone="osnet_x1_0", weights="imagenet"))
    with pytest.raises(UserError, match="for resnet50, resnet101, resnet152, vgg16 only, not for "):
        EmbeddingSystem(config).load_initial_weights(keras.Sequential())


def test_missing_and_wrong_files(unloaded, tmp_path):
    with pytest.raises(UserError, match="absent.h5 does not exist"):
        load_imagenet(unloaded, "resnet50", "absent.h5")
    text = tmp_path / "text.h5"
    text.write_text("hello")
    with pytest.raises(UserError, match="text.h5 does not hold the weights"):
        load_imagenet(unloaded, "resnet50", text)


def test_failed_download(unloaded, monkeypatch):
    def no_network(**_):
        raise Exception("URL fetch failure")  # noqa: TRY002 - it is what Keras raises

    monkeypatch.setattr(keras.applications, "ResNet50", no_network)
    with pytest.raises(UserError, match="model.imagenet_weights=PATH"):
        load_imagenet(unloaded, "resnet50")
