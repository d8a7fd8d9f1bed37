"""The network of the MARS study, layer by layer, and its number of parameters."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.backbones.siamese_twin import siamese_twin
from tfreid.config import Config, ModelConfig
from tfreid.systems.siamese.network import build_siamese, siamese_parts
from tfreid.systems.siamese.settings import Settings as SiameseSettings

PAPER = ModelConfig(
    backbone="siamese_twin", height=256, width=128, normalization="unit", pooling="flatten",
    embedding_size=4096, embedding_head="sigmoid", neck=False, classifier=False, dropout=0.2)
# Height, width and channels behind each layer of the four blocks.
SHAPES = {
    "block1_conv": (256, 128, 256), "block1_pool": (128, 64, 256), "block1_bn": (128, 64, 256),
    "block1_relu": (128, 64, 256), "block1_dropout": (128, 64, 256),
    "block2_conv": (128, 64, 128), "block2_pool": (64, 32, 128), "block2_bn": (64, 32, 128),
    "block2_relu": (64, 32, 128), "block2_dropout": (64, 32, 128),
    "block3_conv": (64, 32, 64), "block3_pool": (32, 16, 64), "block3_bn": (32, 16, 64),
    "block3_relu": (32, 16, 64), "block3_dropout": (32, 16, 64),
    "block4_conv": (32, 16, 32), "block4_pool": (16, 8, 32), "block4_bn": (16, 8, 32),
    "block4_relu": (16, 8, 32), "block4_dropout": (16, 8, 32),
    "pool": (4096,), "fc": (4096,), "dropout": (4096,), "embedding": (4096,),
}


@pytest.fixture(scope="module")
def network():
    return build_siamese(Config(system="siamese", model=PAPER))


def count(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


def test_layers_of_the_papers_network(network):
    embed = siamese_parts(network).embed
    found = {layer.name: tuple(layer.output.shape[1:]) for layer in embed.layers
             if layer.name in SHAPES}
    assert found == SHAPES
    # In this order, with nothing between them.
    names = [layer.name for layer in embed.layers]
    assert names == ["images", "preprocess", *SHAPES]


def test_parameters_of_the_papers_network(network):
    # 3x3 kernels and biases, gamma and beta, two dense layers.
    convolutions = sum(9 * a * b + b for a, b in ((3, 256), (256, 128), (128, 64), (64, 32)))
    norms = 2 * (256 + 128 + 64 + 32)
    assert convolutions + norms == 395_424
    assert count(network.trainable_weights) == 395_424 + 4096 * 4097 + 4097 == 17_180_833
    assert count(network.weights) - count(network.trainable_weights) == norms


def test_the_merge_network_is_one_unit_over_the_difference(network):
    compare = siamese_parts(network).compare
    assert tuple(compare.get_layer("merge").output.shape[1:]) == (4096,)
    assert count(compare.weights) == 4097
    assert tuple(compare.output.shape) == (None,)
    cosine = build_siamese(Config(
        system="siamese", siamese=SiameseSettings("cosine"),
        model=ModelConfig(backbone="siamese_twin", height=32, width=16, pooling="flatten",
                          embedding_size=8, neck=False, classifier=False)))
    assert count(siamese_parts(cosine).compare.weights) == 2


def test_without_dropout_there_is_none():
    images = keras.Input((64, 32, 3))
    model = keras.Model(images, siamese_twin(images))
    assert not [layer for layer in model.layers if "dropout" in layer.name]
    assert tuple(model.output.shape[1:]) == (4, 2, 32)
    finer = keras.Model(images, siamese_twin(images, last_stride=1))
    assert tuple(finer.output.shape[1:3]) == (7, 3)
    with pytest.raises(ValueError, match="4 positive integers"):
        siamese_twin(images, strides=(2, 2))


def test_blocks_have_filters_and_dropout_of_their_own():
    def built(**model):
        return siamese_parts(build_siamese(Config(system="siamese", model=ModelConfig(**{
            "backbone": "siamese_twin", "height": 32, "width": 16, "pooling": "flatten",
            "embedding_size": 8, "neck": False, "classifier": False, **model})))).embed

    embed = built(filters=[6, 5, 4], block_dropout=0.1)
    assert tuple(embed.get_layer("block3_relu").output.shape[1:]) == (4, 2, 4)
    dropped = {layer.name: layer.rate for layer in embed.layers if "dropout" in layer.name}
    assert dropped == {f"block{number}_dropout": 0.1 for number in (1, 2, 3)}
    dropped = [layer.name for layer in built(dropout=0.2, block_dropout=0.0).layers
               if "dropout" in layer.name]
    assert dropped == ["dropout"]
    with pytest.raises(UserError, match="images of 32x16 are too small"):
        built(filters=[2] * 5)
    for model in ({"filters": [4]}, {"block_dropout": 0.0}):
        with pytest.raises(UserError, match="are for model.backbone siamese_twin"):
            built(backbone="osnet_x0_25", pooling="average", **model)


def test_dropout_drops_in_every_block_while_training():
    keras.utils.set_random_seed(0)
    images = keras.Input((32, 16, 3))
    blocks = siamese_twin(images, dropout=0.2)
    model = keras.Model(images, blocks)
    batch = np.random.default_rng(0).normal(size=(4, 32, 16, 3)).astype(np.float32)
    still = model(batch, training=False).numpy()
    np.testing.assert_array_equal(model(batch, training=False), still)
    assert (model(batch, training=True).numpy() == 0).mean() > (still == 0).mean()


@pytest.mark.parametrize(("settings", "words"), [
    ({"classifier": True, "num_identities": 4}, "neither a classifier nor a neck"),
    ({"neck": True}, "neither a classifier nor a neck"),
    ({"longest_side": 64}, "model.pooling=flatten needs images of one size"),
])
def test_settings_that_do_not_fit(settings, words):
    model = ModelConfig(**{"backbone": "siamese_twin", "height": 32, "width": 16,
                           "pooling": "flatten", "neck": False, "classifier": False, **settings})
    with pytest.raises(UserError, match=words):
        build_siamese(Config(system="siamese", model=model))
