"""MobileNetV3-Large: torchvision's weights in our layers must give its feature map."""

from __future__ import annotations

import numpy as np
import pytest

from tfreid.weights.convert import convert_state
from tfreid.weights.layouts.layout import weight_pairs
from tfreid.weights.layouts.mobilenet_v3 import _layers, adapt, layer_pairs, rename

NAME = "mobilenet_v3_large"
DEAD_HEAD = 2_511_080


def test_same_feature_map(check_parity):
    trunk, parameters = check_parity(NAME)
    assert trunk + DEAD_HEAD == parameters == 5_483_032


@pytest.mark.parametrize(
    "timm, torchvision",
    [
        ("conv_stem.weight", "features.0.0.weight"),
        ("bn1.running_mean", "features.0.1.running_mean"),
        ("blocks.0.0.conv_dw.weight", "features.1.block.0.0.weight"),
        ("blocks.0.0.conv_pw.weight", "features.1.block.1.0.weight"),
        ("blocks.1.1.conv_pwl.weight", "features.3.block.2.0.weight"),
        ("blocks.2.0.se.conv_reduce.bias", "features.4.block.2.fc1.bias"),
        ("blocks.2.2.bn3.weight", "features.6.block.3.1.weight"),
        ("blocks.3.3.bn1.bias", "features.10.block.0.1.bias"),
        ("blocks.4.0.se.conv_expand.weight", "features.11.block.2.fc2.weight"),
        ("blocks.5.2.conv_dw.weight", "features.15.block.1.0.weight"),
        ("blocks.6.0.conv.weight", "features.16.0.weight"),
        ("blocks.6.0.bn1.running_var", "features.16.1.running_var"),
        ("features.2.block.0.0.weight", "features.2.block.0.0.weight"),
        ("classifier.weight", "classifier.weight"),
    ],
)
def test_rename(timm, torchvision):
    assert rename(timm, NAME) == torchvision


def test_timm_gives_the_same_weights_but_for_the_epsilon(golden):
    state = golden(NAME).state
    timm_modules = {pair.theirs: timm for pair, timm in _layers()}
    timm = {}
    for key, value in state.items():
        module, _, weight = key.rpartition(".")
        timm[f"{timm_modules[module]}.{weight}"] = value
    assert len(timm) == len(state)
    theirs, ours = convert_state(timm, NAME), convert_state(state, NAME)
    assert "tf_mobilenetv3_large_100" in theirs.notes[0] and not ours.notes
    for key, value in ours.weights.items():
        if key.endswith("/moving_variance"):
            np.testing.assert_allclose(theirs.weights[key] + 1e-3, value + 1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(theirs.weights[key], value)


def test_adapted_variances_give_the_same_normalisation():
    variances = np.array([0.0, 1e-6, 1e-3, 1.0], np.float32)
    adapted, _ = adapt({"conv_stem.weight": variances, "bn1.running_var": variances})
    np.testing.assert_allclose(adapted["bn1.running_var"] + 1e-3, variances + 1e-5, rtol=1e-5)
    np.testing.assert_array_equal(adapted["conv_stem.weight"], variances)


def test_every_weight_has_one_place():
    pairs = [pair for layer in layer_pairs(NAME) for pair in weight_pairs(layer)]
    assert len({pair.ours for pair in pairs}) == len({pair.theirs for pair in pairs}) == 262
