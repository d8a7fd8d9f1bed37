"""Values and gradients beside those that `tests/golden/record_losses.py` recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfreid.layers import CosineClassifier
from tfreid.losses import LOSSES

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "losses.npz")
# What was recorded with others than the defaults.
SETTINGS = {"arcface": {"scale": 64.0}, "cosface": {"scale": 64.0}}
NAMES = sorted({key.split("/")[0] for key in GOLDEN if "/" in key})


def test_each_of_them_is_recorded():
    assert NAMES == ["arcface", "circle", "circle_classifier", "cosface", "multi_similarity",
                     "supervised_contrastive"]


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients(name):
    embeddings = tf.Variable(GOLDEN["embeddings"])
    classifier = CosineClassifier(5)
    classifier.build(embeddings.shape)
    classifier.kernel.assign(GOLDEN["classes"])
    with tf.GradientTape() as tape:
        seen = classifier(embeddings) if f"{name}/classes" in GOLDEN else embeddings
        loss = LOSSES[name](**SETTINGS.get(name, {}), reduction="none")
        losses = loss.call(GOLDEN["labels"], seen)
        total = tf.reduce_sum(losses)
    gradients = tape.gradient(total, [embeddings, *classifier.trainable_variables])
    expected = GOLDEN[f"{name}/losses"]
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(losses, expected, rtol=1e-6, atol=1e-4)
    for gradient, of in zip(gradients, ("embeddings", "classes")):
        if f"{name}/{of}" in GOLDEN:
            assert np.abs(GOLDEN[f"{name}/{of}"]).max() > 0.1
            np.testing.assert_allclose(gradient, GOLDEN[f"{name}/{of}"], rtol=1e-5, atol=1e-4)
