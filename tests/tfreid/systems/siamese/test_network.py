"""The Siamese network: twins share their weights, the merge network against NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.config import Config, ModelConfig
from tfreid.systems.siamese.export import ServedSiamese
from tfreid.systems.siamese.network import MERGE_LAYERS, build_siamese, siamese_parts
from tfreid.systems.siamese.scores import probability_metric
from tfreid.systems.siamese.settings import Settings as SiameseSettings
from tfreid.weights.files import load_weights, save_weights, weight_keys

MERGES = ("absolute", "squared", "cosine")


def make(merge="absolute", backbone="siamese_twin", seed=0, siamese=None, **model):
    return build_siamese(settings(merge, backbone, seed, siamese, **model))


def settings(merge="absolute", backbone="siamese_twin", seed=0, siamese=None, **model):
    keras.utils.set_random_seed(seed)
    return Config(
        system="siamese", siamese=SiameseSettings(merge, **(siamese or {})),
        model=ModelConfig(**{"backbone": backbone, "height": 32, "width": 16, "embedding_size": 6,
                             "pooling": "flatten", "neck": False, "classifier": False, **model}))


def sides(count=5, size=6):
    random = np.random.default_rng(1)
    return [random.normal(size=(count, size)).astype(np.float32) for _ in range(2)]


def merged(merge, first, second):
    if merge == "cosine":
        lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        return (1 - (first * second).sum(axis=1) / lengths)[:, None]
    return (first - second) ** 2 if merge == "squared" else np.abs(first - second)


@pytest.mark.parametrize("merge", MERGES)
def test_the_merge_network_against_numpy(merge):
    model = make(merge)
    compare = siamese_parts(model).compare
    kernel, bias = (np.random.default_rng(2).normal(size=weight.shape)
                    for weight in compare.get_layer("verdict").get_weights())
    compare.get_layer("verdict").set_weights([kernel, bias])
    first, second = sides()
    found = compare({"first": first, "second": second})
    kernel, bias = 10 * kernel, 10 * bias  # `siamese.merge_rate`
    expected = (merged(merge, first, second) @ kernel)[:, 0] + bias
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    # It does not matter which image comes first.
    np.testing.assert_allclose(compare({"first": second, "second": first}), found, rtol=1e-6)
    metric = probability_metric(model)
    distances = metric.between(metric.prepare(first), metric.prepare(second))
    np.testing.assert_allclose(10 * np.diagonal(distances), bias - expected, rtol=1e-4, atol=1e-4)


def test_the_merge_networks_rate_and_hidden_layer():
    plain, fast = (make(siamese={"merge_rate": rate}) for rate in (1.0, 10.0))
    first, second = sides()
    # The rate changes no initial output.
    np.testing.assert_allclose(*(siamese_parts(model).compare({"first": first, "second": second})
                                 for model in (plain, fast)), rtol=1e-5)
    compare = siamese_parts(make(siamese={"merge_rate": 1.0, "hidden_size": 3})).compare
    hidden, verdict = (compare.get_layer(name).get_weights() for name in MERGE_LAYERS)
    expected = np.maximum(np.abs(first - second) @ hidden[0] + hidden[1], 0) @ verdict[0]
    np.testing.assert_allclose(compare({"first": first, "second": second}), expected[:, 0],
                               rtol=1e-5)
    with pytest.raises(UserError, match="cannot rank with siamese.hidden_size"):
        probability_metric(make(siamese={"hidden_size": 3}))


def test_an_export_serves_the_terms_of_the_contrastive_loss():
    config = settings()
    config.loss.contrastive.margin = 4.0
    served = ServedSiamese(build_siamese(config), config, {})
    first, second = sides()
    found = served.compare({"descriptor": first}, {"descriptor": second})
    probability, distance = found["probability"].numpy(), np.linalg.norm(first - second, axis=1)
    assert distance.min() < 4 < distance.max() and probability.min() > 0.01
    np.testing.assert_allclose(found["similarity_term"], probability * distance ** 2, rtol=1e-4)
    np.testing.assert_allclose(found["dissimilarity_term"], (1 - probability)
                               * np.maximum(4 - distance, 0) ** 2, rtol=1e-4, atol=1e-6)


def test_every_image_is_embedded_once_by_shared_weights():
    model = make()
    images = np.random.default_rng(3).integers(0, 256, (3, 40, 20, 3)).astype(np.float32)
    outputs = model({"images": images, "first": np.int32([0, 2, 1, 1]),
                     "second": np.int32([1, 0, 1, 2])})
    parts = siamese_parts(model)
    alone = np.concatenate([parts.embed(image[None])["embedding"] for image in images])
    np.testing.assert_allclose(outputs["embedding"], alone, rtol=1e-4, atol=1e-5)
    expected = parts.compare({"first": alone[[0, 2, 1, 1]], "second": alone[[1, 0, 1, 2]]})
    np.testing.assert_allclose(outputs["logits"], expected, rtol=1e-4, atol=1e-5)
    bias = parts.compare.get_layer("verdict").bias
    bias.assign([0.25])
    alike = parts.compare({"first": alone[:1], "second": alone[:1]})
    assert float(alike[0]) == pytest.approx(2.5)  # an image with itself


@pytest.mark.parametrize("backbone", ["resnet34", "vgg16"])
def test_other_backbones_take_the_twins_place(backbone):
    model = make(backbone=backbone, pooling="average", dropout=0.2, height=64, width=32)
    embed = siamese_parts(model).embed
    assert [layer.name for layer in embed.layers if "dropout" in layer.name] == ["dropout"]
    outputs = model({"images": np.zeros((2, 64, 32, 3), np.float32), "first": np.int32([0]),
                     "second": np.int32([1])})
    assert outputs["embedding"].shape == (2, 6) and outputs["logits"].shape == (1,)
    assert tf.reduce_all(tf.math.is_finite(outputs["embedding"]))


def test_weights_are_saved_and_keys_are_plain(tmp_path):
    model, other = make(seed=0), make(seed=1)
    save_weights(model, str(tmp_path / "twin.weights.h5"))
    load_weights(other, str(tmp_path / "twin.weights.h5"))
    for key, weight in weight_keys(model).items():
        np.testing.assert_array_equal(weight_keys(other)[key], weight)
    assert {"block1_conv/kernel", "fc/kernel", "verdict/kernel"} <= weight_keys(model).keys()
