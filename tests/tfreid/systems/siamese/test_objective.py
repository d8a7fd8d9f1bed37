"""The Siamese objective: losses of a batch by hand, who learns from what, refusals."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.config import (
    Config,
    ContrastiveLossConfig,
    LossConfig,
    MatchLossConfig,
    ModelConfig,
    TripletLossConfig,
)
from tfreid.losses.triplet import triplet_terms
from tfreid.systems.siamese.network import build_siamese, siamese_parts
from tfreid.systems.siamese.objective import SiameseObjective, check_siamese_losses
from tfreid.systems.siamese.settings import Settings as SiameseSettings

MODEL = ModelConfig(backbone="siamese_twin", height=32, width=16, embedding_size=4,
                    pooling="flatten", neck=False, classifier=False)
LABELS = np.int32([0, 1, 0, 2])
FIRST, SECOND, MATCHES = np.int32([0, 1, 3]), np.int32([2, 0, 2]), np.int32([1, 0, 0])


def configure(name, weight=1.0, match_weight=1.0):
    loss = LossConfig(triplet=TripletLossConfig(margin=0.5), match=MatchLossConfig(match_weight),
                      contrastive=ContrastiveLossConfig(weight, scale="mean"))
    return Config(system="siamese", model=MODEL, loss=loss, siamese=SiameseSettings(loss=name))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return build_siamese(configure("contrastive"))


@pytest.fixture(scope="module")
def batch():
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 16, 3)).astype(np.uint8)
    return tuple(map(tf.constant, (images, FIRST, SECOND, MATCHES, LABELS)))


@pytest.mark.parametrize("name", ["contrastive", "verification", "combined", "triplet"])
def test_losses_and_statistics_by_hand(model, batch, name):
    objective = SiameseObjective(configure(name, weight=2.0))
    loss, scalars, outputs = objective.forward(model, batch)
    scalars = {key: float(value) for key, value in scalars.items()}
    embedding = outputs["embedding"].numpy().astype(np.float64)
    distances = np.linalg.norm(embedding[FIRST] - embedding[SECOND], axis=1)
    np.testing.assert_allclose(outputs["distance"], distances, rtol=1e-5)
    logits = outputs["logits"].numpy().astype(np.float64)
    expected = {"verification": np.mean(np.logaddexp(0, np.where(MATCHES, -logits, logits)))}
    if name in ("contrastive", "combined"):
        pulls = np.where(MATCHES, distances**2, np.maximum(1 - distances, 0) ** 2).mean()
        expected["contrastive"] = pulls * (2 if name == "combined" else 1)
    if name == "triplet":
        sums, counts = triplet_terms(outputs["embedding"], LABELS, 0.5)
        assert counts.numpy().tolist() == [1, 0, 1, 0]  # who has a positive and a negative
        expected["triplet"] = sums.numpy().sum() / 2
    for key, value in expected.items():
        assert scalars[f"loss/{key}"] == pytest.approx(value, rel=1e-5)
    assert float(loss) == scalars["loss/total"] == pytest.approx(sum(expected.values()), rel=1e-5)
    right = (logits >= 0) == (MATCHES == 1)
    assert scalars["accuracy/pairs"] == pytest.approx(right.mean())
    assert scalars["distance/matching"] == pytest.approx(distances[0], rel=1e-5)
    assert scalars["distance/non_matching"] == pytest.approx(distances[1:].mean(), rel=1e-5)


@pytest.mark.parametrize("name", ["contrastive", "verification", "combined", "triplet"])
def test_the_merge_network_teaches_the_twins_only_where_its_loss_was_asked_for(model, batch, name):
    parts = siamese_parts(model)
    weights = [parts.compare.get_layer("verdict").kernel, parts.embed.get_layer("fc").kernel]
    objective = SiameseObjective(configure(name))
    with tf.GradientTape(persistent=True) as tape:
        loss, _, outputs = objective.forward(model, batch)
        logits = tf.reduce_sum(outputs["logits"])
    for gradient in tape.gradient(loss, weights):
        assert np.abs(gradient).max() > 0
    through_merge = tape.gradient(logits, weights[1])
    assert (through_merge is not None) == (name in ("verification", "combined"))


def test_pairs_are_drawn_for_tensorboard(model, batch):
    objective = SiameseObjective(configure("contrastive"))
    _, _, outputs = objective.forward(model, batch)
    shown = {}

    class Recorder:
        def images(self, tag, images, step, columns):
            shown[tag] = (images, step, columns)

    objective.summarize(Recorder(), objective.watched(outputs, batch), 7)
    images, step, _ = shown["pairs"]
    assert step == 7 and len(images) == 3 and images.dtype == np.uint8
    frames = [tuple(image[0, 0]) for image in images]
    assert frames[0] != frames[1] == frames[2]  # one person, two, two
    # Seldom, or they would fill the disk.
    for step in (8, 506, 507):
        shown.clear()
        objective.summarize(Recorder(), objective.watched(outputs, batch), step)
        assert bool(shown) == (step == 507)


@pytest.mark.parametrize(("config", "words"), [
    (configure(None), "siamese.loss is not set"),
    (configure("combined", match_weight=0.0), "one has weight 0"),
    (configure("combined", weight=0.0), "one has weight 0"),
])
def test_nothing_to_learn_is_refused(config, words):
    with pytest.raises(UserError, match=words):
        check_siamese_losses(config)
