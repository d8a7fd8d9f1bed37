"""ResNet: parameter counts, sizes of the feature map, padding."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest

from tfreid.backbones import BACKBONES
from tfreid.backbones.resnet import resnet, resnet_ibn_a
from tfreid.layers.normalization import InstanceNormalization


@functools.cache
def build(shape=(256, 128, 3), **settings):
    """Builds a ResNet-50, once for the same arguments."""
    inputs = keras.Input(shape)
    return keras.Model(inputs, BACKBONES["resnet50"](inputs, **settings))


@pytest.mark.parametrize(
    "settings, shape",
    [
        ({}, (None, 8, 4, 2048)),
        ({"last_stride": 2}, (None, 8, 4, 2048)),
        ({"last_stride": 1}, (None, 16, 8, 2048)),
        ({"strides": (1, 2, 1, 1)}, (None, 32, 16, 2048)),
        ({"last_stride": 1, "stride_in_1x1": True}, (None, 16, 8, 2048)),
    ],
)
def test_shape_and_trainable_weights(settings, shape):
    model = build(**settings)
    assert model.output_shape == shape
    assert sum(int(np.prod(v.shape)) for v in model.trainable_weights) == 23_508_032


def test_odd_sizes_round_up_and_epsilon_reaches_every_normalisation():
    model = build((225, 97, 3), bn_epsilon=1.001e-5)
    assert model.output_shape == (None, 8, 4, 2048)
    layers = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert len(layers) == 53
    assert {layer.epsilon for layer in layers} == {1.001e-5}


@pytest.mark.parametrize("settings, strided", [
    ({}, "conv2"), ({"last_stride": 1, "stride_in_1x1": True}, "conv1"),
])
def test_where_the_stride_is(settings, strided):
    model = build(**settings)
    for convolution in ("conv1", "conv2", "conv3"):
        strides = model.get_layer(f"stage2_block1_{convolution}").strides
        assert strides == ((2, 2) if convolution == strided else (1, 1))


@pytest.mark.parametrize(
    "settings", [{"strides": (1, 2, 2)}, {"strides": (1, 2, 2, 0)}, {"last_stride": 0}]
)
def test_bad_strides(settings):
    with pytest.raises(ValueError, match="4 positive integers"):
        resnet(keras.Input((64, 32, 3)), **settings)


def test_stem_pads_both_sides_alike():
    inputs = keras.Input((16, 16, 3))
    full = keras.Model(inputs, resnet(inputs, depth=34))
    stem = keras.Model(inputs, full.get_layer("stem_conv").output)
    image = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype(np.float32)
    kernel = np.asarray(full.get_layer("stem_conv").kernel)
    padded = np.pad(image[0], ((3, 3), (3, 3), (0, 0)))
    expected = [
        [np.tensordot(padded[r : r + 7, c : c + 7], kernel, 3) for c in range(0, 16, 2)]
        for r in range(0, 16, 2)
    ]
    np.testing.assert_allclose(stem(image)[0], expected, atol=1e-4)


@pytest.mark.parametrize("stem", ["torchvision", "bag_of_tricks", "fast_reid"])
def test_pooling_of_the_stem(stem):
    inputs = keras.Input((None, None, 3))
    full = keras.Model(inputs, BACKBONES["resnet34"](inputs, stem=stem))
    # Windows without a positive value, whose maximum a padding of zeros would raise.
    full.get_layer("stem_conv_bn").beta.assign(np.full(64, -1.0))
    outputs = [full.get_layer(name).output for name in ("stem_conv_bn", "stem_pool")]
    model = keras.Model(inputs, outputs)
    for height, width in ((26, 28), (28, 30)):
        images = np.random.default_rng(0).normal(size=(1, height, width, 3)).astype(np.float32)
        before, after = (np.asarray(x)[0] for x in model(images))
        assert before.shape[:2] == (height // 2, width // 2)
        if stem != "bag_of_tricks":
            before = np.maximum(before, 0)
        # First row or column of every window. Without padding, 13 hold the windows 0-2, ...,
        # 10-12; 14 and 15 have one more, 12-14.
        starts = {13: range(0, 11, 2), 14: range(0, 13, 2), 15: range(0, 13, 2)}
        if stem != "fast_reid":
            starts = {size: range(-1, size - 1, 2) for size in starts}
        expected = [
            [before[max(r, 0) : r + 3, max(c, 0) : c + 3].max((0, 1)) for c in starts[width // 2]]
            for r in starts[height // 2]
        ]
        np.testing.assert_array_equal(after, expected)
        assert (after < 0).any() == (stem == "bag_of_tricks")


def test_unknown_stems():
    inputs = keras.Input((64, 32, 3))
    with pytest.raises(ValueError, match="stem must be one of .*'fast_reid'.*, got timm"):
        resnet(inputs, stem="timm")
    with pytest.raises(ValueError, match="got bag_of_tricks"):
        resnet_ibn_a(inputs, stem="bag_of_tricks")


@pytest.mark.parametrize(
    "name, shape",
    [
        ("resnet34", (None, 16, 8, 512)),
        ("resnet50_ibn_a", (None, 16, 8, 2048)),
    ],
)
def test_last_stride_of_the_others(name, shape):
    inputs = keras.Input((256, 128, 3))
    assert BACKBONES[name](inputs, last_stride=1).shape == shape


def test_depths():
    inputs = keras.Input((64, 32, 3))
    with pytest.raises(ValueError, match="got 18"):
        resnet(inputs, depth=18)
    with pytest.raises(ValueError, match="got 34"):
        resnet_ibn_a(inputs, depth=34)
    with pytest.raises(ValueError, match="needs bottlenecks"):
        resnet(inputs, depth=34, stride_in_1x1=True)


def test_where_instance_normalisation_is():
    inputs = keras.Input((64, 32, 3))
    model = keras.Model(inputs, BACKBONES["resnet50_ibn_a"](inputs))
    layers = [x.name for x in model.layers if isinstance(x, InstanceNormalization)]
    blocks = [(1, 3), (2, 4), (3, 6)]
    expected = [
        f"stage{stage}_block{block}_conv1_in"
        for stage, count in blocks
        for block in range(1, count + 1)
    ]
    assert sorted(layers) == expected
    assert model.get_layer("stage3_block2_conv1_in").gamma.shape == (128,)
    assert model.get_layer("stage3_block2_conv1_bn").gamma.shape == (128,)


@pytest.mark.parametrize("apply", [resnet, resnet_ibn_a])
def test_a_stage_has_no_more_non_local_blocks_than_blocks(apply):
    with pytest.raises(ValueError, match="stage 2 of depth 50 has 4 blocks, got 5"):
        apply(keras.Input((64, 32, 3)), non_local=(0, 5, 0, 0))
