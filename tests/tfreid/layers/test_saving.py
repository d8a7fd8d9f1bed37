"""Every layer is saved and loaded by Keras without custom objects."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfreid import layers
from tfreid.layers.convolution import conv_bn, conv_in
from tfreid.layers.non_local import non_local_block
from tfreid.layers.normalization import batch_norm_neck, instance_batch_norm
from tfreid.layers.pooling import max_pool_3x3, max_pool_3x3_ceil, pool
from tfreid.layers.spatial_transformer import GivenValues, localize

# Of each layer: arguments that are not the defaults.
ARGUMENTS = {
    "AggregationGate": {"reduction": 2},
    "BilinearSampler": {"side": 3},
    "ConvolutionSimilarity": {"cosine": True},
    "CosineClassifier": {"units": 3},
    "DepthwiseConv2D": {"kernel_size": 5, "strides": 2},
    "FixedRegion": {"side": 3},
    "FusedBatchNormalization": {"momentum": 0.7, "epsilon": 0.1},
    "GeneralizedMeanPooling": {"p": 2.0, "epsilon": 0.1},
    "GroupedConv3x3": {"groups": 2, "strides": 2},
    "Halves": {},
    "HardSigmoid": {},
    "HardSwish": {},
    "InstanceNormalization": {"epsilon": 0.1},
    "ImagePreprocessing": {"height": 8, "width": 4, "mode": "caffe", "longest_side": 16},
    "PairDistance": {},
    "PairwiseSum": {},
    "Regroup": {"shape": (2, 3)},
    "SqueezeExcitation": {"reduction": 2},
    "StatelessDropout": {"rate": 0.25},
    "Stripes": {"stripes": 2},
    "TakeRows": {},
    "UnitLength": {},
}


def _network():
    """A network of every layer; the branches have little in common."""
    images = keras.Input((16, 12, 3), name="images")
    x = layers.ImagePreprocessing(16, 12, "unit")(images)
    x = conv_bn(x, 4, 3, "stem", strides=2)
    x = layers.DepthwiseConv2D(name="depthwise")(x)
    x = layers.GroupedConv3x3(2, name="grouped")(x)
    x = non_local_block(conv_in(instance_batch_norm(x, "mixed"), 4, 1, "instances"), "pairs")
    if keras.__version__.startswith("3."):
        x = layers.FusedBatchNormalization(name="fused")(x)
    x = layers.HardSwish()(layers.HardSigmoid()(x))
    x = layers.AggregationGate(2, name="gate")([x, layers.SqueezeExcitation(2, name="se")(x)])
    x = layers.StatelessDropout(0.5)(x)
    stripes = layers.Stripes(2)(x)
    parts = [layers.BilinearSampler(3)([stripes, region]) for region in
             (localize(stripes, 3, "loc"), layers.FixedRegion(3)(stripes))]
    similar = layers.ConvolutionSimilarity()(
        [stripes, _one_part(parts[0]), stripes, _one_part(parts[1])])
    pooled = [pool(max_pool_3x3(x, "pool_a"), "gem", "gem"),
              pool(max_pool_3x3_ceil(x, "pool_b"), "average", "average")]
    neck = batch_norm_neck(keras.layers.Concatenate()(pooled), bias=True)
    unit = layers.UnitLength()(neck)
    first = layers.TakeRows()([unit, keras.layers.GlobalAveragePooling2D()(images)[:, 0] * 0])
    return keras.Model(images, {"neck": neck, "similar": similar,
                                "cosines": layers.CosineClassifier(3)(neck),
                                "distance": layers.PairDistance()([first, unit])})


def _one_part(part):
    return layers.Regroup((1, 3, 3, 4))(part)


def test_every_layer_is_here():
    assert set(layers.__all__) == set(ARGUMENTS)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_configuration_names_every_argument(name):
    layer = getattr(layers, name)(**ARGUMENTS[name], name="mine")
    config = layer.get_config()
    assert {key: config[key] for key in ARGUMENTS[name]} == ARGUMENTS[name]
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(copy) is type(layer) and copy.get_config() == config


def test_an_initializer_keeps_its_values():
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(GivenValues([1.0, 2.0])))
    np.testing.assert_array_equal(copy((2,)), [1, 2])


def test_a_network_is_saved_and_loaded_with_equal_outputs(tmp_path):
    keras.utils.set_random_seed(0)
    model = _network()
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.uniform(0.1, 1.0, weight.shape))
    images = random.uniform(0, 255, (2, 16, 12, 3)).astype(np.float32)
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    expected, found = model(images), loaded(images)
    for name, values in expected.items():
        assert np.ptp(values) > 0
        np.testing.assert_array_equal(found[name], values)
