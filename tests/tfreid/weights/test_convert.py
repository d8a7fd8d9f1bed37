"""Conversion of checkpoints: every toolbox's head, and an account of every key."""

from __future__ import annotations

import dataclasses
import functools
import importlib

import keras
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.backbones import BACKBONES, Backbone
from tfreid.config import ModelConfig
from tfreid.models.embedding import build_embedding_model
from tfreid.systems.embedding.system import EmbeddingSystem
from tfreid.weights import layouts
from tfreid.weights.conversion_report import describe, describe_misfit, list_weights
from tfreid.weights.convert import LAYOUTS, MisfitError, convert_state
from tfreid.weights.files import load_weights, save_arrays, weight_keys
from tfreid.weights.layouts.heads import convert_head

NAME = "osnet_x0_25"
GENERATOR = np.random.default_rng(0)


def normal(*shape):
    return GENERATOR.normal(size=shape).astype(np.float32)


def batch_norm(name, channels, bias=True):
    state = {f"{name}.{part}": normal(channels) for part in ("weight", "running_mean")}
    state[f"{name}.running_var"] = normal(channels) ** 2
    state[f"{name}.bias"] = normal(channels) * bias
    return {**state, f"{name}.num_batches_tracked": np.array(7)}


@pytest.fixture(scope="module")
def stock(golden):
    """The whole state of torchreid's network, with 751 identities."""
    state = dict(golden(NAME).state)
    return {**state, "classifier.weight": normal(751, 512), "classifier.bias": normal(751)}


@pytest.fixture(scope="module")
def trunk(stock):
    return {key: value for key, value in stock.items() if key.startswith("conv")}


@functools.cache
def trunk_shapes():
    """The shapes of the backbone's weights, whose building takes seconds."""
    inputs = keras.Input((64, 32, 3))
    model = keras.Model(inputs, BACKBONES[NAME](inputs))
    return {key: tuple(variable.shape) for key, variable in weight_keys(model).items()}


def shapes_of(**settings):
    """The shapes of a model of the backbone: of its trunk, and of a head over as many channels."""
    def one_convolution(x, last_stride=None):
        return keras.layers.Conv2D(BACKBONES[NAME].channels, 1, name="no_trunk")(x)

    with pytest.MonkeyPatch.context() as patch:
        backbone = Backbone(one_convolution, BACKBONES[NAME].channels)
        patch.setitem(BACKBONES, "no_trunk", backbone)
        head = build_embedding_model(ModelConfig(backbone="no_trunk", **settings), 1)
    shapes = {key: tuple(variable.shape) for key, variable in weight_keys(head).items()
              if not key.startswith("no_trunk")}
    return {**trunk_shapes(), **shapes}


def head_of(conversion):
    return {key for key in conversion.weights if key.startswith(("fc", "neck", "pool", "class"))}


def test_a_family_is_one_file(tmp_path, monkeypatch):
    (tmp_path / "tiny.py").write_text(
        "from tfreid.weights.layouts.layout import LayerPair, Layout\n"
        "def layer_pairs(backbone):\n"
        "    return [LayerPair('stem_conv', 'stem', 'conv')]\n"
        "LAYOUT = Layout(layer_pairs)\n"
    )
    monkeypatch.setattr(layouts, "__path__", [*layouts.__path__, str(tmp_path)])
    monkeypatch.setitem(LAYOUTS, "tiny", importlib.import_module(f"{layouts.__name__}.tiny").LAYOUT)
    convolve = keras.layers.Conv2D(4, 3, use_bias=False, name="stem_conv")
    monkeypatch.setitem(BACKBONES, "tiny", Backbone(convolve, 4))
    kernel = normal(4, 3, 3, 3)
    conversion = convert_state({"stem.weight": kernel}, "tiny")
    np.testing.assert_array_equal(
        conversion.weights["stem_conv/kernel"], kernel.transpose(2, 3, 1, 0)
    )
    assert not conversion.settings and not conversion.notes
    with pytest.raises(UserError, match="does not hold the weights of tiny"):
        convert_state({"other.weight": kernel}, "tiny")


def test_stock_osnet(stock):
    conversion = convert_state(stock, NAME)
    settings = {"embedding_size": 512, "embedding_head": "linear_bn_relu", "neck": False}
    settings.update(classifier_bias=True, num_identities=751)
    assert conversion.settings == settings
    assert not (conversion.dropped or conversion.unmatched or conversion.missing)
    assert conversion.weights.keys() == shapes_of(**settings).keys()
    np.testing.assert_array_equal(conversion.weights["fc/kernel"], stock["fc.0.weight"].T)
    np.testing.assert_array_equal(
        conversion.weights["classifier/kernel"], stock["classifier.weight"].T
    )
    assert conversion.sources["fc_bn/moving_variance"] == "fc.1.running_var"
    assert {array.dtype for array in conversion.weights.values()} == {np.dtype(np.float32)}


def test_the_refusal_shows_keys_of_the_file():
    state = {f"blocks.{number}.attn.qkv.weight": normal(3, 3) for number in range(12)}
    with pytest.raises(UserError, match=r"keys are like blocks.0.attn.qkv.weight and blocks.11.at"):
        convert_state(state, NAME)


@pytest.mark.parametrize("key", ["conv5.conv.weight", "fc.0.bias"])
def test_weights_that_are_not_finite(key, stock):
    broken = stock[key].copy()
    broken.flat[1] = np.inf
    with pytest.raises(UserError, match=rf"1 of 487 weights hold NaN .* \(first: {key}\)"):
        convert_state({**stock, key: broken, "loss.centers": np.array([np.nan])}, NAME)


def test_two_networks_in_one_file(stock):
    twice = {**stock, **{f"module.{key}": value for key, value in stock.items()}}
    with pytest.raises(UserError, match=r"holds conv1.\S+ twice, as conv1.\S+ and module.conv1"):
        convert_state(twice, NAME)


def test_two_dialects_in_one_file(stock, monkeypatch):
    """OSNet has one dialect; two keys that mean the same are those of torchvision and timm."""
    layout = dataclasses.replace(
        LAYOUTS[NAME], renames=(lambda key, backbone: key.replace("first.", "conv1.conv."),)
    )
    monkeypatch.setitem(LAYOUTS, NAME, layout)
    twice = {**stock, "first.weight": stock["conv1.conv.weight"]}
    with pytest.raises(UserError, match="conv1.conv.weight twice, as conv1.conv.weight and first"):
        convert_state(twice, NAME)
    del twice["conv1.conv.weight"]
    assert "stem_conv/kernel" in convert_state(twice, NAME).weights


@pytest.mark.parametrize("bias", [False, True])
def test_bag_of_tricks(bias, trunk):
    state = {f"base.{key}": value for key, value in trunk.items()}
    state.update(batch_norm("bottleneck", 128, bias), **{"classifier.weight": normal(751, 128)})
    conversion = convert_state(state, NAME)
    assert conversion.settings == {
        "neck": True, "neck_beta": bias, "classifier_bias": False, "num_identities": 751
    }
    assert ("neck/beta" in conversion.weights) is bias
    assert ("bottleneck.bias" in conversion.dropped) is not bias
    assert conversion.weights.keys() == shapes_of(**conversion.settings).keys()
    np.testing.assert_array_equal(
        conversion.weights["neck/moving_mean"], state["bottleneck.running_mean"]
    )


@pytest.mark.parametrize(
    "neck, classifier",
    [
        ("heads.bottleneck.0", "heads.weight"),
        ("heads.bnneck", "heads.classifier.weight"),
    ],
)
def test_fast_reid(neck, classifier, trunk):
    state = {f"backbone.{key}": value for key, value in trunk.items()}
    state.update(batch_norm(neck, 128, bias=False))
    state.update({
        classifier: normal(702, 128),
        "heads.pool_layer.p": np.array([3.5], np.float32),
        "pixel_mean": np.zeros((1, 3, 1, 1)),
    })
    conversion = convert_state(state, NAME)
    assert conversion.settings["pooling"] == "gem" and conversion.settings["neck"]
    assert conversion.weights["pool/p"] == 3.5
    shapes = shapes_of(**conversion.settings)
    assert {key: array.shape for key, array in conversion.weights.items()} == shapes
    assert conversion.dropped["pixel_mean"] == "normalisation belongs to the recipe"
    assert not conversion.unmatched


@pytest.mark.parametrize(
    "module, classes", [("fc", 1000), ("last_linear", 100), ("classifier", 1000)]
)
def test_imagenet_classes_are_dropped_unless_wanted(module, classes):
    state = {f"{module}.weight": normal(classes, 64), f"{module}.bias": normal(classes)}
    head = convert_head(state, 64)
    assert not head.weights and not head.settings
    assert set(head.dropped) == set(state)
    assert "ImageNet" in head.dropped[f"{module}.weight"]
    kept = convert_head(state, 64, "keep")
    assert set(kept.weights) == {"classifier/kernel", "classifier/bias"} and not kept.dropped


def test_imagenets_own_layers_of_mobilenet():
    state = {
        "classifier.0.weight": normal(1280, 960), "classifier.3.bias": normal(1000),
        "conv_head.weight": normal(1280, 960, 1, 1), "classifier.weight": normal(1000, 1280),
    }
    head = convert_head(state, 960, "keep")
    assert not head.weights and set(head.dropped) == set(state)
    assert "length 1280" in head.dropped["classifier.weight"]


def test_classifier_dropped_as_asked(stock):
    conversion = convert_state(stock, NAME, classifier="drop")
    assert conversion.dropped == {
        "classifier.weight": "as requested", "classifier.bias": "as requested"
    }
    assert head_of(conversion) == {f"fc/{part}" for part in ("kernel", "bias")} | {
        f"fc_bn/{part}" for part in ("gamma", "beta", "moving_mean", "moving_variance")
    }


def test_keys_without_a_place_are_told(stock):
    conversion = convert_state({**stock, "parts.0.weight": normal(3)}, NAME)
    assert conversion.unmatched == {"parts.0.weight": "unknown here"}


def test_head_of_a_recipe(stock):
    shapes = shapes_of(embedding_size=1000, neck=True)
    conversion = convert_state(stock, NAME, "drop", shapes)
    assert head_of(conversion) == set()
    assert conversion.misshaped == {
        "fc/kernel": ((128, 512), (128, 1000)), "fc/bias": ((512,), (1000,))
    }
    assert set(conversion.unmatched) == {
        f"fc.1.{part}" for part in ("weight", "bias", "running_mean", "running_var")
    }
    assert "no fc_bn/gamma" in conversion.unmatched["fc.1.weight"]
    assert conversion.missing == (
        "classifier/kernel", "neck/gamma", "neck/moving_mean", "neck/moving_variance"
    )


def linear_head(embedding_size=512, neck=False, classifier_bias=True, num_identities=7):
    """The shapes of torchreid's head, without the backbone's, whose building takes seconds."""
    norms = ["fc_bn", "neck"] if neck else ["fc_bn"]
    parts = ("gamma", "beta", "moving_mean", "moving_variance")
    shapes = {f"{norm}/{part}": (embedding_size,) for norm in norms for part in parts}
    shapes.update({"fc/kernel": (128, embedding_size), "fc/bias": (embedding_size,)})
    shapes["classifier/kernel"] = (embedding_size, num_identities)
    return {**shapes, "classifier/bias": (num_identities,)} if classifier_bias else shapes


@pytest.mark.parametrize("size", [64, 128, 512])
@pytest.mark.parametrize("neck", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_no_written_layer_is_partial(size, neck, bias, stock):
    state = {**stock, **batch_norm("bottleneck", 512)}
    shapes = linear_head(size, neck, bias)
    conversion = convert_state(state, NAME, None, shapes)
    for head in ("fc/", "fc_bn/", "neck/", "classifier/"):
        wanted = {key for key in shapes if key.startswith(head)}
        written = {key for key in conversion.weights if key.startswith(head)}
        assert written in (set(), wanted)
        assert bool(written) is (size == 512 and bool(wanted) and head != "classifier/")


def test_a_classifier_of_another_width_is_left_out_whole(stock):
    shapes = linear_head()
    conversion = convert_state(stock, NAME, None, shapes)
    shapes["classifier/bias"] = (751,)
    half = convert_state(stock, NAME, None, shapes)
    for found in (conversion, half):
        assert not any(key.startswith("classifier/") for key in found.weights)
        assert found.misshaped["classifier/kernel"] == ((512, 751), (512, 7))
    reason = "classifier/kernel does not fit, so classifier is left out completely"
    assert half.unmatched == {"classifier.bias": reason}
    lines = list(describe(half, "a.pth", None))
    assert not any("identities" in line for line in lines)


def test_a_layer_without_a_weight_that_the_model_has(stock):
    state = {key: value for key, value in stock.items() if key != "classifier.bias"}
    shapes = linear_head(num_identities=751)
    conversion = convert_state(state, NAME, None, shapes)
    assert conversion.unmatched == {
        "classifier.weight": "the file has no classifier/bias, so classifier is left out completely"
    }
    assert conversion.missing == ("classifier/bias",)


def test_the_file_tells_the_identities_where_the_recipe_does_not(stock):
    shapes = linear_head(num_identities=None)
    conversion = convert_state(stock, NAME, "keep", shapes)
    assert conversion.weights["classifier/kernel"].shape == (512, 751)
    assert conversion.weights["classifier/bias"].shape == (751,)
    damaged = {**stock, "classifier.bias": normal(750)}
    with pytest.raises(UserError, match="classifier/bias is 750 in the file and 751 in the model"):
        convert_state(damaged, NAME, "keep", shapes)


@pytest.mark.parametrize(
    "settings, reason",
    [
        ({"num_identities": 7}, "classifier/kernel is 512x751 in the file and 512x7 in the model"),
        ({"embedding_size": 64}, "classifier/kernel is 512x751 in the file and 64x751 in the"),
        ({"classifier_bias": False}, "both have a bias or none, and classifier/bias has no place"),
    ],
)
def test_a_classifier_that_cannot_be_kept(settings, reason, stock):
    shapes = linear_head(**{"num_identities": 751, **settings})
    with pytest.raises(UserError) as error:
        convert_state(stock, NAME, "keep", shapes, "a.pth")
    message = str(error.value)
    assert message.startswith("a.pth: the classifier cannot be kept") and reason in message


def test_no_classifier_to_keep(trunk):
    with pytest.raises(UserError, match="cannot be kept, because the file has no classifier of"):
        convert_state(trunk, NAME, "keep")
    with pytest.raises(UserError, match="cannot be kept, because the file has no classifier of"):
        convert_state({**trunk, "classifier.weight": normal(751, 64)}, NAME, "keep")


@pytest.mark.parametrize("frozen", [True, False])
def test_the_shift_of_a_neck_goes_where_the_recipe_has_one(frozen, trunk):
    zero = {**trunk, **batch_norm("bottleneck", 128, bias=False)}
    moved = {**trunk, **batch_norm("bottleneck", 128)}
    shapes = shapes_of(neck_beta=not frozen)
    assert ("neck/beta" in convert_state(zero, NAME, None, shapes).weights) is not frozen
    unmatched = convert_state(moved, NAME, None, shapes).unmatched
    assert set(unmatched) == ({"bottleneck.bias"} if frozen else set())


@pytest.mark.slow
def test_another_width_is_named(stock, monkeypatch):
    for slow in ("osnet_x1_0", "osnet_x0_75"):
        monkeypatch.delitem(LAYOUTS, slow)
    with pytest.raises(MisfitError) as error:
        convert_state(stock, "osnet_x0_5", source="file.pth")
    message = str(error.value)
    assert message.startswith("file.pth does not hold the weights of osnet_x0_5: 0 of 479 match")
    assert message.endswith("weights are those of osnet_x0_25, so give that as the architecture.")
    assert error.value.misshaped["stem_conv/kernel"] == ((7, 7, 3, 16), (7, 7, 3, 32))
    assert not list(describe_misfit(error.value))


def test_missing_and_misshaped_weights_of_the_backbone(stock):
    state = dict(stock)
    del state["conv5.bn.running_var"]
    state["conv5.bn.weight"] = normal(64)
    state["conv1.conv.weight"] = normal(16)
    with pytest.raises(MisfitError, match="fits no other backbone") as error:
        convert_state(state, NAME)
    assert "476 of 479 match, 1 missing (conv5.bn.running_var), 2 of another" in str(error.value)
    assert list(describe_misfit(error.value)) == [
        "missing in the file: conv5.bn.running_var",
        "of another shape: stem_conv/kernel, 16 in the file, 7x7x3x16 here",
        "of another shape: last_conv_bn/gamma, 64 in the file, 128 here",
    ]


@pytest.mark.slow
def test_weights_of_a_deeper_network(stock):
    """All that is wanted is there, and more: leaving it out would be another function."""
    with pytest.raises(MisfitError, match="479 of 479 match, 1 that it does not have .conv4.2.x.w"):
        convert_state({**stock, "conv4.2.x.weight": normal(3)}, NAME)


@pytest.mark.slow  # builds OSNet-AIN at three widths for their shapes
def test_a_relative_is_named(golden):
    state = {f"module.{key}": value for key, value in golden("osnet_ain_x0_5").state.items()}
    with pytest.raises(UserError, match="weights are those of osnet_ain_x0_5, so give that"):
        convert_state(state, "osnet_x0_5")


def test_a_relative_with_prefix_and_classifier(golden):
    state = {**golden("osnet_ain_x0_25").state,
             "classifier.weight": normal(751, 512), "classifier.bias": normal(751)}
    state = {f"module.{key}": value for key, value in state.items()}
    conversion = convert_state(state, "osnet_ain_x0_25")
    assert not (conversion.dropped or conversion.unmatched or conversion.missing)
    assert conversion.settings["num_identities"] == 751
    assert conversion.settings["embedding_head"] == "linear_bn_relu"
    assert conversion.weights["classifier/kernel"].shape == (512, 751)
    # 485 weights of OSNet, less the moving statistics of the stem and of four blocks.
    assert len(conversion.weights) == 487 - 2 * 5


def test_account(stock):
    state = {**stock, "classifier.weight": normal(1000, 512), "classifier.bias": normal(1000)}
    state.update({"parts.weight": normal(3), "fc.1.num_batches_tracked": np.array(3)})
    conversion = convert_state(state, NAME)
    lines = list(describe(conversion, "a.pth", "b.weights.h5"))
    assert lines[0] == "no place for parts.weight: unknown here"
    assert lines[1].startswith("dropped classifier.weight, classifier.bias: ImageNet's classes")
    assert lines[2] == "dropped 1 batch counters (num_batches_tracked)"
    # Trunk 134,792, linear 128 -> 512 with bias, batch norm of 512; moving statistics besides.
    numbers = sum(array.size for array in conversion.weights.values())
    assert lines[3] == f"a.pth: 485 weights of 226 layers, {numbers:,} numbers -> b.weights.h5"
    assert lines[5:] == [
        "model:",
        "  backbone: osnet_x0_25",
        "  weights: b.weights.h5  # to train",
        "  normalization: torch",
        "  embedding_size: 512",
        "  embedding_head: linear_bn_relu",
        "  neck: false",
    ]
    pairs = list(list_weights(conversion))
    assert len(pairs) == 485
    assert "fc.0.weight -> fc/kernel 128x512" in pairs


def test_a_trunk_alone_starts_training(trunk, tmp_path, capsys):
    path = str(tmp_path / "trunk.weights.h5")
    save_arrays(convert_state(trunk, NAME).weights, path, NAME)
    settings = ModelConfig(backbone=NAME, height=64, width=32, embedding_size=64, weights=path)
    model = build_embedding_model(settings, 5)
    neck = weight_keys(model)["neck/gamma"].numpy()
    from tfreid.config import Config

    EmbeddingSystem(Config(model=settings)).load_initial_weights(model)
    printed = capsys.readouterr().out
    assert "has no fc/bias, fc/kernel, neck/gamma" in printed
    variables = weight_keys(model)
    np.testing.assert_array_equal(
        variables["last_conv/kernel"], trunk["conv5.conv.weight"].transpose(2, 3, 1, 0)
    )
    np.testing.assert_array_equal(variables["neck/gamma"], neck)
    broken = {k: v for k, v in convert_state(trunk, NAME).weights.items() if "last_conv/" not in k}
    save_arrays(broken, path, NAME)
    with pytest.raises(UserError, match=r"1 missing \(last_conv/kernel\)"):
        EmbeddingSystem(Config(model=settings)).load_initial_weights(model)


def test_arrays_are_saved_as_models_are(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3, name="fc")(inputs))
    arrays = {"fc/kernel": normal(4, 3), "fc/bias": normal(3)}
    save_arrays(arrays, tmp_path / "x.weights.h5", "tiny")
    assert load_weights(model, tmp_path / "x.weights.h5").loaded == ("fc/bias", "fc/kernel")
    np.testing.assert_array_equal(model.get_layer("fc").kernel, arrays["fc/kernel"])
