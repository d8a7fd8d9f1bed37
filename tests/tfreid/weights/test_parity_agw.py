"""AGW and fast-reid's SBS: whole networks with non-local blocks, from RGB crops to the neck."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.config import Config, ModelConfig
from tfreid.models.embedding import build_embedding_model
from tfreid.systems.embedding.system import EmbeddingSystem
from tfreid.weights.conversion_report import describe
from tfreid.weights.convert import MisfitError, convert_state
from tfreid.weights.files import save_weights, weight_keys
from tfreid.weights.layouts.resnet import add_exponent, found_settings, layer_pairs

IDENTITIES = 10
# ResNet-50, 1,000 classes less and 10 identities more, the neck, the exponent, and in each block
# theta, phi and g of one channel, the convolution back and its batch normalisation.
PARAMETERS = (25_557_032 - 1000 * 2049 + 10 * 2048 + 2 * 2048 + 1
              + sum(3 * (c + 1) + 2 * c + 2 * c for c in (512, 512, 1024, 1024, 1024)))
COMMON = {"last_stride": 1, "non_local": [0, 2, 3, 0], "non_local_channels": 1, "neck": True,
          "pooling": "gem", "classifier_bias": False, "num_identities": IDENTITIES}


def non_local(name, channels, inner):
    """The state of a block of AGW and fast-reid."""
    shapes = {"g": (inner, channels), "theta": (inner, channels), "phi": (inner, channels),
              "W.0": (channels, inner)}
    state = {}
    for part, shape in shapes.items():
        state[f"{name}.{part}.weight"] = np.ones((*shape, 1, 1), np.float32)
        state[f"{name}.{part}.bias"] = np.ones(shape[:1], np.float32)
    for part in ("weight", "bias", "running_mean", "running_var"):
        state[f"{name}.W.1.{part}"] = np.ones(channels, np.float32)
    return state


@pytest.mark.parametrize(("name", "backbone", "stem"), [
    pytest.param("agw_resnet50", "resnet50", "bag_of_tricks", marks=pytest.mark.slow),
    ("sbs_resnet50_ibn_a", "resnet50_ibn_a", "fast_reid"),
])
def test_the_whole_network(name, backbone, stem, golden):
    recorded = golden(name)
    conversion = convert_state(recorded.state, backbone)
    assert len(conversion.sources) == len(recorded.state)
    # The neck's shift, which both freeze at zero, is drawn, too.
    assert conversion.settings == {"stem": stem, **COMMON, "neck_beta": True}
    model = build_embedding_model(
        ModelConfig(backbone=backbone, height=64, width=32, **conversion.settings))
    variables = weight_keys(model)
    assert conversion.weights.keys() == variables.keys()
    for key, variable in variables.items():
        variable.assign(conversion.weights[key])
    neck = model(recorded.images, training=False)["neck"]
    assert np.abs(recorded.output).max() > 10
    np.testing.assert_allclose(neck, recorded.output, rtol=0, atol=1e-4)
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trainable == recorded.parameters == PARAMETERS


@pytest.mark.parametrize(("backbone", "counts", "channels", "expected"), [
    ("resnet50", (0, 2, 3, 0), 1, 1), ("resnet50", (0, 2, 0, 0), 256, None),
    ("resnet101_ibn_a", (0, 2, 9, 0), 1, 1), ("resnet34", (1, 0, 0, 0), 32, None),
])
def test_settings_that_the_weights_show(backbone, counts, channels, expected):
    weights = {f"NL_{stage}.{number}.theta.weight": np.zeros((channels, 8, 1, 1))
               for stage, count in enumerate(counts, 1) for number in range(count)}
    found = found_settings(weights, backbone)
    assert found == {"non_local": counts, "non_local_channels": expected}
    plain = len(layer_pairs(backbone))
    assert len(layer_pairs(backbone, **found)) == plain + 5 * sum(counts)


@pytest.mark.parametrize("keys", [
    ["layer2.0.conv1.weight"], ["NL_2.1.theta.weight"], ["NL_5.0.theta.weight"],
    [f"NL_2.{number}.theta.weight" for number in range(5)],
])
def test_blocks_that_no_setting_has(keys):
    assert found_settings(dict.fromkeys(keys, np.zeros((1, 8, 1, 1))), "resnet50") == {}


def test_the_last_blocks_of_a_stage_are_followed():
    pairs = {pair.theirs: pair.ours for pair in layer_pairs("resnet101", (0, 2, 9, 0))}
    assert pairs["NL_2.0.g"] == "stage2_block3_non_local_g"
    assert pairs["NL_2.1.W.1"] == "stage2_block4_non_local_out_bn"
    assert pairs["NL_3.0.theta"] == "stage3_block15_non_local_theta"
    assert pairs["NL_3.8.W.0"] == "stage3_block23_non_local_out"


def test_the_exponent_that_fast_reids_agw_does_not_store():
    weights = {"NL_2.0.g.weight": 0, "heads.bottleneck.0.weight": 0}
    added, note = add_exponent(weights)
    assert added["heads.pool_layer.p"] == 3 and "fixed exponent 3" in note
    for others in ({"NL_2.0.g.weight": 0, "bottleneck.weight": 0}, {"heads.weight": 0},
                   {**weights, "heads.pool_layer.p": 0}):
        assert add_exponent(others) == (others, None)


@functools.cache
def small(**settings):
    """A network of less than a second, once for the same settings."""
    return build_embedding_model(
        ModelConfig(backbone="resnet34", height=64, width=32, **settings), IDENTITIES)


@pytest.fixture(scope="module")
def agw34(golden):
    """A file like fast-reid's AGW, of a small network with two blocks as published."""
    state = {**golden("resnet34").state, **non_local("NL_2.0", 128, 64),
             **non_local("NL_2.1", 128, 64)}
    state = {f"module.backbone.{key}": value for key, value in state.items()}
    neck = {f"module.heads.bottleneck.0.{part}": np.zeros(512, np.float32)
            for part in ("bias", "running_mean")}
    neck.update({f"module.heads.bottleneck.0.{part}": np.ones(512, np.float32)
                 for part in ("weight", "running_var")})
    return {**state, **neck, "module.heads.weight": np.ones((IDENTITIES, 512), np.float32),
            "module.pixel_mean": np.zeros((1, 3, 1, 1), np.float32)}


def test_the_report_of_a_file(agw34):
    conversion = convert_state(agw34, "resnet34")
    assert not (conversion.unmatched or conversion.missing or conversion.misshaped)
    lines = list(describe(conversion, "a.pth", "b.weights.h5"))
    start = lines.index("  non_local:")
    assert lines[start + 1 : start + 6] == [
        "  - 0", "  - 2", "  - 0", "  - 0", "  non_local_channels: null"]
    assert "  pooling: gem" in lines and "  stem: fast_reid" in lines
    notes = [line for line in lines if line.startswith("note: ")]
    assert "fixed exponent 3" in notes[0]
    assert "if this is fast-reid's SBS, it classifies by cosines" in notes[1]


def test_a_recipe_must_have_the_files_blocks(agw34):
    def shapes(**settings):
        return {key: tuple(variable.shape)
                for key, variable in weight_keys(small(**settings)).items()}

    with pytest.raises(UserError, match=r"lacks or has in another size; set model.non_local to "
                                        r"\[0, 2, 0, 0\] and model.non_local_channels to null\.$"):
        convert_state(agw34, "resnet34", None, shapes())
    fitting = shapes(non_local=(0, 2, 0, 0), pooling="gem")
    assert convert_state(agw34, "resnet34", None, fitting).weights.keys() == fitting.keys()


def test_a_block_without_all_its_weights(agw34):
    broken = {key: value for key, value in agw34.items() if "NL_2.1.W.1" not in key}
    with pytest.raises(MisfitError, match=r"4 missing \(NL_2.1.W.1.weight, "):
        convert_state(broken, "resnet34")


def test_a_plain_network_starts_one_with_blocks(tmp_path, capsys):
    path = str(tmp_path / "plain.weights.h5")
    plain, whole = small(), small(non_local=(0, 2, 0, 0))
    save_weights(plain, path)
    config = Config(model=ModelConfig(backbone="resnet34", weights=path))
    EmbeddingSystem(config).load_initial_weights(whole)
    assert "has no stage2_block3_non_local_g/bias, " in capsys.readouterr().out
    crops = np.random.default_rng(0).integers(0, 256, (2, 64, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(whole(crops)["embedding"], plain(crops)["embedding"], atol=1e-5)
