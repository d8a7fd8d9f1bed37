"""ArcFace, CosFace and class-level circle against NumPy on angles, and what awkward angles do."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.layers import CosineClassifier
from tfreid.losses import LOSSES, ArcFaceLoss
from tfreid.losses.circle import circle_logits
from tfreid.losses.margin_softmax import arcface_logits, cosface_logits

LOGITS = {"arcface": arcface_logits, "cosface": cosface_logits, "circle_classifier": circle_logits}
LABELS = np.array([0, 3, 1, 1, 4, 2])


def on_angles(kind, cosines, labels, scale, margin, weights=None):
    """The logits in float64; `weights` are circle's, computed from others' cosines where given."""
    cosines, logits = np.float64(cosines), []
    weights = cosines if weights is None else np.float64(weights)
    for row, weight, label in zip(cosines, weights, labels):
        if kind == "circle_classifier":
            out = np.maximum(weight + margin, 0) * (row - margin)
            out[label] = max(1 + margin - weight[label], 0) * (row[label] - 1 + margin)
        else:
            out, angle = row.copy(), np.arccos(np.clip(row[label], -1, 1))
            if kind == "cosface":
                out[label] -= margin
            elif angle + margin <= np.pi:
                out[label] = np.cos(angle + margin)
            else:
                out[label] = np.cos(angle) - margin * np.sin(margin)
        logits.append(scale * out)
    return np.array(logits)


def cross_entropies(logits, labels, smoothing=0.0):
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    target = (1 - smoothing) * np.eye(logits.shape[1])[labels] + smoothing / logits.shape[1]
    return -(target * logs).sum(axis=1)


def some_cosines(dtype=np.float32):
    # Own classes at many angles, among them beyond pi - m.
    cosines = np.random.default_rng(0).uniform(-1, 1, size=(6, 5))
    cosines[range(6), LABELS] = [-0.99, -0.9, -0.5, 0.1, 0.7, 0.98]
    return cosines.astype(dtype)


def derivative(values_of, cosines):
    """The derivative of each value by its cosine."""
    variable = tf.Variable(cosines)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(values_of(variable))
    return tape.gradient(total, variable).numpy()


@pytest.mark.parametrize("kind", LOGITS)
@pytest.mark.parametrize(("scale", "margin"), [(64.0, 0.5), (3.0, 0.0), (10.0, 1.0)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("compiled", [False, True])
def test_logits_match_numpy(kind, scale, margin, dtype, compiled):
    function = tf.function(LOGITS[kind]) if compiled else LOGITS[kind]
    cosines = some_cosines(dtype)
    logits = function(cosines, LABELS, scale, margin)
    assert logits.dtype == tf.float32
    np.testing.assert_allclose(logits, on_angles(kind, cosines, LABELS, scale, margin),
                               rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("kind", LOGITS)
def test_compiles_with_xla(kind):
    function = tf.function(LOGITS[kind], jit_compile=True)
    np.testing.assert_allclose(function(some_cosines(), LABELS), LOGITS[kind](
        some_cosines(), LABELS), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", LOGITS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_and_gradient_match_numpy(kind, smoothing):
    settings = {"scale": 5.0, "margin": 0.3}
    loss = LOSSES[kind](**settings, smoothing=smoothing, reduction="none")
    cosines, step = np.float64(some_cosines()), 1e-6

    def expected(moved):
        logits = on_angles(kind, moved, LABELS, **settings, weights=cosines)
        return cross_entropies(logits, LABELS, smoothing)

    np.testing.assert_allclose(loss(LABELS, some_cosines()), expected(cosines), rtol=1e-5)
    numeric = np.zeros_like(cosines)
    for index in np.ndindex(cosines.shape):
        shift = np.zeros_like(cosines)
        shift[index] = step
        change = expected(cosines + shift) - expected(cosines - shift)
        numeric[index] = change.sum() / (2 * step)
    assert np.abs(numeric).max() > 1
    np.testing.assert_allclose(derivative(lambda x: loss.call(LABELS, x), some_cosines()), numeric,
                               atol=2e-4)


def test_by_hand():
    # Own class at 60 degrees, another at 90. cos(60 + 30) = 0; 0.5 - 0.35 = 0.15.
    cosines = np.float32([[0.5, 0.0]])
    np.testing.assert_allclose(arcface_logits(cosines, [0], 10, np.pi / 6), [[0, 0]], atol=1e-5)
    np.testing.assert_allclose(cosface_logits(cosines, [0], 10, 0.35), [[1.5, 0]], atol=1e-5)
    # a_p = 1.25 - 0.5, s_p - 0.75 = -0.25; a_n = 0.25, s_n - 0.25 = -0.25.
    np.testing.assert_allclose(circle_logits(cosines, [0], 16, 0.25), [[-3, -1]], atol=1e-5)
    assert float(ArcFaceLoss(10.0, np.pi / 6)([0], cosines)) == pytest.approx(np.log(2), rel=1e-5)


def test_without_a_margin_it_is_the_scaled_softmax():
    for kind in ("arcface", "cosface"):
        loss = LOSSES[kind](scale=8.0, margin=0.0, smoothing=0.2, reduction="none")
        np.testing.assert_allclose(
            loss(LABELS, some_cosines()),
            LOSSES["id"](0.2, reduction="none")(LABELS, 8.0 * some_cosines()), rtol=1e-5)


@pytest.mark.parametrize("margin", [0.1, 0.5, 1.0])
def test_arcface_falls_with_the_angle_from_0_to_pi(margin):
    angles = np.linspace(0, np.pi, 2001)
    cosines = np.cos(angles).astype(np.float32)[:, np.newaxis]
    labels = np.zeros(len(angles), int)
    logits = arcface_logits(cosines, labels, 1.0, margin).numpy()[:, 0]
    # Cosines near 0 and pi are equal in float32.
    assert np.all(np.diff(logits) <= 1e-6) and logits[-1] < -1
    inside = angles < np.pi - margin - 1e-3
    np.testing.assert_allclose(logits[inside], np.cos(angles[inside] + margin), atol=4e-4)
    # The derivative by the cosine is sin(angle + m) / sin(angle), and 1 beyond pi - m.
    slopes = derivative(lambda x: arcface_logits(x, labels, 1.0, margin), cosines)[:, 0]
    assert np.all(slopes >= -1e-5)
    middle = inside & (angles > 0.05)
    np.testing.assert_allclose(
        slopes[middle], np.sin(angles[middle] + margin) / np.sin(angles[middle]), rtol=1e-3,
        atol=1e-3)
    np.testing.assert_array_equal(slopes[angles > np.pi - margin + 1e-3], 1)


@pytest.mark.parametrize("kind", LOGITS)
@pytest.mark.parametrize("cosine", [1.0, -1.0, 1.0 + 1.2e-7, -1.0 - 1.2e-7, 1.0 - 6e-8])
def test_the_ends_and_what_rounding_makes_of_them_stay_finite(kind, cosine):
    cosines = np.float32([[cosine, 0.1]])
    loss = LOSSES[kind](reduction="none")
    assert np.isfinite(loss(np.array([0]), cosines)).all()
    for label in np.array([[0], [1]]):
        slopes = derivative(functools.partial(loss.call, label), cosines)
        assert np.isfinite(slopes).all()
    if kind == "arcface":
        logit = float(arcface_logits(cosines, [0], 1.0, 0.5)[0, 0])
        expected = np.cos(0.5) if cosine > 0 else -1 - 0.5 * np.sin(0.5)
        assert logit == pytest.approx(expected, abs=3e-4)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", LOGITS)
@pytest.mark.parametrize("turn", [1.0, -1.0])
def test_on_and_opposite_to_the_class_under_mixed_precision(policy, kind, turn):
    """Features that are their class's weights, or the opposite, at the lengths that half has."""
    keras.mixed_precision.set_global_policy(policy)
    try:
        classifier = CosineClassifier(3, dtype="float32")
        features = np.random.default_rng(0).normal(size=(3, 7))
        features = turn * features * [[1e-2], [1.0], [100.0]]
        classifier.build((None, 7))
        classifier.kernel.assign(turn * features.T)
        half = tf.cast(features, policy.removeprefix("mixed_"))
        with tf.GradientTape() as tape:
            tape.watch(half)
            cosines = classifier(half)
            loss = tf.reduce_sum(LOSSES[kind](reduction="none").call([0, 1, 2], cosines))
        gradient = tape.gradient(loss, [half, *classifier.trainable_variables])
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert cosines.dtype == loss.dtype == tf.float32
    np.testing.assert_allclose(np.diag(cosines), turn, atol=1e-4)
    assert np.isfinite(float(loss))
    for one in gradient:
        assert np.isfinite(tf.cast(one, tf.float32)).all()


@pytest.mark.parametrize("kind", LOGITS)
def test_nan_and_labels_outside_the_classes_are_loud(kind):
    loss = LOSSES[kind](reduction="none")
    cosines = some_cosines()
    cosines[0, LABELS[0]] = np.nan
    assert np.isnan(loss(LABELS, cosines)[0])
    if not tf.config.list_physical_devices("GPU"):
        with pytest.raises(tf.errors.InvalidArgumentError):
            loss(np.array([0, 1, 2, 3, 4, 5]), some_cosines())


@pytest.mark.parametrize("kind", LOGITS)
@pytest.mark.parametrize(("setting", "value"), [
    ("scale", 0.0), ("scale", float("inf")), ("margin", -0.1), ("margin", 1.1),
    ("margin", float("nan"))])
def test_settings_out_of_range(kind, setting, value):
    with pytest.raises(ValueError, match=f"{setting}={value}"):
        LOGITS[kind](some_cosines(), LABELS, **{setting: value})
    with pytest.raises(ValueError, match=f"{setting}={value}"):
        LOSSES[kind](**{setting: value})
    with pytest.raises(ValueError, match="smoothing=1.0"):
        LOSSES[kind](smoothing=1.0)
