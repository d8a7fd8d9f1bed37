"""Initial weights: what a recipe that names a missing file says, and what a run says of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.config import ModelConfig, load_config
from tfreid.config.recipes import shipped_recipes
from tfreid.models.embedding import build_embedding_model
from tfreid.training.initial_weights import (
    check_converted,
    describe_initial_weights,
    load_initial_weights,
)
from tfreid.weights.files import save_weights, weight_keys
from tfreid.weights.rendered import NAME


def test_recipes_say_how_to_get_the_weights_that_they_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = {}
    for name in shipped_recipes():
        config = load_config(name).model
        if config.weights not in (None, "imagenet", NAME):
            with pytest.raises(UserError) as caught:
                check_converted(config)
            told[name] = str(caught.value)
            assert (f"{config.weights} does not exist; get the ImageNet checkpoint of "
                    f"{config.backbone} from ") in told[name]
            assert (f"`tfreid convert --arch {config.backbone} --input CHECKPOINT.pth --output "
                    f"{config.weights}`") in told[name]
            assert "model.weights=null" in told[name]
    assert "from torchvision" in told["lin_resnet34"]
    assert "XingangPan/IBN-Net" in told["lin_resnet50_ibn_a"]
    assert {"lin_se_resnet50", "report_osnet_x025", "report_mobilenet_v3"} <= told.keys()


def test_weights_that_are_there_or_of_runs_are_not_its_matter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resnet34.weights.h5").touch()
    for weights in ("resnet34.weights.h5", "runs/first/checkpoints/best.weights.h5", None):
        check_converted(ModelConfig(backbone="resnet34", weights=weights))


@pytest.mark.parametrize("weights, said", [
    (None, "random weights"), ("imagenet", "Keras's ImageNet weights"),
    ("resnet34.weights.h5", "resnet34.weights.h5")])
def test_a_run_says_what_it_starts_from(weights, said):
    assert describe_initial_weights(ModelConfig(weights=weights)) == said


@pytest.mark.parametrize("width, loaded", [(8, {"fc", "fc_bn", "last_conv"}), (12, {"last_conv"})])
def test_another_head_than_the_checkpoints_is_trained_from_initial_values(
        tmp_path, monkeypatch, capsys, width, loaded):
    """As the report's of width 1,000, where OSNet's ImageNet checkpoint has one of 512."""
    monkeypatch.chdir(tmp_path)
    stock = ModelConfig(backbone="osnet_x0_25", weights="osnet_x0_25.weights.h5", height=64,
                        width=32, pooling="average", embedding_size=8,
                        embedding_head="linear_bn_relu", neck=False, classifier=False)
    source = build_embedding_model(stock)
    for value in weight_keys(source).values():
        value.assign(value + 1)
    save_weights(source, stock.weights)
    config = dataclasses.replace(stock, embedding_size=width)
    model = build_embedding_model(config)
    load_initial_weights(model, model, config)
    assert ("have another head" in capsys.readouterr().out) == (width == 12)
    values = weight_keys(source)
    assert {key.partition("/")[0] for key, value in weight_keys(model).items()
            if value.shape == values[key].shape and np.all(value.numpy() == values[key].numpy())
            } >= loaded
    assert np.all(weight_keys(model)["fc_bn/moving_mean"].numpy() == (width == 8))
