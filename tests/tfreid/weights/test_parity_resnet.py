"""The ResNet family: PyTorch's weights in our layers must give PyTorch's feature map."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfreid.backbones import BACKBONES
from tfreid.weights.files import weight_keys
from tfreid.weights.layouts.pairs import weight_pairs
from tfreid.weights.layouts.resnet import BACKBONES as FAMILY
from tfreid.weights.layouts.resnet import layer_pairs, other_network, rename

# Trainable weights of the ImageNet classifiers, as published.
PUBLISHED = {
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet50_ibn_a": 25_557_032,
    "resnet101_ibn_a": 44_549_160,
    "se_resnet50": 28_088_024,
    "se_resnext50": 27_559_896,
}


@pytest.mark.parametrize("name", FAMILY)
def test_same_feature_map(name, golden):
    recorded = golden(name)
    inputs = keras.Input(recorded.images.shape[1:])
    model = keras.Model(inputs, BACKBONES[name](inputs))
    variables, state = weight_keys(model), dict(recorded.state)
    for pair in layer_pairs(name):
        for ours, theirs, transform in weight_pairs(pair):
            variables.pop(ours).assign(transform(state.pop(theirs)))
    assert not variables and not state
    channels = recorded.output.shape[-1]
    trunk = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trunk + 1000 * (channels + 1) == recorded.parameters == PUBLISHED[name]
    assert BACKBONES[name].channels == channels
    actual = np.asarray(model(recorded.images, training=False))
    tolerance = 1e-4 * np.abs(recorded.output).max()
    np.testing.assert_allclose(actual, recorded.output, rtol=0, atol=tolerance)


def test_every_residual_backbone_has_a_layout():
    assert set(FAMILY) == {name for name in BACKBONES if "resne" in name}


@pytest.mark.parametrize(
    "backbone, key, canonical",
    [
        ("resnet50", "layer4.2.bn3.running_var", "layer4.2.bn3.running_var"),
        ("resnet50", "0.weight", "conv1.weight"),
        ("resnet34", "1.running_mean", "bn1.running_mean"),
        ("resnet50_ibn_a", "4.0.bn1.IN.weight", "layer1.0.bn1.IN.weight"),
        ("resnet101", "7.2.conv3.weight", "layer4.2.conv3.weight"),
        ("resnet101", "10.weight", "10.weight"),
        ("se_resnet50", "layer0.conv1.weight", "layer0.conv1.weight"),
        ("se_resnet50", "1.0.conv1.weight", "1.0.conv1.weight"),
    ],
)
def test_rename(backbone, key, canonical):
    assert rename(key, backbone) == canonical


@pytest.mark.parametrize("backbone", ["se_resnet50", "se_resnext50"])
def test_look_alikes_of_the_se_networks(backbone):
    own = [theirs for pair in layer_pairs(backbone) for _, theirs, _ in weight_pairs(pair)]
    assert other_network(own, backbone) is None
    assert "timm's own" in other_network(["conv1.weight", "layer1.0.se.fc1.weight"], backbone)
    assert "fast-reid" in other_network(["conv1.weight", "layer1.0.se.fc.0.weight"], backbone)
    assert other_network(["layer1.0.se.fc1.weight"], "resnet50") is None
