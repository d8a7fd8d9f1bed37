"""Circle, multi-similarity and supervised contrastive loss against loops over pairs."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.losses import LOSSES

LABELS = np.repeat([4, 0, 7], 4)


def _circle(pulls, pushes, held, scale=128.0, margin=0.25):
    """`held` are the cosines that the weights are computed of."""
    if not len(pulls) or not len(pushes):
        return 0.0
    held_pulls, held_pushes = held
    ps = -scale * np.maximum(1 + margin - held_pulls, 0) * (pulls - 1 + margin)
    ns = scale * np.maximum(held_pushes + margin, 0) * (pushes - margin)
    return np.log1p(np.exp(ps).sum() * np.exp(ns).sum())


def _multi_similarity(pulls, pushes, held, positive_scale=2.0, negative_scale=50.0, threshold=0.5,
                      mining_margin=0.1):
    """`held` are the cosines that decide which pairs count."""
    if not len(pulls) or not len(pushes):
        return 0.0
    held_pulls, held_pushes = held
    pulls = pulls[held_pulls < held_pushes.max() + mining_margin]
    pushes = pushes[held_pushes > held_pulls.min() - mining_margin]
    return (np.log1p(np.exp(-positive_scale * (pulls - threshold)).sum()) / positive_scale
            + np.log1p(np.exp(negative_scale * (pushes - threshold)).sum()) / negative_scale)


def _supervised_contrastive(pulls, pushes, held, temperature=0.1):
    del held
    if not len(pulls):
        return 0.0
    everyone = np.exp(np.concatenate([pulls, pushes]) / temperature).sum()
    return -np.mean([np.log(np.exp(one / temperature) / everyone) for one in pulls])


ORACLES = {"circle": _circle, "multi_similarity": _multi_similarity,
           "supervised_contrastive": _supervised_contrastive}
CASES = [
    ("circle", {}),
    ("circle", {"scale": 4.0, "margin": 0.4}),
    ("circle", {"scale": 2.0, "margin": 0.0}),
    ("multi_similarity", {}),
    ("multi_similarity", {"mining_margin": 0.0, "threshold": 1.0}),
    ("multi_similarity", {"mining_margin": 2.0, "positive_scale": 5.0, "negative_scale": 7.0}),
    ("supervised_contrastive", {}),
    ("supervised_contrastive", {"temperature": 2.0}),
]


def some_features(dtype=np.float32, seed=0):
    # A common direction, so that cosines lie on both sides of every boundary.
    features = np.random.default_rng(seed).normal(size=(12, 4)) + 0.7
    return (features * np.geomspace(0.1, 10, 12)[:, np.newaxis]).astype(dtype)


def loops(name, features, labels, held=None, **settings):
    """The loss of each anchor, pair by pair; `held` replaces the features of what is constant."""
    losses = []
    for i, label in enumerate(labels):
        pairs = []
        for rows in (features, features if held is None else held):
            rows = np.float64(rows)
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            others = [(rows[i] @ rows[j], labels[j] == label)
                      for j in range(len(labels)) if j != i]
            pairs.append([np.array([cosine for cosine, same in others if same == kind])
                          for kind in (True, False)])
        losses.append(ORACLES[name](*pairs[0], pairs[1], **settings))
    return np.array(losses)


def values(name, features, labels, settings, **candidates):
    return LOSSES[name](**settings, reduction="none").call(labels, features, **candidates)


def gradient(name, features, labels, **settings):
    variable = tf.Variable(features)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(values(name, variable, labels, settings))
    return tape.gradient(total, variable).numpy()


@pytest.mark.parametrize(("name", "settings"), CASES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("compiled", [False, True])
def test_matches_loops(name, settings, dtype, compiled):
    def function(features, labels):
        return values(name, features, labels, settings)

    losses = (tf.function(function) if compiled else function)(some_features(dtype), LABELS)
    assert losses.dtype == tf.float32
    expected = loops(name, some_features(dtype), LABELS, **settings)
    assert np.ptp(expected) > 0.05
    np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ORACLES)
def test_compiles_with_xla(name):
    losses = tf.function(lambda x: values(name, x, LABELS, {}), jit_compile=True)(some_features())
    np.testing.assert_allclose(losses, loops(name, some_features(), LABELS), rtol=1e-5)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_gradient_matches_loops(name, settings):
    rows, step = np.float64(some_features()), 1e-6
    expected = np.zeros_like(rows)
    for index in np.ndindex(rows.shape):
        above, below = rows.copy(), rows.copy()
        above[index] += step
        below[index] -= step
        expected[index] = (loops(name, above, LABELS, held=rows, **settings).sum()
                           - loops(name, below, LABELS, held=rows, **settings).sum())
    expected /= 2 * step
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(gradient(name, some_features(), LABELS, **settings), expected,
                               rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def on_circle(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_by_hand():
    # At 0, 60 | 90 degrees: the anchor at 0 has a positive of cosine 0.5 and a negative of 0.
    features, labels = 3 * on_circle(0, 60, 90), [1, 1, 2]
    # -16 (1.25 - 0.5)(0.5 - 0.75) = 3, 16 (0 + 0.25)(0 - 0.25) = -1.
    circle = values("circle", features, labels, {"scale": 16.0, "margin": 0.25})
    assert float(circle[0]) == pytest.approx(np.log1p(np.exp(2)), rel=1e-5)
    contrast = values("supervised_contrastive", features, labels, {"temperature": 0.5})
    assert float(contrast[0]) == pytest.approx(np.log(np.e + 1) - 1, rel=1e-5)
    # The negative is easy by 0.5; the anchor at 60 has one of cos 30, harder than its positive.
    settings = {"positive_scale": 2.0, "negative_scale": 4.0, "threshold": 0.5}
    similar = values("multi_similarity", features, labels, {**settings, "mining_margin": 0.4})
    assert float(similar[0]) == 0.0
    hard = 0.5 * np.log1p(1.0) + 0.25 * np.log1p(np.exp(4 * (np.sqrt(3) / 2 - 0.5)))
    assert float(similar[1]) == pytest.approx(hard, rel=1e-5)
    similar = values("multi_similarity", features, labels, {**settings, "mining_margin": 0.6})
    assert float(similar[0]) == pytest.approx(
        0.5 * np.log(2) + 0.25 * np.log1p(np.exp(-2)), rel=1e-5)


def test_a_perfect_and_a_hopeless_batch():
    apart = on_circle(0, 0, 180, 180)
    assert np.max(values("circle", apart, [0, 0, 1, 1], {})) < 1e-3
    assert np.max(values("multi_similarity", apart, [0, 0, 1, 1], {})) == 0
    assert np.max(values("supervised_contrastive", apart, [0, 0, 1, 1], {})) < 1e-6
    same = np.ones((4, 3), np.float32)
    np.testing.assert_allclose(values("supervised_contrastive", same, [0, 0, 1, 1], {}), np.log(3),
                               rtol=1e-5)
    for name in ORACLES:
        np.testing.assert_allclose(gradient(name, same, [0, 0, 1, 1]), 0, atol=1e-4)


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [5, 5, 5, 5], [0, 0, 1, 2]])
def test_anchors_without_positives_or_negatives(name, labels):
    features = on_circle(0, 50, 80, 120)
    expected = loops(name, features, labels)
    np.testing.assert_allclose(values(name, features, labels, {}), expected, rtol=1e-4, atol=1e-5)
    slopes = gradient(name, features, labels)
    assert np.isfinite(slopes).all()
    np.testing.assert_array_equal(values(name, features[:1], [0], {}), [0])


@pytest.mark.parametrize("name", ORACLES)
def test_a_vector_of_zeros_leaves_everything_finite_and_nan_shows(name):
    features = some_features()
    features[0] = 0.0
    assert np.isfinite(values(name, features, LABELS, {})).all()
    assert np.isfinite(gradient(name, features, LABELS)).all()
    features[0] = np.nan
    assert np.isnan(values(name, features, LABELS, {})[0])


@pytest.mark.parametrize(("name", "settings"), [
    ("circle", {"scale": 1e6}),
    ("multi_similarity", {"positive_scale": 1e6, "negative_scale": 1e6}),
    ("supervised_contrastive", {"temperature": 1e-6}),
])
def test_extreme_settings_do_not_overflow(name, settings):
    losses = values(name, some_features(), LABELS, settings)
    assert np.isfinite(losses).all() and np.max(losses) > 0.1
    assert np.isfinite(gradient(name, some_features(), LABELS, **settings)).all()


@pytest.mark.parametrize("name", ORACLES)
def test_candidates_are_the_images_of_all_replicas(name):
    features = some_features()
    whole = values(name, features, LABELS, {})
    parts = [values(name, features[at:at + 4], LABELS[at:at + 4], {}, candidates=features,
                    candidate_labels=LABELS, anchor_offset=at) for at in (0, 4, 8)]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-5)
    with pytest.raises(ValueError, match="candidate_labels=None"):
        values(name, features, LABELS, {}, candidates=features)


@pytest.mark.parametrize("name", ORACLES)
def test_float32_inside_mixed_precision(name):
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        loss = LOSSES[name]()(LABELS, tf.constant(some_features(np.float16)))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert loss.dtype == tf.float32
    expected = loops(name, some_features(np.float16), LABELS).mean()
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("name", "setting", "value"), [
    ("circle", "scale", 0.0), ("circle", "margin", 1.5),
    ("multi_similarity", "positive_scale", -1.0), ("multi_similarity", "negative_scale", 0.0),
    ("multi_similarity", "threshold", 1.5), ("multi_similarity", "mining_margin", -0.1),
    ("multi_similarity", "mining_margin", float("inf")),
    ("supervised_contrastive", "temperature", 0.0),
])
def test_settings_out_of_range(name, setting, value):
    with pytest.raises(ValueError, match=f"{setting}={value}"):
        LOSSES[name](**{setting: value})
