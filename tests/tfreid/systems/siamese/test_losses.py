"""The losses by name: Eq. 1.1, 1.2 and their sum, against NumPy and against Addons."""

from __future__ import annotations

import numpy as np
import pytest

from tfreid import addons
from tfreid.config import ContrastiveLossConfig, LossConfig, MatchLossConfig
from tfreid.losses.contrastive import contrastive_from_distance
from tfreid.systems.siamese.objective import SiameseLosses

RANDOM = np.random.default_rng(5)
DISTANCES = np.concatenate([[0.0, 1.0], RANDOM.uniform(0, 2, 62)]).astype(np.float32)
LOGITS = RANDOM.normal(0, 3, 64).astype(np.float32)
MATCHES = np.concatenate([[0, 0], RANDOM.integers(0, 2, 62)])
PAPER = LossConfig(contrastive=ContrastiveLossConfig(margin=1.0, scale="mean"))


def contrastive(margin=1.0):
    distances = DISTANCES.astype(np.float64)
    return np.mean(MATCHES * distances**2 + (1 - MATCHES) * np.maximum(margin - distances, 0)**2)


def verification():
    probabilities = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    return -np.mean(MATCHES * np.log(probabilities) + (1 - MATCHES) * np.log(1 - probabilities))


def found(name, config=PAPER):
    losses = SiameseLosses(name, config)(DISTANCES, LOGITS, MATCHES)
    return {key: float(value) for key, value in losses.items()}


def close(expected):
    return pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_each_name_against_numpy():
    both = {"contrastive": close(contrastive()), "verification": close(verification())}
    assert found("combined") == both
    # The merge network learns beside the twins.
    assert found("contrastive") == both
    assert found("verification") == found("triplet") == {"verification": close(verification())}


def test_weights_and_margin_of_the_sum():
    config = LossConfig(match=MatchLossConfig(weight=0.5),
                        contrastive=ContrastiveLossConfig(weight=2.0, margin=1.5, scale="half"))
    assert found("combined", config) == {"contrastive": close(contrastive(1.5)),
                                         "verification": close(0.5 * verification())}
    assert found("contrastive", config)["contrastive"] == close(contrastive(1.5) / 2)
    assert found("verification", config)["verification"] == close(verification())


@pytest.mark.skipif(not addons.available(), reason="TensorFlow Addons is not installed")
@pytest.mark.parametrize("margin", [0.7, 1.0])
def test_eq_1_1_against_addons(margin):
    """Its convention: 1 is a match, the predictions are distances."""
    import tensorflow_addons as tfa

    expected = tfa.losses.contrastive_loss(MATCHES.astype(np.float32), DISTANCES, margin)
    ours = contrastive_from_distance(DISTANCES, MATCHES, margin, "mean")
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6)
    mean = tfa.losses.ContrastiveLoss(margin)(MATCHES.astype(np.float32), DISTANCES)
    assert float(mean) == close(contrastive(margin))
