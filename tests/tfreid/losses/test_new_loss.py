"""Adding a loss is a class and a line of the table: recipes can then name it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.config import IdLossConfig, LossConfig, TripletLossConfig
from tfreid.losses import LOSSES
from tfreid.losses.base import FunctionLoss
from tfreid.systems.embedding.objective import EmbeddingObjective, check_losses


@keras.saving.register_keras_serializable(package="tests")
class LengthLoss(FunctionLoss):
    """Squared length of each feature above a limit."""

    def __init__(self, limit=1.0, reduction="sum_over_batch_size", name="length"):
        super().__init__(reduction, name, limit=limit)

    def call(self, y_true, y_pred):
        return tf.nn.relu(tf.reduce_sum(y_pred**2, axis=1) - self.settings["limit"])


def config_of(**others):
    return LossConfig(id=IdLossConfig(weight=0.0), triplet=TripletLossConfig(weight=0.0),
                      others=others)


def test_one_line_adds_a_loss(monkeypatch):
    monkeypatch.setitem(LOSSES, "length", LengthLoss)
    config = config_of(length={"weight": 0.5, "limit": 4.0})
    config.center.weight = 0.0
    check_losses(config)
    features = tf.constant([[1.0, 1.0], [2.0, 2.0], [3.0, 0.0], [0.0, 0.0]])
    outputs = {"embedding": features, "neck": features, "logits": tf.zeros((4, 2))}
    total, scalars = EmbeddingObjective(config, 2, 2)(outputs, tf.constant([0, 0, 1, 1]))
    # Above the limit of 4: 0, 4, 5, 0; their mean, times 0.5.
    assert float(total) == pytest.approx(9 / 4 / 2)
    assert float(scalars["loss/length"]) == pytest.approx(9 / 8)
    assert np.isfinite(float(scalars["loss/total"]))


@pytest.mark.parametrize("others, words", [
    ({"lenght": {}}, "loss.others names lenght, which does not exist"),
    ({"triplet": {"margn": 1.0}}, "loss.others.triplet: .*margn"),
    ({"triplet": {"weight": "much"}}, "loss.others.triplet"),
    ({"center": {}}, "loss.others names center, which loss.center.weight turns on as well"),
    ({"arcface": {}}, "loss.others names arcface, a loss of the classifier"),
])
def test_mistakes_are_one_sentence(others, words):
    with pytest.raises(UserError, match=words):
        check_losses(config_of(**others))
