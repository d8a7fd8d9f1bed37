"""The ResNet family: PyTorch's weights in our layers must give PyTorch's feature map."""

from __future__ import annotations

import pytest

from tfrecords.errors import UserError
from tfreid.backbones import BACKBONES
from tfreid.weights.convert import convert_state
from tfreid.weights.layouts import LAYOUTS, resnet
from tfreid.weights.layouts.layout import weight_pairs
from tfreid.weights.layouts.resnet import layer_pairs, other_network, rename, toolbox_settings

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

QUICK = ("resnet34", "resnet50_ibn_a", "se_resnet50")

FAMILY = [name for name, layout in LAYOUTS.items() if layout is resnet.LAYOUT]


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FAMILY
])
def test_same_feature_map(name, check_parity):
    trunk, parameters = check_parity(name)
    assert trunk + 1000 * (BACKBONES[name].channels + 1) == parameters == PUBLISHED[name]


def test_every_residual_backbone_has_a_layout():
    assert set(FAMILY) == set(PUBLISHED)


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


@pytest.mark.parametrize("backbone", FAMILY)
def test_relatives_that_have_no_place(backbone):
    own = [theirs for pair in layer_pairs(backbone) for _, theirs, _ in weight_pairs(pair)]
    assert other_network(own, backbone) is None
    for key, name in (("layer1.0.se.fc1.weight", "timm's own"),
                      ("layer1.0.se.fc.0.weight", "the SE-ResNet of fast-reid"),
                      ("layer1.0.conv2.bn0.weight", "a ResNeSt"),
                      ("b1_head.bottleneck.0.weight", "fast-reid's MGN")):
        assert name in other_network(["conv1.weight", key], backbone)


@pytest.mark.parametrize(("prefix", "key", "name"), [
    ("backbone.", "backbone.layer1.0.conv2.fc1.weight", "a ResNeSt, whose blocks split"),
    ("module.backbone.", "module.b21_head.weight", "fast-reid's MGN, which has three branches"),
    ("backbone.", "backbone.layer2.1.se.fc.0.weight", "the SE-ResNet of fast-reid or IBN-Net"),
])
def test_relatives_are_refused_by_name(prefix, key, name, golden):
    state = {prefix + known: value for known, value in golden("resnet34").state.items()}
    with pytest.raises(UserError) as error:
        convert_state({**state, key: state[f"{prefix}conv1.weight"]}, "resnet34", source="a.pth")
    message = str(error.value)
    assert message.startswith(f"a.pth holds the weights of {name}") and message.count(". ") == 0


@pytest.mark.parametrize(
    "keys, plain, ibn",
    [
        (["base.conv1.weight", "bottleneck.weight"], "bag_of_tricks", "torchvision"),
        (["module.base.conv1.weight", "module.bottleneck.bias"], "bag_of_tricks", "torchvision"),
        (["backbone.conv1.weight", "heads.bottleneck.0.weight"], "fast_reid", "fast_reid"),
        (["backbone.conv1.weight", "heads.weight"], "fast_reid", "fast_reid"),
        (["backbone.conv1.weight", "heads.bnneck.weight"], "torchvision", "torchvision"),
        (["base.0.weight", "bottleneck.weight"], None, None),
        (["base.conv1.weight", "classifier.weight"], None, None),
        (["conv1.weight", "bottleneck.weight"], None, None),
        (["conv1.weight", "fc.weight"], None, None),
    ],
)
def test_settings_that_only_the_names_tell(keys, plain, ibn):
    for backbone, stem in (("resnet34", plain), ("resnet101", plain), ("resnet50_ibn_a", ibn)):
        expected = {"stem": stem, "last_stride": 1} if stem else {}
        assert toolbox_settings(keys, backbone) == expected


def test_the_se_networks_have_one_stem():
    keys = ["base.layer0.conv1.weight", "bottleneck.weight"]
    assert toolbox_settings(keys, "se_resnet50") == {"last_stride": 1}
