"""OSNet: parameter counts, sizes, initial weights, and one block recomputed in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfreid.backbones import BACKBONES
from tfreid.backbones.osnet import _omni_scale_block, osnet, osnet_head
from tfreid.layers.normalization import InstanceNormalization


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_weights)


@pytest.mark.parametrize(
    "name, channels, trunk, one_way, market",
    [
        ("osnet_x0_25", 128, 134_792, 202_377, 587_127),
        ("osnet_x1_0", 512, 1_905_828, 2_170_021, 2_554_771),
    ],
)
def test_published_counts(name, channels, trunk, one_way, market):
    inputs = keras.Input((256, 128, 3))
    features = BACKBONES[name](inputs)
    embedding = osnet_head(features)
    assert features.shape == (None, 16, 8, channels)
    assert trainable(keras.Model(inputs, features)) == trunk
    weights = trainable(keras.Model(inputs, embedding))
    assert weights + 512 + 1 == one_way
    assert weights + (512 + 1) * 751 == market


@pytest.mark.parametrize("name, channels", [("osnet_x0_5", 256), ("osnet_x0_75", 384)])
def test_shapes(name, channels):
    backbone = BACKBONES[name]
    assert backbone(keras.Input((256, 128, 3))).shape == (None, 16, 8, channels)
    assert backbone.channels == channels


@pytest.mark.parametrize("name", ["osnet_ibn_x1_0", "osnet_ain_x0_25"])
def test_where_instance_normalisation_is(name):
    """As published (TPAMI 2021): in the stem, and where the authors' search found it best."""
    places = {
        "osnet_ibn": {"stem_conv_in", "stage1_block1_in", "stage1_block2_in"},
        "osnet_ain": {"stem_conv_in", *(f"stage{block}_conv2_in" for block in (
            "1_block1", "1_block2", "2_block2", "3_block1"))},
    }[name.rpartition("_x")[0]]
    inputs = keras.Input((64, 32, 3))
    model = keras.Model(inputs, BACKBONES[name](inputs))
    layers = [layer for layer in model.layers if isinstance(layer, InstanceNormalization)]
    assert {layer.name for layer in layers} == places
    without = {f"{name.removesuffix('_in')}_bn" for name in places}
    assert not without & {layer.name for layer in model.layers}
    assert model.output_shape == (None, 4, 2, BACKBONES[name].channels)


def test_unknown_variant():
    with pytest.raises(ValueError, match="variant must be one of .*, got osnet_bn"):
        osnet(keras.Input((64, 32, 3)), variant="osnet_bn")


def test_width_too_small_for_a_gate():
    with pytest.raises(ValueError, match="at least 0.25, got 0.2"):
        osnet(keras.Input((64, 32, 3)), 0.2)


def test_last_stride_one_doubles_the_map_and_keeps_the_weights():
    inputs = keras.Input((64, 32, 3))
    coarse = keras.Model(inputs, BACKBONES["osnet_x0_25"](inputs))
    fine = keras.Model(inputs, BACKBONES["osnet_x0_25"](inputs, last_stride=1))
    assert coarse.output_shape == (None, 4, 2, 128)
    assert fine.output_shape == (None, 8, 4, 128)
    assert fine.count_params() == coarse.count_params()


def test_strides_must_be_three():
    with pytest.raises(ValueError, match=r"3 positive integers, got \[1, 2\]"):
        osnet(keras.Input((64, 32, 3)), 0.25, strides=(1, 2))


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((16, 16, 3))
    return keras.Model(inputs, osnet(inputs, 1.0))


def kernel(model, name):
    return model.get_layer(name).trainable_weights[0].numpy()


def test_initial_weights_are_he_normal_over_the_fan_out(model):
    stem = kernel(model, "stem_conv")
    np.testing.assert_allclose(stem.std(), np.sqrt(2 / (49 * 64)), rtol=0.05)
    depthwise = kernel(model, "stage3_block1_stream1_lite1_depthwise")
    np.testing.assert_allclose(depthwise.std(), np.sqrt(2 / (9 * 128)), rtol=0.1)


def test_layers_of_one_shape_start_from_different_draws(model):
    one = kernel(model, "stage1_block1_stream4_lite1_pointwise")
    other = kernel(model, "stage1_block1_stream4_lite2_pointwise")
    assert np.abs(one - other).max() > 0.1


def test_block_against_numpy():
    """The moving statistics of a new block, 0 and 1, leave only a factor of its normalisations."""
    inputs = keras.Input((6, 5, 64))
    model = keras.Model(inputs, _omni_scale_block(inputs, 256, "block"))
    maps = np.random.default_rng(0).uniform(size=(1, 6, 5, 64)).astype(np.float32)

    def conv(x, name):
        return x @ kernel(model, f"block_{name}")[0, 0] / np.sqrt(1 + 1e-5)

    def lite(x, name):
        x = conv(x, f"{name}_pointwise") * np.sqrt(1 + 1e-5)
        filters = kernel(model, f"block_{name}_depthwise")[..., 0]
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        shifted = (
            padded[:, r : r + 6, c : c + 5] * filters[r, c] for r in range(3) for c in range(3)
        )
        return np.maximum(sum(shifted) / np.sqrt(1 + 1e-5), 0)

    squeeze, squeeze_bias, expand, expand_bias = (
        weight.numpy() for weight in model.get_layer("block_gate").weights
    )
    x = np.maximum(conv(maps, "conv1"), 0)
    total = 0
    for depth in range(1, 5):
        stream = x
        for step in range(1, depth + 1):
            stream = lite(stream, f"stream{depth}_lite{step}")
        hidden = np.maximum(stream.mean((1, 2)) @ squeeze + squeeze_bias, 0)
        total = total + stream / (1 + np.exp(-(hidden @ expand + expand_bias)))
    expected = np.maximum(conv(total, "conv2") + conv(maps, "shortcut"), 0)
    np.testing.assert_allclose(
        model(maps, training=False), expected, atol=1e-4 * expected.max()
    )
