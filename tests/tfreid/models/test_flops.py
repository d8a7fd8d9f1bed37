"""Floating-point operations against hand-worked layers and the papers' counts."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf

from tfreid.config import Config, ModelConfig
from tfreid.models.embedding import build_embedding_model
from tfreid.models.flops import count_flops, describe_model

OSNET = ModelConfig(backbone="osnet_x1_0", embedding_size=512, embedding_head="linear_bn_relu",
                    neck=False, classifier_bias=True)


def cost(layer, *shape) -> int:
    layer.build(shape)
    return count_flops(layer, tf.TensorSpec(shape, tf.float32))


def test_a_convolution():
    """3 images of 4 x 3 outputs, 8 channels, each from 3 x 3 x 5 products."""
    layer = keras.layers.Conv2D(8, 3, strides=2, padding="same")
    assert cost(layer, 3, 8, 6, 5) == 2 * (3 * 4 * 3 * 8) * (3 * 3 * 5)


def test_a_valid_convolution_has_fewer_outputs():
    assert cost(keras.layers.Conv2D(2, (3, 1), padding="valid"), 1, 8, 6, 4) == (
        2 * (6 * 6 * 2) * (3 * 1 * 4))


def test_a_depthwise_convolution():
    """Each output sums over its own channel alone."""
    layer = keras.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)
    assert cost(layer, 1, 8, 6, 5) == 2 * (8 * 6 * 10) * (3 * 3)


def test_a_dense_layer_and_its_batch():
    assert cost(keras.layers.Dense(7), 4, 5) == 2 * 4 * 7 * 5


@pytest.mark.parametrize("transposed", [False, True])
def test_a_matrix_product(transposed):
    shape = (6, 3) if transposed else (3, 6)
    flops = count_flops(lambda a, b: tf.matmul(a, b, transpose_a=transposed),
                        tf.TensorSpec(shape), tf.TensorSpec((6, 4)))
    assert flops == 2 * 3 * 4 * 6


def test_what_the_result_does_not_need_is_not_counted():
    used, unused = keras.layers.Dense(3), keras.layers.Dense(100)
    used.build((1, 5))
    unused.build((1, 5))

    def function(x):
        unused(x)
        return used(x) + 1.0

    assert count_flops(function, tf.TensorSpec((1, 5))) == 2 * 5 * 3


def test_a_product_used_twice_is_counted_once():
    layer = keras.layers.Dense(3)
    layer.build((1, 5))

    def function(x):
        y = layer(x)
        return y * y + y

    assert count_flops(function, tf.TensorSpec((1, 5))) == 2 * 5 * 3


def test_osnet_costs_what_its_paper_says():
    """Zhou et al. 2019, Table 2: 978.9 M multiply-adds at 256 x 128."""
    config = Config(name="osnet", model=OSNET)
    described = describe_model(config, build_embedding_model(OSNET, 751))
    assert described["flops"] == 1_957_750_784
    assert described["flops"] / 2e6 == pytest.approx(978.9, abs=0.05)
    assert described["name"] == "osnet"
    assert described["input_shape"] == [256, 128, 3]
    assert described["embedding_size"] == 512
    assert described["trainable_params"] == 2_554_771
    assert described["params"] > described["trainable_params"]


def test_vgg16_costs_what_its_layers_do():
    """At 224 x 224: area, input and output channels and convolutions of the five blocks."""
    model = ModelConfig(backbone="vgg16", height=224, width=224)
    described = describe_model(Config(name="vgg", model=model), build_embedding_model(model, 751))
    products = [224**2 * (3 * 64 + 64 * 64), 112**2 * (64 * 128 + 128 * 128),
                56**2 * (128 * 256 + 2 * 256 * 256), 28**2 * (256 * 512 + 2 * 512 * 512),
                14**2 * 3 * 512 * 512]
    assert described["flops"] == 2 * 9 * sum(products) == 30_693_261_312
    assert described["depth"] == 13
    assert described["embedding_size"] == 512
    assert described["trainable_params"] == 14_714_688 + 512 + 512 * 751
