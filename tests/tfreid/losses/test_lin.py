"""The Lin loss and the ranked list loss against loops over pairs, and by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.losses import LinLoss
from tfreid.losses.lin import lin_terms

LABELS = np.repeat([4, 0, 7], 4)
LIN = {}
RANKED_LIST = {"positive_boundary": 0.8, "negative_boundary": 1.2, "temperature": 10.0,
               "decay": False, "pairs": "active"}
SETTINGS = [
    LIN,
    RANKED_LIST,
    {"temperature": 0.5},
    {"temperature": 5.0},
    {"temperature": 0.0, "decay": False},
    {"positive_boundary": 0.0},
    {"positive_boundary": 1.3, "negative_boundary": 1.5, "pairs": "active"},
]


def lin_loss(features, labels, **settings):
    terms = lin_terms(features, labels, **settings)
    return terms.positive_losses + terms.negative_losses


def some_features(dtype=np.float32, count=12):
    # A common direction, so that distances lie on both sides of every boundary.
    return (np.random.default_rng(0).normal(size=(count, 4)) + 0.7).astype(dtype)


def loops(features, labels, positive_boundary=0.7, negative_boundary=2.0, temperature=1.0,
          decay=True, pairs="all", weights=None):
    """Lin of each query, pair by pair; `weights` replaces those of Eq. 3 where given."""
    rows = np.float64(features)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    losses, used = [], {}
    for i, label in enumerate(labels):
        pulls, pushes, importances = [], [], []
        for j, other in enumerate(labels):
            if i == j:
                continue
            d = np.sqrt(np.sum((rows[i] - rows[j]) ** 2))
            if label == other:
                if pairs == "all" or d > positive_boundary:
                    pulls.append(max(0.0, d - positive_boundary))
            elif pairs == "all" or d < negative_boundary:
                w = np.exp(temperature * (negative_boundary - d)) * (np.exp(-d) if decay else 1.0)
                used[i, j] = w
                importances.append(w if weights is None else weights[i, j])
                pushes.append(max(0.0, negative_boundary - d))
        loss = sum(pulls) / len(pulls) if pulls else 0.0
        if importances:
            loss += np.dot(importances, pushes) / sum(importances)
        losses.append(loss)
    return np.array(losses), used


def numeric_gradient(features, labels, settings, step=1e-6, held=True):
    """Central differences of the sum over queries, the weights held where they are or not."""
    rows = np.float64(features)
    weights = loops(rows, labels, **settings)[1] if held else None
    gradient = np.zeros_like(rows)
    for index in np.ndindex(rows.shape):
        above, below = rows.copy(), rows.copy()
        above[index] += step
        below[index] -= step
        gradient[index] = (loops(above, labels, weights=weights, **settings)[0].sum()
                           - loops(below, labels, weights=weights, **settings)[0].sum())
    return gradient / (2 * step)


def gradient(features, labels, **settings):
    variable = tf.Variable(features)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(lin_loss(variable, labels, **settings))
    return tf.convert_to_tensor(tape.gradient(total, variable)).numpy()


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("compiled", [False, True])
def test_matches_loops(settings, dtype, compiled):
    function = tf.function(lin_loss) if compiled else lin_loss
    losses = function(some_features(dtype), LABELS, **settings)
    assert losses.dtype == tf.float32
    expected = loops(some_features(dtype), LABELS, **settings)[0]
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(losses, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("settings", [LIN, RANKED_LIST])
def test_compiles_with_xla(settings):
    losses = tf.function(lin_loss, jit_compile=True)(some_features(), LABELS, **settings)
    expected = loops(some_features(), LABELS, **settings)[0]
    np.testing.assert_allclose(losses, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("settings", SETTINGS)
def test_gradient_matches_loops(settings):
    expected = numeric_gradient(some_features(), LABELS, settings)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(gradient(some_features(), LABELS, **settings), expected, atol=1e-5)


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_gradient_can_go_through_the_weights(settings):
    expected = numeric_gradient(some_features(), LABELS, settings, held=False)
    through = gradient(some_features(), LABELS, **settings, weight_gradient=True)
    np.testing.assert_allclose(through, expected, atol=1e-5)
    held = gradient(some_features(), LABELS, **settings)
    assert (settings.get("temperature") == 0.0) == np.allclose(held, expected, atol=1e-2)


def test_at_temperature_1_alone_the_published_code_has_nearly_the_gradient_of_the_paper():
    # Without exp(-d), and through the weights: w (1 + T (mean - d)) ~ exp(-2 T d), against
    # exp(-(T + 1) d).
    features, labels = np.random.default_rng(0).normal(size=(64, 16)), np.repeat(range(16), 4)
    cosines = {}
    for temperature in (1.0, 5.0):
        ours, theirs = (gradient(features.astype(np.float32), labels, temperature=temperature,
                                 decay=not code, weight_gradient=code) for code in (False, True))
        cosines[temperature] = np.sum(ours * theirs) / (
            np.linalg.norm(ours) * np.linalg.norm(theirs))
    assert cosines[1.0] > 0.9999
    assert 0.95 < cosines[5.0] < 0.97


def on_circle(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_by_hand():
    # At 0, 60, 180 and 240 degrees chords are 1 (60), sqrt 3 (120) and 2 (180). Identity 0 is at 0
    # and 60. Lp = 1 - 0.7 everywhere. The query at 0 has negatives at 2 and sqrt 3, with weights
    # exp(-2 d); only the second costs, 2 - sqrt 3. The others follow by symmetry.
    features, labels = on_circle(0, 60, 180, 240), [0, 0, 1, 1]
    near, far = np.exp(-2 * np.sqrt(3)), np.exp(-4.0)
    expected = 0.3 + near * (2 - np.sqrt(3)) / (near + far)
    np.testing.assert_allclose(lin_loss(features, labels), np.full(4, expected), atol=1e-5)


def test_identical_features():
    features = np.ones((4, 3), np.float32)
    np.testing.assert_allclose(lin_loss(features, [0, 0, 1, 1]), np.full(4, 2.0), atol=1e-6)
    np.testing.assert_array_equal(gradient(features, [0, 0, 1, 1]), np.zeros((4, 3)))


def test_equal_distances_weigh_equally():
    corners = np.eye(4, dtype=np.float32)  # every two are sqrt 2 apart
    for temperature in (0.0, 1.0, 50.0):
        losses = lin_loss(corners, [0, 0, 1, 1], temperature=temperature)
        expected = (np.sqrt(2) - 0.7) + (2 - np.sqrt(2))
        np.testing.assert_allclose(losses, np.full(4, expected), atol=1e-5)


def test_temperature_zero_without_decay_is_the_plain_mean():
    features = on_circle(0, 60, 180)
    losses = lin_loss(features, [0, 1, 2], temperature=0.0, decay=False)
    costs = {60: 1.0, 120: 2 - np.sqrt(3), 180: 0.0}
    expected = [(costs[60] + costs[180]) / 2, (costs[60] + costs[120]) / 2,
                (costs[180] + costs[120]) / 2]
    np.testing.assert_allclose(losses, expected, atol=1e-5)


def test_a_single_negative_has_weight_one():
    features = on_circle(0, 20, 60)
    losses = lin_loss(features, [0, 0, 1], temperature=5.0)
    chords = 2 * np.sin(np.radians([60, 40]) / 2)
    np.testing.assert_allclose(losses[:2], 2 - chords, atol=1e-5)


def test_opposite_negatives_cost_nothing():
    features = on_circle(0, 0, 180, 180)
    terms = lin_terms(features, [0, 0, 1, 1])
    np.testing.assert_allclose(terms.negative_losses, np.zeros(4), atol=1e-6)
    np.testing.assert_array_equal(terms.positive_losses, np.zeros(4))
    assert np.isfinite(gradient(features, [0, 0, 1, 1])).all()


def test_queries_without_positives_or_negatives():
    features = on_circle(0, 60, 120)
    alone = lin_terms(features, [0, 1, 2])
    np.testing.assert_array_equal(alone.positive_losses, np.zeros(3))
    assert np.all(alone.negative_losses.numpy() > 0.2)
    together = lin_terms(features, [5, 5, 5])
    np.testing.assert_array_equal(together.negative_losses, np.zeros(3))
    np.testing.assert_allclose(together.positive_losses[1], 0.3, atol=1e-5)
    for labels in ([0, 1, 2], [5, 5, 5]):
        for pairs in ("all", "active"):
            assert np.isfinite(gradient(features, labels, pairs=pairs)).all()
    np.testing.assert_array_equal(lin_loss(features[:1], [0]), [0.0])


def test_a_vector_of_zeros_leaves_everything_finite():
    features = some_features()
    features[0] = 0.0
    assert np.isfinite(lin_loss(features, LABELS)).all()
    assert np.isfinite(gradient(features, LABELS)).all()


def test_extreme_temperatures_do_not_overflow():
    features = some_features()
    losses = lin_loss(features, LABELS, temperature=1e6, positive_boundary=2.0)
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    nearest = np.where(LABELS[:, None] != LABELS, distances, 9).min(axis=1)
    np.testing.assert_allclose(losses, 2 - nearest, atol=1e-5)


def test_shares_of_active_pairs():
    # Identity 0 at 0, 30 and 90 degrees, chords 0.518 (30), 1 (60) and sqrt 2 (90); the negative
    # at 180 has chords 2, 1.932 and sqrt 2.
    terms = lin_terms(on_circle(0, 30, 90, 180), [0, 0, 0, 1], negative_boundary=1.5)
    np.testing.assert_allclose(terms.active_positives, [1 / 2, 1 / 2, 1, 0])
    np.testing.assert_allclose(terms.active_negatives, [0, 0, 1, 1 / 3])


def test_candidates_rank_the_images_of_all_replicas():
    features = some_features()
    whole = lin_loss(features, LABELS)
    parts = [lin_loss(features[at:at + 4], LABELS[at:at + 4], candidates=features,
                      candidate_labels=LABELS, anchor_offset=at) for at in (0, 4, 8)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)
    with pytest.raises(ValueError, match="candidate_labels=None"):
        lin_loss(features, LABELS, candidates=features)


def test_the_class_averages_over_the_queries_and_keeps_its_settings():
    features = some_features()
    loss = LinLoss(**RANKED_LIST)
    expected = loops(features, LABELS, **RANKED_LIST)[0]
    np.testing.assert_allclose(loss(LABELS[:, None], features), expected.mean(), rtol=1e-5)
    total = LinLoss(**RANKED_LIST, reduction="sum")
    np.testing.assert_allclose(total(LABELS, features), expected.sum(), rtol=1e-5)
    again = LinLoss.from_config(total.get_config())
    assert again.get_config() == total.get_config()
    np.testing.assert_allclose(again(LABELS, features), expected.sum(), rtol=1e-5)


def test_float32_inside_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        losses = lin_loss(some_features(np.float16), LABELS)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert losses.dtype == tf.float32


@pytest.mark.parametrize(("setting", "value"), [
    ("positive_boundary", -0.1), ("negative_boundary", float("inf")), ("temperature", -1.0),
    ("pairs", "hard"),
])
def test_settings_out_of_range(setting, value):
    with pytest.raises(ValueError, match=f"{setting}=.*{value}"):
        lin_loss(some_features(), LABELS, **{setting: value})
    with pytest.raises(ValueError, match=setting):
        LinLoss(**{setting: value})
