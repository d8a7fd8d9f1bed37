"""OSNet: torchreid's weights in our layers must give its feature map and its embedding."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfreid.backbones import BACKBONES
from tfreid.backbones.osnet import osnet_head
from tfreid.weights.convert import convert_state
from tfreid.weights.files import weight_keys
from tfreid.weights.layouts.osnet import BACKBONES as FAMILY
from tfreid.weights.layouts.osnet import layer_pairs, other_network
from tfreid.weights.layouts.pairs import weight_pairs

# Parameters of torchreid's models with 1,000 classes.
PUBLISHED = {
    "osnet_x1_0": 2_682_508,
    "osnet_x0_75": 1_798_754,
    "osnet_x0_5": 1_143_034,
    "osnet_x0_25": 714_864,
}


@pytest.mark.parametrize("name", FAMILY)
def test_same_feature_map_and_embedding(name, golden):
    recorded = golden(name)
    inputs = keras.Input(recorded.images.shape[1:])
    features = BACKBONES[name](inputs)
    model = keras.Model(inputs, [features, osnet_head(features)])
    variables = weight_keys(model)
    weights = convert_state(recorded.state, name).weights
    assert weights.keys() == variables.keys()
    for key, variable in variables.items():
        variable.assign(weights[key])
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trainable + 1000 * (512 + 1) == recorded.parameters == PUBLISHED[name]
    outputs = model(recorded.images, training=False)
    for actual, expected in zip(outputs, (recorded.output, recorded.feature)):
        tolerance = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def test_the_embedding_is_no_trivial_one(golden):
    feature = golden("osnet_x0_25").feature
    assert feature.shape == (1, 512) and 100 < np.count_nonzero(feature) < 412


def test_every_weight_has_one_place():
    pairs = [pair for layer in layer_pairs("osnet_x1_0") for pair in weight_pairs(layer)]
    assert len({pair.ours for pair in pairs}) == len({pair.theirs for pair in pairs}) == len(pairs)


def test_other_networks():
    assert other_network(["conv1.conv.weight", "conv2.0.gate.fc1.bias"], "osnet_x1_0") is None
    assert "OSNet-IBN" in other_network(["conv2.0.IN.weight"], "osnet_x1_0")
