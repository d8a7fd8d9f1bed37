"""The center loss and its updates against NumPy loops."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.losses import CenterLoss
from tfreid.losses.center import center_loss, center_step, center_terms

LABELS = np.array([2, 0, 2, 5, 2, 0])  # repeated, and classes 1, 3, 4 absent
VARIANTS = ["bag_of_tricks", "wen"]


@pytest.fixture
def mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    keras.mixed_precision.set_global_policy("float32")


def some_batch(dtype=np.float32):
    random = np.random.default_rng(0)
    return (random.normal(size=(6, 4)).astype(dtype),
            random.normal(size=(6, 4)).astype(np.float32))


def center_delta(embeddings, labels, centers, variant="bag_of_tricks", alpha=0.5):
    return center_step(*center_terms(embeddings, labels, centers), variant, alpha)


def updated_centers(embeddings, labels, centers, variant="bag_of_tricks", alpha=0.5):
    return centers - center_delta(embeddings, labels, centers, variant, alpha)


def expected_losses(embeddings, labels, centers, variant):
    losses = []
    for x, label in zip(np.float64(embeddings), labels):
        squared = sum((x - centers[label]) ** 2)
        losses.append(squared / 2 if variant == "wen" else np.clip(squared, 1e-12, 1e12))
    return np.array(losses)


def expected_delta(embeddings, labels, centers, variant, alpha):
    delta = np.zeros(centers.shape)
    for j, center in enumerate(np.float64(centers)):
        own = [center - x for x, label in zip(np.float64(embeddings), labels) if label == j]
        if own and variant == "wen":
            delta[j] = alpha * sum(own) / (1 + len(own))
        elif own:
            delta[j] = alpha * 2 * sum(own) / len(labels)
    return delta


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("compiled", [False, True])
def test_loss_matches_loops(variant, dtype, compiled):
    embeddings, centers = some_batch(dtype)
    function = tf.function(center_loss) if compiled else center_loss
    losses = function(embeddings, LABELS, centers, variant)
    assert losses.dtype == tf.float32
    np.testing.assert_allclose(losses, expected_losses(embeddings, LABELS, centers, variant),
                               rtol=1e-5)


def test_loss_by_hand():
    x, centers = np.float32([[3, 4]]), np.zeros((2, 2), np.float32)
    assert center_loss(x, [1], centers) == 25
    assert center_loss(x, [1], centers, "wen") == 12.5
    np.testing.assert_allclose(center_loss(0 * x, [1], centers), [1e-12])
    np.testing.assert_allclose(center_loss(1e7 * x, [1], centers), [1e12])
    assert center_loss(0 * x, [1], centers, "wen") == 0


@pytest.mark.parametrize("variant, factor", [("bag_of_tricks", 2), ("wen", 1)])
def test_gradient_of_the_embeddings(variant, factor):
    embeddings, centers = some_batch()
    variable = tf.Variable(embeddings)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(center_loss(variable, LABELS, centers, variant))
    np.testing.assert_allclose(tape.gradient(total, variable),
                               factor * (embeddings - centers[LABELS]), rtol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_at_the_center_is_zero(variant):
    _, centers = some_batch()
    variable = tf.Variable(centers[LABELS])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(center_loss(variable, LABELS, centers, variant))
    np.testing.assert_array_equal(tape.gradient(total, variable), np.zeros((6, 4)))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("alpha", [0.5, 1.0])
@pytest.mark.parametrize("compiled", [False, True])
def test_update_matches_loops(variant, alpha, compiled):
    embeddings, centers = some_batch()
    delta = expected_delta(embeddings, LABELS, centers, variant, alpha)
    wrap = tf.function if compiled else (lambda function: function)
    np.testing.assert_allclose(
        wrap(center_delta)(embeddings, LABELS, centers, variant, alpha), delta,
        rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        wrap(updated_centers)(embeddings, LABELS[:, None], centers, variant, alpha),
        centers - delta, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(delta[[1, 3, 4]], 0)


def test_updates_by_hand():
    # Two images of identity 0 at 4 and 8, its center at 0; identity 1 has no image.
    x, centers = np.float32([[4], [8]]), np.float32([[0], [9]])
    # SGD on the mean of (x - c)^2: the gradient is 2/2 * (-4 - 8) = -12, half of it is -6.
    np.testing.assert_allclose(updated_centers(x, [0, 0], centers), [[6], [9]])
    # Wen: (-4 - 8) / (1 + 2) = -4, half of it is -2.
    np.testing.assert_allclose(updated_centers(x, [0, 0], centers, "wen"), [[2], [9]])


def test_bag_of_tricks_update_is_gradient_descent():
    embeddings, centers = some_batch()
    variable = tf.Variable(centers)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(center_loss(embeddings, LABELS, variable))
    gradient = tf.convert_to_tensor(tape.gradient(loss, variable))
    np.testing.assert_allclose(center_delta(embeddings, LABELS, centers, alpha=1.0), gradient,
                               rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_repeated_updates_reach_the_class_means(variant):
    embeddings, centers = some_batch()
    for _ in range(200):
        centers = updated_centers(embeddings, LABELS, centers, variant)
    for label in set(LABELS):
        np.testing.assert_allclose(centers[label], embeddings[label == LABELS].mean(0), rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_summed_terms_of_replicas_equal_one_large_batch(variant):
    embeddings, centers = some_batch()
    first = center_terms(embeddings[:3], LABELS[:3], centers)
    second = center_terms(embeddings[3:], LABELS[3:], centers)
    step = center_step(first[0] + second[0], first[1] + second[1], variant)
    np.testing.assert_allclose(step, expected_delta(embeddings, LABELS, centers, variant, 0.5),
                               rtol=1e-5, atol=1e-6)


def test_half_precision_update_is_computed_in_float32():
    embeddings, centers = some_batch(np.float16)
    delta = center_delta(embeddings, LABELS, centers)
    assert delta.dtype == tf.float32
    np.testing.assert_allclose(
        delta, expected_delta(embeddings, LABELS, centers, "bag_of_tricks", 0.5),
        rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_class_is_the_mean_of_the_function(variant):
    embeddings, centers = some_batch()
    losses = expected_losses(embeddings, LABELS, centers, variant)
    variable = tf.Variable(centers)
    np.testing.assert_allclose(CenterLoss(variable, variant)(LABELS, embeddings), losses.mean(),
                               rtol=1e-5)
    np.testing.assert_allclose(CenterLoss(variable, variant, "sum")(LABELS, embeddings),
                               losses.sum(), rtol=1e-5)


def test_class_follows_its_variable_and_sends_it_no_gradient():
    embeddings, centers = some_batch()
    variable = tf.Variable(0 * centers)
    loss = CenterLoss(variable)
    compiled = tf.function(loss.__call__)
    compiled(LABELS, embeddings)
    variable.assign(centers)
    with tf.GradientTape() as tape:
        value = compiled(LABELS, embeddings)
    np.testing.assert_allclose(
        value, expected_losses(embeddings, LABELS, centers, "bag_of_tricks").mean(), rtol=1e-5)
    assert tape.gradient(value, variable) is None


def test_class_reads_a_keras_weight():
    embeddings, centers = some_batch()
    layer = keras.layers.Layer()
    weight = layer.add_weight(name="centers", shape=centers.shape, initializer="zeros",
                              trainable=False)
    weight.assign(centers)
    np.testing.assert_allclose(
        CenterLoss(weight)(LABELS, embeddings),
        expected_losses(embeddings, LABELS, centers, "bag_of_tricks").mean(), rtol=1e-5)


def test_class_computes_in_float32_under_mixed_precision(mixed_precision):
    embeddings, centers = some_batch(np.float16)
    loss = CenterLoss(tf.Variable(1000 * centers))(LABELS, tf.constant(embeddings))
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(
        loss, expected_losses(embeddings, LABELS, 1000 * centers, "bag_of_tricks").mean(),
        rtol=1e-5)


def test_class_in_a_compiled_model():
    embeddings, centers = some_batch()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Activation("linear")])
    model.compile(optimizer="sgd", loss=CenterLoss(tf.Variable(centers)))
    np.testing.assert_allclose(
        model.evaluate(embeddings, LABELS, verbose=0),
        expected_losses(embeddings, LABELS, centers, "bag_of_tricks").mean(), rtol=1e-5)


def test_config_rebuilds_the_class():
    centers = tf.Variable(tf.zeros((2, 3)))
    config = CenterLoss(centers, "wen", "sum", "pull").get_config()
    assert config == {"variant": "wen", "reduction": "sum", "name": "pull"}
    assert CenterLoss(centers, **config).get_config() == config


def test_a_loss_that_was_loaded_wants_its_centers():
    embeddings, centers = some_batch()
    loss = CenterLoss.from_config(CenterLoss(centers).get_config())
    with pytest.raises(ValueError, match="centers is not set; assign"):
        loss(LABELS, embeddings)
    loss.centers = centers
    np.testing.assert_allclose(
        loss(LABELS, embeddings),
        expected_losses(embeddings, LABELS, centers, "bag_of_tricks").mean(), rtol=1e-5)


def test_refuses_unknown_variants():
    embeddings, centers = some_batch()
    for function in (lambda: CenterLoss(centers, "mean"),
                     lambda: center_loss(embeddings, LABELS, centers, "mean"),
                     lambda: center_delta(embeddings, LABELS, centers, "mean")):
        with pytest.raises(ValueError, match="variant='mean'"):
            function()
