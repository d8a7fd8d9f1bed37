"""VGG16: torchvision's weights in our layers must give what its sequence of modules computes."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.backbones import BACKBONES
from tfreid.weights.convert import convert_state
from tfreid.weights.files import weight_keys

# Torchvision's configuration D: channels of a convolution and a ReLU, M for max pooling.
CONFIGURATION = [64, 64, "M", 128, 128, "M", *[256] * 3, "M", *[512] * 3, "M", *[512] * 3, "M"]
DENSE = {"classifier.0": (4096, 25088), "classifier.3": (4096, 4096), "classifier.6": (1000, 4096)}
PUBLISHED = 138_357_544


def modules():
    """Lists `features`: the shape of a convolution's kernel, "relu" or "pool" of each number."""
    listed, channels = [], 3
    for entry in CONFIGURATION:
        if entry == "M":
            listed.append("pool")
        else:
            listed += [(entry, channels, 3, 3), "relu"]
            channels = entry
    return listed


@pytest.fixture(scope="module")
def state(draw_state):
    shapes = {}
    for number, module in enumerate(modules()):
        if isinstance(module, tuple):
            shapes[f"features.{number}.weight"] = module
            shapes[f"features.{number}.bias"] = module[:1]
    return draw_state(list(shapes), list(shapes.values()), 0)


def convolve(x, kernel, bias):
    """Convolves [c, h, w] by [out, c, 3, 3], padded by one."""
    _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    products = sum(
        np.tensordot(kernel[:, :, r, c], padded[:, r : r + height, c : c + width], 1)
        for r in range(3) for c in range(3)
    )
    return products + bias[:, None, None]


def pool(x):
    """Takes the maximum over 2x2; a last row or column of an odd side is left out."""
    channels, height, width = (size // 2 for size in (2 * x.shape[0], *x.shape[1:]))
    return x[:, : 2 * height, : 2 * width].reshape(channels, height, 2, width, 2).max((2, 4))


def test_same_feature_map(state):
    image = np.random.default_rng(1).normal(size=(70, 32, 3)).astype(np.float32)
    expected = image.transpose(2, 0, 1)
    for number, module in enumerate(modules()):
        if module == "relu":
            expected = np.maximum(expected, 0)
        elif module == "pool":
            expected = pool(expected)
        else:
            weights = (state[f"features.{number}.{part}"] for part in ("weight", "bias"))
            expected = convolve(expected, *weights)
    inputs = keras.Input(image.shape)
    model = keras.Model(inputs, BACKBONES["vgg16"](inputs))
    variables, conversion = weight_keys(model), convert_state(state, "vgg16")
    assert conversion.weights.keys() == variables.keys()
    assert set(conversion.sources.values()) == state.keys()
    for key, variable in variables.items():
        variable.assign(conversion.weights[key])
    actual = np.asarray(model(image[None]))[0].transpose(2, 0, 1)
    assert actual.shape == expected.shape == (512, 2, 1)
    assert (expected > 0).mean() > 0.1
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * expected.max())


@pytest.mark.parametrize("names", [DENSE, ("pre_logits.fc1", "pre_logits.fc2", "head.fc")])
def test_dense_layers_are_dropped(names, state):
    """Torchvision's names, then timm's."""
    dense = {f"{name}.{part}": np.zeros(3) for name in names for part in ("weight", "bias")}
    conversion = convert_state({**state, **dense}, "vgg16")
    assert set(conversion.dropped) == set(dense) and not conversion.unmatched
    assert not conversion.settings
    trunk = sum(array.size for array in conversion.weights.values())
    assert trunk + sum(out * (inputs + 1) for out, inputs in DENSE.values()) == PUBLISHED


def test_other_networks_of_the_family(state):
    with pytest.raises(UserError, match="the weights of a VGG with batch normalisation; vgg16 is"):
        convert_state({**state, "features.1.running_mean": np.zeros(64)}, "vgg16")
    with pytest.raises(UserError, match=r"that it does not have \(features.30.weight"):
        convert_state({**state, "features.30.weight": np.zeros((512, 512, 3, 3))}, "vgg16")
