"""A backbone is one function and one line of the table: it builds, trains, is saved and loaded."""

from __future__ import annotations

import keras
import numpy as np

from tfreid.backbones import BACKBONES
from tfreid.backbones.base import Backbone, stage_strides
from tfreid.config import ModelConfig
from tfreid.layers.convolution import conv_bn
from tfreid.losses import LabelSmoothedSoftmax, TripletLoss
from tfreid.models.embedding import build_embedding_model
from tfreid.weights.convert import LAYOUTS
from tfreid.weights.files import weight_keys
from tfreid.weights.keras_applications import IMAGENET_BACKBONES


def _two_convolutions(x, strides=None, last_stride=None):
    for number, stride in enumerate(stage_strides(strides or (2, 2), last_stride, 2)):
        x = conv_bn(x, 8, 3, f"conv{number}", stride)
    return x


def test_one_line_adds_a_backbone(monkeypatch, tmp_path):
    monkeypatch.setitem(BACKBONES, "small", Backbone(_two_convolutions, 8, least_side=4))
    keras.utils.set_random_seed(0)
    config = ModelConfig(backbone="small", height=16, width=8, last_stride=1)
    model = build_embedding_model(config, 2)
    assert tuple(model.output["embedding"].shape) == (None, 8)
    assert {"conv0/kernel", "conv1_bn/gamma", "neck/gamma"} < weight_keys(model).keys()
    random = np.random.default_rng(0)
    images, labels = random.uniform(0, 255, (4, 16, 8, 3)), np.array([0, 0, 1, 1])
    before = {key: np.array(weight) for key, weight in weight_keys(model).items()}
    model.compile(optimizer="sgd", loss={"logits": LabelSmoothedSoftmax(),
                                         "embedding": TripletLoss(margin="soft")})
    model.fit(images, {"logits": labels, "embedding": labels}, batch_size=4, verbose=0)
    moved = [key for key, weight in weight_keys(model).items()
             if np.any(np.array(weight) != before[key])]
    assert {"conv0/kernel", "conv1/kernel", "classifier/kernel"} < set(moved)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    images = images.astype(np.float32)
    for name, values in model(images).items():
        np.testing.assert_array_equal(loaded(images)[name], values)


def test_the_table_knows_what_others_ask():
    assert {name for name, entry in BACKBONES.items() if entry.layout} == LAYOUTS.keys()
    assert BACKBONES.keys() - LAYOUTS.keys() == {"siamese_twin"}
    assert IMAGENET_BACKBONES.keys() == {"resnet50", "resnet101", "resnet152", "vgg16"}
    assert [BACKBONES[name].depth for name in ("resnet34", "resnet101_ibn_a", "se_resnext50")] == [
        34, 101, 50]
