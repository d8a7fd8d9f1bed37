"""SE-ResNet and SE-ResNeXt: sizes of the feature map, strides, the stem's pooling."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfreid.backbones import BACKBONES


@pytest.fixture(scope="module", params=["se_resnet50", "se_resnext50"])
def model(request):
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, BACKBONES[request.param](inputs), name=request.param)


@pytest.mark.parametrize(
    "name, settings, shape",
    [
        ("se_resnet50", {}, (None, 8, 4, 2048)),
        ("se_resnet50", {"strides": (1, 2, 1, 1)}, (None, 32, 16, 2048)),
        ("se_resnext50", {"last_stride": 1}, (None, 16, 8, 2048)),
    ],
)
def test_shape(name, settings, shape):
    assert BACKBONES[name](keras.Input((256, 128, 3)), **settings).shape == shape


@pytest.mark.parametrize("name", ["se_resnet50", "se_resnext50"])
def test_bad_strides(name):
    with pytest.raises(ValueError, match="4 positive integers"):
        BACKBONES[name](keras.Input((64, 32, 3)), strides=(1, 2, 2))


def test_where_the_stride_is(model):
    first, second = (model.get_layer(f"stage2_block1_conv{number}") for number in (1, 2))
    if model.name == "se_resnet50":
        assert (first.strides, second.strides) == ((2, 2), (1, 1))
    else:
        assert (first.strides, second.strides, second.groups) == ((1, 1), 2, 32)


@pytest.mark.parametrize("side", [29, 30, 31, 32])
def test_stem_pool_rounds_up_and_pads_the_end_only(model, side):
    stem = keras.Model(
        model.input, [model.get_layer(name).output for name in ("stem_conv_relu", "stem_pool")]
    )
    images = np.random.default_rng(0).normal(size=(1, side, side, 3)).astype(np.float32)
    before, after = (np.asarray(x)[0] for x in stem(images))
    count = -(-(before.shape[0] - 3) // 2) + 1
    expected = [
        [before[2 * r : 2 * r + 3, 2 * c : 2 * c + 3].max((0, 1)) for c in range(count)]
        for r in range(count)
    ]
    np.testing.assert_array_equal(after, expected)
