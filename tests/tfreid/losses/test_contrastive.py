"""The contrastive loss by hand, against NumPy, and its gradient where distances vanish."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.losses import ContrastiveLoss
from tfreid.losses.contrastive import contrastive_from_distance
from tfreid.losses.distances import paired_euclidean

MATCHES = np.array([1, 0, 0, 1, 0, 1])


@pytest.fixture
def mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    keras.mixed_precision.set_global_policy("float32")


def contrastive_loss(first, second, *settings, **options):
    return contrastive_from_distance(paired_euclidean(first, second), *settings, **options)


def two_sides(dtype=np.float32):
    random = np.random.default_rng(0)
    return [(0.4 * random.normal(size=(6, 3))).astype(dtype) for _ in range(2)]


def expected(first, second, matches, margin, scale):
    losses = []
    for a, b, match in zip(np.float64(first), np.float64(second), matches):
        distance = sum((a - b) ** 2) ** 0.5
        loss = distance**2 if match else max(0.0, margin - distance) ** 2
        losses.append(loss / 2 if scale == "half" else loss)
    return np.array(losses)


def gradients(function, *values):
    variables = [tf.Variable(value) for value in values]
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(function(*variables))
    return [gradient.numpy() for gradient in tape.gradient(total, variables)]


def test_by_hand():
    # Distances 5, 5, 0.6 and 0; a margin of 1. Matches cost d^2, the others (1 - 0.6)^2 or nothing.
    first = np.float32([[0, 0], [0, 0], [0, 0], [1, 1]])
    second = np.float32([[3, 4], [3, 4], [0.6, 0], [1, 1]])
    matches = [1, 0, 0, 0]
    np.testing.assert_allclose(contrastive_loss(first, second, matches), [12.5, 0, 0.08, 0.5],
                               rtol=1e-6)
    np.testing.assert_allclose(contrastive_loss(first, second, matches, scale="mean"),
                               [25, 0, 0.16, 1], rtol=1e-6)
    np.testing.assert_allclose(contrastive_loss(first, second, matches, margin=7.0),
                               [12.5, 2, 20.48, 24.5], rtol=1e-6)


@pytest.mark.parametrize("scale", ["half", "mean"])
@pytest.mark.parametrize("margin", [0.5, 1.0])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("compiled", [False, True])
def test_matches_numpy(scale, margin, dtype, compiled):
    function = tf.function(contrastive_loss) if compiled else contrastive_loss
    first, second = two_sides(dtype)
    losses = function(first, second, MATCHES, margin=margin, scale=scale)
    assert losses.dtype == tf.float32
    wanted = expected(first, second, MATCHES, margin, scale)
    # Both sides of the margin are in the batch.
    assert (wanted[MATCHES == 0] > 0).any()
    np.testing.assert_allclose(losses, wanted, rtol=1e-5, atol=1e-7)


def test_some_pair_lies_beyond_the_margin():
    first, second = two_sides()
    losses = contrastive_loss(first, second, MATCHES, margin=0.5).numpy()
    distances = np.linalg.norm(first - second, axis=1)
    beyond = (MATCHES == 0) & (distances > 0.5)
    assert beyond.any() and (losses[beyond] == 0).all() and (losses[~beyond] > 0).all()


def test_the_mean_is_equation_4():
    first, second = two_sides()
    squared = ((first - second) ** 2).sum(axis=1)
    total = (MATCHES * squared + (1 - MATCHES) * np.maximum(0, 1 - squared**0.5) ** 2).sum()
    np.testing.assert_allclose(tf.reduce_mean(contrastive_loss(first, second, MATCHES)),
                               total / (2 * len(MATCHES)), rtol=1e-5)


@pytest.mark.parametrize("matches", [MATCHES, MATCHES[:, None], MATCHES == 1, np.float32(MATCHES)])
def test_of_distances(matches):
    first, second = two_sides()
    wanted = expected(first, second, MATCHES, 1.0, "half")
    distances = np.linalg.norm(first - second, axis=1)
    for shaped in (distances, distances[:, np.newaxis]):
        losses = contrastive_from_distance(shaped, matches)
        assert losses.shape == (6,)
        np.testing.assert_allclose(losses, wanted, rtol=1e-5)


@pytest.mark.parametrize("scale", ["half", "mean"])
def test_gradient_matches_finite_differences(scale):
    sides = two_sides()
    found = gradients(lambda a, b: contrastive_loss(a, b, MATCHES, 1.0, scale), *sides)
    for side in (0, 1):
        numeric = np.zeros(sides[side].shape)
        for index in np.ndindex(*numeric.shape):
            values = []
            for step in (1e-5, -1e-5):
                moved = [np.float64(one) for one in sides]
                moved[side][index] += step
                values.append(expected(*moved, MATCHES, 1.0, scale).sum())
            numeric[index] = (values[0] - values[1]) / 2e-5
        np.testing.assert_allclose(found[side], numeric, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("match", [0, 1])
def test_gradient_at_distance_zero_is_zero(match):
    rows = np.float32([[1, 2], [0, 0]])
    for gradient in gradients(lambda a, b: contrastive_loss(a, b, [match] * 2), rows, rows):
        np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize(("size", "slope"), [(1e-30, 0), (1e-10, -1), (1e-3, -0.999)])
def test_tiny_distances_have_finite_gradients(size, slope):
    # The square of the first is no float32 and counts as zero; the slope of (1 - d)^2 / 2 is d - 1.
    (found,) = gradients(lambda a: contrastive_loss(a, tf.zeros((1, 2)), [0]),
                         np.float32([[size, 0]]))
    np.testing.assert_allclose(found, [[slope, 0]], rtol=1e-6)


def test_not_a_number_stays_visible():
    losses = contrastive_loss(np.float32([[np.nan]] * 2), np.float32([[0]] * 2), [0, 1])
    assert np.isnan(losses).all()


def test_distances_of_rows():
    first, second = np.float16([[300] * 4, [0, 0, 0, 1]]), np.float16([[-300] * 4, [0, 0, 0, 1]])
    distances = paired_euclidean(first, second)
    assert distances.dtype == tf.float32
    np.testing.assert_allclose(distances, [1200, 0])


@pytest.mark.parametrize("margin", [0, -1.0, float("inf"), float("nan")])
def test_refuses_margins_out_of_range(margin):
    for function in (lambda: contrastive_loss([[0.0]], [[1.0]], [1], margin),
                     lambda: ContrastiveLoss(margin)):
        with pytest.raises(ValueError, match=f"margin={margin}"):
            function()


def test_refuses_unknown_scales():
    for function in (lambda: contrastive_from_distance([1.0], [1], scale="sum"),
                     lambda: ContrastiveLoss(scale="sum")):
        with pytest.raises(ValueError, match="half, mean. Received: scale='sum'"):
            function()


@pytest.mark.parametrize("columns", [False, True])
def test_class_is_the_mean_of_the_function(columns):
    first, second = two_sides()
    distances = np.linalg.norm(first - second, axis=1)
    wanted = expected(first, second, MATCHES, 0.8, "mean")
    if columns:
        distances = distances[:, np.newaxis]
    loss = ContrastiveLoss(0.8, "mean")
    np.testing.assert_allclose(loss(MATCHES, distances), wanted.mean(), rtol=1e-5)
    each = ContrastiveLoss(0.8, "mean", reduction="none")(MATCHES, distances)
    np.testing.assert_allclose(each, wanted, rtol=1e-5)


def test_class_in_a_compiled_model(mixed_precision):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Activation("linear",
                                                                         dtype="float32")])
    model.compile(optimizer="sgd", loss=ContrastiveLoss())
    first, second = two_sides()
    distances = np.linalg.norm(first - second, axis=1, keepdims=True)
    np.testing.assert_allclose(model.evaluate(distances, MATCHES, verbose=0),
                               expected(first, second, MATCHES, 1.0, "half").mean(), rtol=1e-5)


def test_config_rebuilds_the_class():
    config = ContrastiveLoss(0.5, "mean", reduction="sum", name="pairs").get_config()
    assert ContrastiveLoss.from_config(config).get_config() == config
    assert (config["margin"], config["scale"], config["reduction"], config["name"]) == (
        0.5, "mean", "sum", "pairs")
