"""Label-smoothed softmax against NumPy and worked values."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.losses import LabelSmoothedSoftmax
from tfreid.losses.base import flat_labels
from tfreid.losses.classification import label_smoothed_softmax

LABELS = np.array([0, 3, 1, 1, 4, 2])


@pytest.fixture
def mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    keras.mixed_precision.set_global_policy("float32")


def some_logits(dtype=np.float32):
    return (3 * np.random.default_rng(0).normal(size=(6, 5))).astype(dtype)


def expected(logits, labels, smoothing):
    losses = []
    for row, label in zip(np.float64(logits), labels):
        probabilities = np.exp(row - row.max())
        probabilities /= probabilities.sum()
        target = np.full(len(row), smoothing / len(row))
        target[label] += 1 - smoothing
        losses.append(-(target * np.log(probabilities)).sum())
    return np.array(losses)


@pytest.mark.parametrize("smoothing", [0, 0.1, 0.5])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("compiled", [False, True])
def test_matches_numpy(smoothing, dtype, compiled):
    function = tf.function(label_smoothed_softmax) if compiled else label_smoothed_softmax
    logits = some_logits(dtype)
    losses = function(logits, LABELS, smoothing)
    assert losses.dtype == tf.float32
    np.testing.assert_allclose(losses, expected(logits, LABELS, smoothing), rtol=1e-5)


def test_uniform_logits_cost_the_logarithm_of_the_classes():
    np.testing.assert_allclose(label_smoothed_softmax(np.zeros((1, 751), np.float32), [7]),
                               [np.log(751)], rtol=1e-6)


def test_smoothed_loss_by_hand():
    # Two classes, logits ln 3 and 0: probabilities 3/4 and 1/4; target 0.95 and 0.05.
    logits = np.float32([[np.log(3), 0]])
    np.testing.assert_allclose(label_smoothed_softmax(logits, [0]),
                               [-0.95 * np.log(0.75) - 0.05 * np.log(0.25)], rtol=1e-6)


def test_gradient_is_probability_minus_target():
    logits = tf.Variable(some_logits())
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(label_smoothed_softmax(logits, LABELS))
    target = 0.9 * np.eye(5)[LABELS] + 0.02
    np.testing.assert_allclose(tape.gradient(total, logits),
                               tf.nn.softmax(logits) - target, atol=1e-6)


def test_large_half_precision_logits_stay_finite():
    logits = np.float16([[6e4, -6e4]])
    # The probabilities are 1 and exp(-120000), the target is 0.05 and 0.95.
    np.testing.assert_allclose(label_smoothed_softmax(logits, [1]), [0.95 * 120000], rtol=1e-6)


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="GPUs give NaN instead")
def test_label_outside_the_classes_is_loud():
    with pytest.raises(tf.errors.InvalidArgumentError):
        label_smoothed_softmax(some_logits(), [0, 1, 2, 3, 4, -1])


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_refuses_smoothing_out_of_range(smoothing):
    with pytest.raises(ValueError, match=f"smoothing={smoothing}"):
        label_smoothed_softmax(some_logits(), LABELS, smoothing)
    with pytest.raises(ValueError, match=f"smoothing={smoothing}"):
        LabelSmoothedSoftmax(smoothing)


def test_class_is_the_mean_of_the_function():
    logits = some_logits()
    losses = expected(logits, LABELS, 0.2)
    np.testing.assert_allclose(LabelSmoothedSoftmax(0.2)(LABELS, logits), losses.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        LabelSmoothedSoftmax(0.2, reduction="none")(LABELS[:, None], logits), losses, rtol=1e-5)


def test_class_computes_in_float32_under_mixed_precision(mixed_precision):
    logits = some_logits(np.float16)
    loss = LabelSmoothedSoftmax()(LABELS, tf.constant(logits))
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, expected(logits, LABELS, 0.1).mean(), rtol=1e-5)


@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None]])
def test_class_in_a_compiled_model(labels, mixed_precision):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Activation("linear",
                                                                         dtype="float32")])
    model.compile(optimizer="sgd", loss=LabelSmoothedSoftmax())
    logits = some_logits()
    np.testing.assert_allclose(model.evaluate(logits, labels, verbose=0),
                               expected(logits, LABELS, 0.1).mean(), rtol=1e-5)


def test_config_rebuilds_the_class():
    config = LabelSmoothedSoftmax(0.3, reduction="sum", name="id").get_config()
    assert LabelSmoothedSoftmax.from_config(config).get_config() == config
    assert (config["smoothing"], config["reduction"], config["name"]) == (0.3, "sum", "id")


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32])
def test_flat_labels(dtype):
    labels = flat_labels(np.array([[3], [16777215]], dtype))
    assert labels.dtype == tf.int64
    np.testing.assert_array_equal(labels, [3, 16777215])
