"""Heads of the toolboxes: what our model computes with them, against NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfreid.backbones import BACKBONES, Backbone
from tfreid.config import ModelConfig
from tfreid.models.embedding import build_embedding_model
from tfreid.weights.files import weight_keys
from tfreid.weights.layouts.heads import convert_head

CHANNELS, CLASSES = 12, 5
GENERATOR = np.random.default_rng(3)


def normal(*shape):
    return GENERATOR.normal(size=shape).astype(np.float32)


def linear(name, inputs, outputs, bias=True):
    state = {f"{name}.weight": normal(outputs, inputs), f"{name}.bias": normal(outputs)}
    return state if bias else {f"{name}.weight": state[f"{name}.weight"]}


def batch_norm(name, channels, shift=True):
    return {f"{name}.weight": normal(channels), f"{name}.bias": normal(channels) * shift,
            f"{name}.running_mean": normal(channels), f"{name}.running_var": normal(channels) ** 2}


def apply(state, x, *names):
    """Applies PyTorch's linear layers, batch norms at inference, and ReLUs."""
    for name in names:
        if name == "relu":
            x = np.maximum(x, 0)
            continue
        weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias", 0)
        if weight.ndim == 1:
            mean, variance = (state[f"{name}.running_{part}"] for part in ("mean", "var"))
            x = (x - mean) / np.sqrt(variance + 1e-5) * weight + bias
        else:
            x = x @ weight.T + bias
    return x


def outputs(head, monkeypatch):
    """Returns the average of random feature maps, and what our model's head makes of the maps."""
    def convolve(x, last_stride=None):
        return keras.layers.Conv2D(CHANNELS, 1, name="trunk")(x)

    monkeypatch.setitem(BACKBONES, "trunk", Backbone(convolve, CHANNELS))
    model = build_embedding_model(ModelConfig(
        backbone="trunk", height=8, width=4, **head.settings), CLASSES)
    variables = {key: variable for key, variable in weight_keys(model).items()
                 if not key.startswith("trunk/")}
    has_classifier = any(key.startswith("classifier/") for key in head.weights)
    # The zero shift of a frozen neck has no place; `convert_state` leaves it out.
    weights = {key: x for key, x in head.weights.items() if key in variables or np.any(x)}
    assert weights.keys() == {
        key for key in variables if has_classifier or not key.startswith("classifier/")}
    for key, array in weights.items():
        variables[key].assign(array)
    both = keras.Model(model.input, {"maps": model.get_layer("trunk").output, **model.output})
    found = both(GENERATOR.uniform(0, 255, (3, 8, 4, 3)).astype(np.float32), training=False)
    found = {name: value.numpy() for name, value in found.items()}
    return found.pop("maps").mean((1, 2)), found


# The layers of each head: of the embedding, further ones of the neck, and of the logits.
HEADS = {
    "layumi": (
        {**linear("classifier.add_block.0", CHANNELS, 8), **batch_norm("classifier.add_block.1", 8),
         **linear("classifier.classifier.0", 8, CLASSES), **linear("fc", CHANNELS, 1000)},
        ["classifier.add_block.0"], ["classifier.add_block.1"], ["classifier.classifier.0"]),
    "layumi without a linear layer": (
        {**batch_norm("classifier.add_block.0", CHANNELS),
         **linear("classifier.classifier.0", CHANNELS, CLASSES)},
        [], ["classifier.add_block.0"], ["classifier.classifier.0"]),
    "open-reid": (
        {**linear("feat", CHANNELS, 8), **batch_norm("feat_bn", 8),
         **linear("classifier", 8, CLASSES), **linear("fc", CHANNELS, 1000)},
        ["feat", "feat_bn", "relu"], [], ["classifier"]),
    "open-reid without features of its own": (
        linear("classifier", CHANNELS, CLASSES), [], [], ["classifier"]),
    "descendants of open-reid": (
        {**batch_norm("feat_bn", CHANNELS, shift=False),
         **linear("classifier", CHANNELS, CLASSES, bias=False)},
        [], ["feat_bn"], ["classifier"]),
    "descendants of open-reid with features": (
        {**linear("feat", CHANNELS, 8), **batch_norm("feat_bn", 8, shift=False),
         **linear("classifier", 8, CLASSES, bias=False)},
        ["feat"], ["feat_bn"], ["classifier"]),
    "mmtracking": (
        {**linear("head.fcs.0.fc", CHANNELS, 9), **batch_norm("head.fcs.0.bn", 9),
         **linear("head.fc_out", 9, 8), **batch_norm("head.bn", 8),
         **linear("head.classifier", 8, CLASSES)},
        ["head.fcs.0.fc", "head.fcs.0.bn", "relu", "head.fc_out"], ["head.bn"],
        ["head.classifier"]),
    "mmtracking without hidden layers": (
        {**linear("head.fc_out", CHANNELS, 8), **batch_norm("head.bn", 8),
         **linear("head.classifier", 8, CLASSES)},
        ["head.fc_out"], ["head.bn"], ["head.classifier"]),
    "mmtracking with the triplet loss alone": (
        {**linear("head.fcs.0.fc", CHANNELS, 9), **batch_norm("head.fcs.0.bn", 9),
         **linear("head.fc_out", 9, 8)},
        ["head.fcs.0.fc", "head.fcs.0.bn", "relu", "head.fc_out"], [], None),
}


@pytest.mark.parametrize("name", HEADS)
def test_head(name, monkeypatch):
    state, embedding, neck, logits = HEADS[name]
    head = convert_head(state, CHANNELS)
    pooled, found = outputs(head, monkeypatch)
    expected = {"embedding": apply(state, pooled, *embedding),
                "neck": apply(state, pooled, *embedding, *neck)}
    if logits:
        expected["logits"] = apply(state, pooled, *embedding, *neck, *logits)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=1e-4)
    unused = state.keys() - set(head.sources.values())
    # ImageNet's classifier, which stays in the trunk.
    assert unused == {key for key in state if key.startswith("fc.")} == head.dropped.keys()


def test_what_weights_do_not_show_is_told():
    notes = {name: convert_head(HEADS[name][0], CHANNELS).notes for name in HEADS}
    assert "LeakyReLU" in notes["layumi"][0]
    assert "evaluation.feature=embedding" in notes["mmtracking"][0]
    assert not notes["open-reid"]


@pytest.mark.parametrize("name, missing", [
    ("mmtracking", "head.fcs.0.bn.running_mean"),
    ("layumi", "classifier.add_block.0.bias"),
])
def test_a_chain_ends_where_a_layer_is_missing(name, missing):
    state = {key: value for key, value in HEADS[name][0].items() if key != missing}
    head = convert_head(state, CHANNELS)
    assert not head.weights
    assert any("features of length 8" in reason for reason in head.dropped.values())


def test_a_second_hidden_layer_is_not_left_out():
    state = {**HEADS["mmtracking"][0], **linear("head.fcs.1.fc", 9, 9),
             **batch_norm("head.fcs.1.bn", 9)}
    head = convert_head(state, CHANNELS)
    assert not head.weights and not head.settings


@pytest.mark.parametrize(("mean", "told"), [
    ((123.675, 116.28, 103.53), False), ((127.5, 127.5, 127.5), True), ((0.0,), True)])
def test_another_mean_than_imagenets_is_told(mean, told):
    state = {"pixel_mean": np.reshape(np.float32(mean), (1, -1, 1, 1))}
    head = convert_head(state, CHANNELS)
    assert head.dropped.keys() == {"pixel_mean"}
    assert bool(head.notes) is told and all("pixel_mean is not" in note for note in head.notes)
