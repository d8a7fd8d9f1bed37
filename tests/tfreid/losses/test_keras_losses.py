"""Every loss as Keras uses it: values per row, configurations, and saved models."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.losses import LOSSES
from tfreid.losses.base import FunctionLoss
from tfreid.losses.center import center_loss
from tfreid.losses.circle import circle_logits, circle_loss
from tfreid.losses.classification import label_smoothed_softmax
from tfreid.losses.contrastive import contrastive_from_distance
from tfreid.losses.lin import lin_terms
from tfreid.losses.margin_softmax import arcface_logits, cosface_logits
from tfreid.losses.multi_similarity import multi_similarity_loss
from tfreid.losses.supervised_contrastive import supervised_contrastive_loss
from tfreid.losses.triplet import triplet_terms
from tfreid.losses.triplet_ranking import triplet_ranking
from tfreid.losses.verification import pair_softmax, verification_loss

LABELS = np.array([0, 0, 1, 1])
CENTERS = np.random.default_rng(1).normal(size=(2, 3)).astype(np.float32)
# Of each loss: settings that are not the defaults, the shape of a prediction, the pure function.
CASES = {
    "id": ({"smoothing": 0.2}, (3,), lambda y, x: label_smoothed_softmax(x, y, 0.2)),
    **{name: ({"scale": 5.0, "margin": 0.2, "smoothing": 0.1}, (3,),
              lambda y, x, logits=logits: label_smoothed_softmax(logits(x, y, 5.0, 0.2), y, 0.1))
       for name, logits in (("arcface", arcface_logits), ("cosface", cosface_logits),
                            ("circle_classifier", circle_logits))},
    "circle": ({"scale": 5.0, "margin": 0.2}, (3,), lambda y, x: circle_loss(x, y, 5.0, 0.2)),
    "multi_similarity": ({"positive_scale": 3.0, "negative_scale": 20.0, "threshold": 0.4,
                          "mining_margin": 0.3},
                         (3,), lambda y, x: multi_similarity_loss(x, y, 3.0, 20.0, 0.4, 0.3)),
    "supervised_contrastive": ({"temperature": 0.5}, (3,),
                               lambda y, x: supervised_contrastive_loss(x, y, 0.5)),
    "triplet": ({"mining": "batch_hard", "margin": "soft", "normalize": True, "average": "valid"},
                (3,), lambda y, x: triplet_terms(x, y, "soft", normalize=True)[0]),
    "lin": ({"positive_boundary": 0.1, "negative_boundary": 1.9, "temperature": 2.0,
             "decay": False, "pairs": "active", "weight_gradient": True},
            (3,), lambda y, x: sum(lin_terms(x, y, positive_boundary=0.1, negative_boundary=1.9,
                                             temperature=2.0, decay=False, pairs="active")[:2])),
    "center": ({"variant": "wen"}, (3,), lambda y, x: center_loss(x, y, CENTERS, "wen")),
    "contrastive": ({"margin": 0.5, "scale": "mean"}, (1,),
                    lambda y, x: contrastive_from_distance(x, y, 0.5, "mean")),
    "match": ({}, (2,), lambda y, x: pair_softmax(x, y)),
    "verification": ({}, (1,), lambda y, x: verification_loss(x, y)),
    "triplet_ranking": ({"margin": 0.3}, (3, 2),
                        lambda y, x: triplet_ranking(*tf.unstack(x, axis=1), 0.3)),
}


def build(kind, **arguments):
    loss = LOSSES[kind](**CASES[kind][0], **arguments)
    if kind == "center":
        loss.centers = CENTERS
    return loss


def predictions(name):
    shape = (len(LABELS), *CASES[name][1])
    return np.abs(np.random.default_rng(0).normal(size=shape)).astype(np.float32)


def test_every_loss_is_here():
    assert CASES.keys() == LOSSES.keys()


@pytest.mark.parametrize("name", CASES)
def test_without_reduction_it_is_the_pure_function(name):
    values = predictions(name)
    expected = np.asarray(CASES[name][2](LABELS, values))
    assert expected.shape == (4,) and np.ptp(expected) > 0
    for labels in (LABELS, LABELS[:, np.newaxis]):
        np.testing.assert_allclose(build(name, reduction="none")(labels, values), expected,
                                   rtol=1e-6)
    for reduction, reduce in (("sum", np.sum), ("sum_over_batch_size", np.mean)):
        np.testing.assert_allclose(build(name, reduction=reduction)(LABELS, values),
                                   reduce(expected), rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_values_per_row_in_a_replica_context(name):
    loss, values = build(name, reduction="none"), predictions(name)
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    found = strategy.run(tf.function(lambda: loss(tf.constant(LABELS), tf.constant(values))))
    np.testing.assert_allclose(found, CASES[name][2](LABELS, values), rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_the_configuration_names_every_setting(name):
    loss = build(name, reduction="none", name="mine")
    config = loss.get_config()
    assert config == {**CASES[name][0], "reduction": "none", "name": "mine"}
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(copy) is LOSSES[name] and copy.get_config() == config


@pytest.mark.parametrize("name", CASES)
def test_a_compiled_model_is_saved_and_loaded_with_its_loss(name, tmp_path):
    values = predictions(name)
    inputs = keras.Input(values.shape[1:])
    model = keras.Model(inputs, keras.layers.Dense(values.shape[-1])(inputs))
    model.compile(optimizer="sgd", loss=build(name))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.loss) is LOSSES[name]
    assert loaded.loss.get_config() == model.loss.get_config()
    if name == "center":
        loaded.loss.centers = CENTERS
    assert loaded.evaluate(values, LABELS, verbose=0) == pytest.approx(
        model.evaluate(values, LABELS, verbose=0), rel=1e-6)


def test_a_loss_is_one_line_of_the_table(monkeypatch):
    """A loss of a file of its own trains a model under its name in the table."""
    class NormLoss(FunctionLoss):
        def __init__(self, length=1.0, reduction="sum_over_batch_size", name="norm"):
            super().__init__(reduction, name, length=length)

        def call(self, y_true, y_pred):
            del y_true
            return tf.abs(tf.norm(y_pred, axis=1) - self.settings["length"])

    monkeypatch.setitem(LOSSES, "norm", NormLoss)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(optimizer=keras.optimizers.SGD(0.05), loss=LOSSES["norm"](length=3.0))
    values = predictions("lin")
    history = model.fit(values, LABELS, epochs=5, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert NormLoss.from_config(model.loss.get_config()).settings == {"length": 3.0}
