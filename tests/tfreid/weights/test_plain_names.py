"""Names of checkpoints: prefixes of any kind, and layers of the backbone that have no place."""

from __future__ import annotations

import numpy as np
import pytest

from tfreid.weights.conversion_report import describe_misfit
from tfreid.weights.convert import MisfitError, convert_state

NAME = "osnet_x0_25"


def ones(*shape):
    return np.ones(shape, np.float32)


@pytest.fixture(scope="module")
def stock(golden):
    """The state of torchreid's network, with its head."""
    return golden(NAME).state


@pytest.fixture(scope="module")
def trunk(stock):
    return {key: value for key, value in stock.items() if key.startswith("conv")}


@pytest.fixture(scope="module")
def resnet_state(golden):
    return golden("resnet34").state


@pytest.mark.parametrize("trunk_prefix, head_prefix", [
    ("module.", "module."), ("module.model.", "module.model."), ("backbone.", "backbone."),
    ("_orig_mod.", "_orig_mod."), ("net.module.", "net.module."), ("encoder.", ""),
    ("feature_extractor.", ""), ("reid_model.base.", "reid_model."), ("a.b.c.d.e.", "a.b."),
    ("module.backbone.", "module."), ("base.0.", "base.1."),
])
def test_prefixes(trunk_prefix, head_prefix, stock):
    expected = convert_state(stock, NAME).weights
    prefixed = {(trunk_prefix if key.startswith("conv") else head_prefix) + key: value
                for key, value in stock.items()}
    if head_prefix == "base.1.":
        # An nn.Sequential of the backbone and the head, whose modules have no names.
        prefixed = {key.replace("base.1.", ""): value for key, value in prefixed.items()}
    counters = {f"{trunk_prefix}conv1.bn.num_batches_tracked": np.array(3),
                "n_averaged": np.array(3)}
    found = convert_state({**prefixed, **counters}, NAME)
    assert found.counters == 2
    assert found.weights.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found.weights[key], value)


@pytest.mark.parametrize("relu", [True, False])
def test_a_resnet_of_numbered_children(relu, resnet_state):
    """The trunk of open-reid's descendants has no ReLU, so that the stages move up by one."""
    children = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
    numbers = dict(zip(children, "014567" if relu else "013456"))
    state = {}
    for key, value in resnet_state.items():
        module, _, rest = key.partition(".")
        state[f"base.{numbers[module]}.{rest}"] = value
    for part in ("weight", "running_mean", "running_var"):
        state[f"feat_bn.{part}"] = ones(512)
    state["feat_bn.bias"] = np.zeros(512, np.float32)
    found, expected = convert_state(state, "resnet34"), convert_state(resnet_state, "resnet34")
    for key, value in expected.weights.items():
        np.testing.assert_array_equal(found.weights[key], value)
    assert found.settings["neck"] and "neck/gamma" in found.weights
    stem = {} if relu else {"stem": "bag_of_tricks", "last_stride": 1}
    assert found.settings.items() >= stem.items() and ("stem" in found.settings) is not relu


def non_local(name, channels):
    """The names of AGW's and fast-reid's non-local block."""
    half = channels // 2
    shapes = {"g": (half, channels), "theta": (half, channels), "phi": (half, channels),
              "W.0": (channels, half)}
    convolutions = {f"{name}.{part}.weight": ones(*shape, 1, 1) for part, shape in shapes.items()}
    parts = ("weight", "bias", "running_mean", "running_var")
    return {**convolutions, **{f"{name}.W.1.{part}": ones(channels) for part in parts}}


@pytest.mark.parametrize("prefix", ["base.", "module.backbone.", ""])
def test_layers_of_the_backbone_without_a_place(prefix, trunk):
    state = {prefix + key: value for key, value in {**trunk, **non_local("NL_2.0", 64)}.items()}
    state.update({"parts.0.weight": ones(3), "bottleneck.weight": ones(128)})
    with pytest.raises(MisfitError, match=r"8 that it does not have \(NL_2.0.g.weight, ") as error:
        convert_state(state, NAME)
    assert "of another network: NL_2.0.W.0.weight" in list(describe_misfit(error.value))


def test_a_head_that_convolves_the_last_map_is_none_of_the_backbone(trunk):
    conversion = convert_state({**trunk, "parts.0.weight": ones(32, 128, 1, 1)}, NAME)
    assert conversion.unmatched == {"parts.0.weight": "unknown here"}
