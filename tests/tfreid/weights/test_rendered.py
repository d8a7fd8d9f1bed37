"""The weights in the package: what they hold, what they recognise, and whom they are not for."""

from __future__ import annotations

import dataclasses
import os

import keras
import numpy as np
import pytest

import tfreid
from tfrecords.errors import UserError
from tfrecords.synthetic import render_crop
from tfreid.config import load_config
from tfreid.models.embedding import build_embedding_model
from tfreid.systems.registry import make_system
from tfreid.training.initial_weights import describe_initial_weights, load_initial_weights
from tfreid.weights import rendered
from tfreid.weights.files import read_arrays, save_arrays, weight_keys

RECIPE = "rendered_osnet_x025"
MODEL = dataclasses.replace(load_config(RECIPE).model, weights="rendered")


@pytest.fixture(scope="module")
def backbone():
    """The recipe's network for eight identities, whose weights the tests change."""
    return build_embedding_model(dataclasses.replace(MODEL, embedding_size=None), 8)


@pytest.mark.parametrize("name", ["osnet_x0_25"])
def test_the_file_is_small_and_knows_no_identities(name):
    path = rendered.find_weights("rendered", name)
    assert os.path.getsize(path) <= 3_000_000
    arrays = read_arrays(path)
    assert not [key for key in arrays if key.startswith("classifier/")]
    assert {"neck/moving_mean", "fc/kernel"} <= arrays.keys()


def test_it_finds_rendered_people_in_another_camera():
    model = tfreid.load(RECIPE, weights="rendered")
    people = range(90_001, 90_021)  # whom no training saw
    query, gallery = (model.embed([render_crop(77, person, camera, 0, "varied")
                                   for person in people]) for camera in (1, 2))
    found = model.rank(query, gallery).indices[:, 0]
    assert np.mean(found == np.arange(20)) >= 0.5  # by chance 0.05


def test_a_backbone_without_them_is_refused():
    with pytest.raises(UserError) as caught:
        rendered.find_weights("rendered", "osnet_x1_0")
    assert str(caught.value) == (
        f"the weights `rendered` exist for {', '.join(rendered.rendered_backbones())} only, not "
        "for osnet_x1_0; set model.backbone to it, or give a .weights.h5 file.")
    assert rendered.find_weights("a.weights.h5", "osnet_x1_0") == "a.weights.h5"


def test_another_head_is_trained_from_initial_values(backbone, capsys):
    before = {key: variable.numpy() for key, variable in weight_keys(backbone).items()}
    load_initial_weights(backbone, backbone, dataclasses.replace(MODEL, embedding_size=None))
    assert "have another head" in capsys.readouterr().out
    stored = read_arrays(rendered.find_weights("rendered", MODEL.backbone))
    after = {key: variable.numpy() for key, variable in weight_keys(backbone).items()}
    for key, value in after.items():
        head = key.startswith(("neck/", "classifier/"))
        np.testing.assert_array_equal(value, before[key] if head else stored[key])


def test_shipping_leaves_the_classifier_out(tmp_path, monkeypatch):
    monkeypatch.setattr(rendered, "_FOLDER", tmp_path)
    weights = {"neck/gamma": np.ones(3, np.float32), "classifier/kernel": np.ones((3, 2))}
    save_arrays(weights, str(tmp_path / "run.h5"), "osnet_x0_25")
    path = rendered.ship_weights(tmp_path / "run.h5", "osnet_x0_25")
    assert rendered.rendered_backbones() == ["osnet_x0_25"]
    assert str(path) == rendered.find_weights("rendered", "osnet_x0_25")
    assert read_arrays(path).keys() == {"neck/gamma"}


def test_a_run_says_that_it_starts_from_them():
    assert describe_initial_weights(MODEL) == "weights of rendered people"


def test_a_network_without_a_backbone_is_refused():
    system = make_system(load_config("csn_l23", ["model.weights=rendered"]))
    with pytest.raises(UserError, match="the weights `rendered` exist for .* only, not for "):
        system.load_initial_weights(keras.Sequential())
