"""One step on two logical devices against the same step worked out by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.config import (
    CenterLossConfig,
    IdLossConfig,
    LossConfig,
    OptimizerConfig,
    TripletLossConfig,
)
from tfreid.layers.normalization import batch_norm_neck
from tfreid.losses.center import center_step, center_terms
from tfreid.systems.embedding.objective import EmbeddingObjective
from tfreid.training.optimizers import GradientAccumulator, GradientApplier, WeightAverage
from tfreid.training.step import TrainStep
from tfreid.training.strategy import make_strategy

TWO = ["CPU:0", "CPU:1"]
LABELS = np.array([[0, 0, 1, 1], [2, 2, 0, 0]], np.int32)  # of the two replicas
IDENTITIES = 3
RATE = 0.1


def _convolutional():
    keras.utils.set_random_seed(1)
    images = keras.Input((8, 4, 3), dtype="float32")
    x = keras.layers.Conv2D(6, 3, use_bias=False, name="conv")(images / 255.0)
    x = keras.layers.BatchNormalization(name="conv_bn")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Activation("tanh")(x))
    neck = batch_norm_neck(x)
    logits = keras.layers.Dense(IDENTITIES, name="classifier")(neck)
    return keras.Model(images, {"embedding": x, "neck": neck, "logits": logits})


def _without_batch_norm():
    keras.utils.set_random_seed(2)
    images = keras.Input((8, 4, 3), dtype="float32")
    x = keras.layers.Dense(6, name="fc")(keras.layers.Flatten()(images / 255.0))
    logits = keras.layers.Dense(IDENTITIES, name="classifier")(x)
    return keras.Model(images, {"embedding": x, "neck": x, "logits": logits})


def _images():
    return np.random.default_rng(3).uniform(0, 255, (2, 4, 8, 4, 3)).astype(np.float32)


class _Training:
    """Everything that a step needs, on some devices."""

    def __init__(self, build, devices, loss=None, optimizer=None, average=None, scaling=False,
                 accumulated=1):
        self.strategy = make_strategy(devices)
        with self.strategy.scope():
            self.model = build()
            embedding_size = self.model.output["embedding"].shape[-1]
            self.objective = EmbeddingObjective(loss or LossConfig(), IDENTITIES, embedding_size,
                                                accumulates=accumulated > 1)
            accumulator = GradientAccumulator(
                list(self.model.trainable_variables), accumulated) if accumulated > 1 else None
            self.applier = GradientApplier(
                optimizer or OptimizerConfig(name="sgd", momentum=0.0),
                list(self.model.trainable_variables), loss_scaling=scaling,
            )
        self.applier.set_learning_rate(RATE)
        self.average = WeightAverage(self.model, average) if average else None
        self.step = TrainStep(
            self.strategy, self.model, self.objective, self.applier, self.average,
            accumulator=accumulator,
        )

    def __call__(self, images, labels, number=0):
        """Runs one step on images [replicas, n, ...]."""

        def spread(values):
            return self.strategy.experimental_distribute_values_from_function(
                lambda context: tf.constant(values[context.replica_id_in_sync_group])
            )

        scalars, _ = self.step((spread(images), spread(labels)), number)
        return {name: float(value) for name, value in scalars.items()}

    def trained(self):
        return [variable.numpy() for variable in self.model.trainable_variables]


def _by_hand(build, images, labels, loss):
    """Loss, gradients and embeddings of one replica, on one device, with a fresh model."""
    model = build()
    objective = EmbeddingObjective(loss, IDENTITIES, model.output["embedding"].shape[-1])
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        total, _ = objective(outputs, tf.constant(labels))
    gradients = tape.gradient(total, model.trainable_variables)
    gradients = [tf.convert_to_tensor(gradient).numpy() for gradient in gradients]
    return float(total), gradients, outputs["embedding"].numpy(), objective, model


@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_two_replicas_equal_the_average_of_both_by_hand(clip_norm):
    loss = LossConfig()
    decay = 0.01
    optimizer = OptimizerConfig(
        name="sgd", momentum=0.0, weight_decay=decay, clip_norm=clip_norm
    )
    training = _Training(_convolutional, TWO, loss, optimizer)
    before = training.trained()
    images = _images()
    scalars = training(images, LABELS)

    losses, gradients = [], []
    for replica in range(2):
        total, own, *_ = _by_hand(_convolutional, images[replica], LABELS[replica], loss)
        losses.append(total)
        gradients.append(own)
    mean = [(a + b) / 2 for a, b in zip(*gradients)]
    if clip_norm:
        norm = np.sqrt(sum(np.sum(np.square(g, dtype=np.float64)) for g in mean))
        assert norm > clip_norm
        mean = [g * clip_norm / norm for g in mean]
    assert scalars["loss/total"] == pytest.approx(np.mean(losses), rel=1e-5)
    for old, gradient, new in zip(before, mean, training.trained()):
        # What moves is compared, not what stays: a weight of 1 would hide a wrong update.
        moved = RATE * (gradient + decay * old)
        np.testing.assert_allclose(old - new, moved, rtol=1e-3, atol=1e-6)


def test_centers_move_as_for_one_large_batch():
    for variant in ("bag_of_tricks", "wen"):
        loss = LossConfig(center=CenterLossConfig(variant=variant))
        training = _Training(_without_batch_norm, TWO, loss)
        before = training.objective.centers.numpy()
        images = _images()
        embeddings = np.concatenate(
            [_by_hand(_without_batch_norm, images[r], LABELS[r], loss)[2] for r in range(2)]
        )
        training(images, LABELS)
        terms = center_terms(embeddings, LABELS.reshape(-1), before)
        expected = before - center_step(*terms, variant, 0.5)
        np.testing.assert_allclose(training.objective.centers.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("variant, devices", [("bag_of_tricks", ["CPU:0"]), ("wen", TWO)])
def test_centers_move_with_the_weights_by_all_accumulated_steps(variant, devices):
    loss = LossConfig(center=CenterLossConfig(variant=variant), triplet=TripletLossConfig(0.0))
    optimizer = OptimizerConfig(name="sgd", momentum=0.0)
    images, replicas = _images(), len(devices)
    whole = _Training(_without_batch_norm, devices, loss, optimizer)
    parts = _Training(_without_batch_norm, devices, loss, optimizer, accumulated=2)
    for _ in range(2):  # the second update begins with empty sums
        centers = parts.objective.centers.numpy()
        whole(images[:replicas], LABELS[:replicas])
        for number in range(2):
            np.testing.assert_array_equal(parts.objective.centers.numpy(), centers)
            half = slice(2 * number, 2 * number + 2)
            parts(images[:replicas, half], LABELS[:replicas, half], number)
        moved = parts.objective.centers.numpy() - centers
        assert np.abs(moved).max() > 0.05
        np.testing.assert_allclose(
            moved, whole.objective.centers.numpy() - centers, rtol=1e-4, atol=1e-6)
        for mine, expected in zip(parts.trained(), whole.trained()):
            np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-6)


def test_accumulated_centers_by_hand():
    # Two steps with the embeddings 2, 4 and 6 of identity 0 and 1 of identity 1; centers at zero.
    # The mean of the batch: 0.5 * 2 * 12 / 4 = 3. Wen et al.: 0.5 * 12 / (1 + 3) = 1.5.
    for variant, expected in (("bag_of_tricks", [3.0, 0.25]), ("wen", [1.5, 0.25])):
        loss = LossConfig(center=CenterLossConfig(variant=variant))
        objective = EmbeddingObjective(loss, 2, 1, accumulates=True)
        objective.centers.assign(tf.zeros((2, 1)))
        for embeddings, labels in (([[2.0], [4.0]], [0, 0]), ([[6.0], [1.0]], [0, 1])):
            assert not objective.centers.numpy().any()
            objective.after_step({"embedding": tf.constant(embeddings)}, (None, labels))
        objective.after_update()
        np.testing.assert_allclose(objective.centers.numpy()[:, 0], expected)


def test_mining_across_replicas_equals_one_large_batch():
    loss = LossConfig(triplet=TripletLossConfig(across_replicas=True),
                      center=CenterLossConfig(weight=0.0))
    optimizer = OptimizerConfig(name="sgd", momentum=0.0, weight_decay=0.0)
    images = _images()
    two = _Training(_without_batch_norm, TWO, loss, optimizer)
    one = _Training(_without_batch_norm, ["CPU:0"], loss, optimizer)
    apart = _Training(
        _without_batch_norm, TWO, LossConfig(center=CenterLossConfig(weight=0.0)), optimizer
    )
    together = two(images, LABELS)
    large = one(images.reshape(1, 8, 8, 4, 3), LABELS.reshape(1, 8))
    assert together["loss/triplet"] == pytest.approx(large["loss/triplet"], rel=1e-5)
    for mine, theirs in zip(two.trained(), one.trained()):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
    # And it is not what each replica finds in its own images.
    assert apart(images, LABELS)["loss/triplet"] != pytest.approx(together["loss/triplet"])


def test_adam_with_coupled_decay_equals_numpy():
    decay = 0.01
    loss = LossConfig(center=CenterLossConfig(weight=0.0))
    training = _Training(
        _without_batch_norm, ["CPU:0"], loss, OptimizerConfig(name="adam", weight_decay=decay)
    )
    images = _images()[:1]
    weights = training.trained()
    first = [np.zeros_like(w) for w in weights]
    second = [np.zeros_like(w) for w in weights]
    for t in (1, 2):
        model = training.model
        with tf.GradientTape() as tape:
            total, _ = training.objective(model(images[0], training=True), tf.constant(LABELS[0]))
        gradients = tape.gradient(total, model.trainable_variables)
        gradients = [tf.convert_to_tensor(g).numpy() + decay * w
                     for g, w in zip(gradients, weights)]
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients)]
        second = [0.999 * v + 0.001 * g**2 for v, g in zip(second, gradients)]
        weights = [
            w - RATE * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            for w, m, v in zip(weights, first, second)
        ]
        training(images, LABELS[:1])
        for mine, expected in zip(training.trained(), weights):
            np.testing.assert_allclose(mine, expected, atol=RATE / 500)


def test_decay_can_leave_biases_alone():
    optimizer = OptimizerConfig(
        name="sgd", momentum=0.0, weight_decay=1.0, decay_biases_and_norms=False
    )
    loss = LossConfig(id=IdLossConfig(weight=0.0),
                      triplet=TripletLossConfig(weight=0.0),
                      center=CenterLossConfig(weight=1e-12))
    training = _Training(_without_batch_norm, ["CPU:0"], loss, optimizer)
    for variable in training.model.trainable_variables:
        variable.assign(np.ones(variable.shape, np.float32))
    training(_images()[:1], LABELS[:1])
    for values in training.trained():
        expected = 1.0 if values.ndim == 1 else 1.0 - RATE
        np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_decoupled_decay_shrinks_beside_the_update():
    optimizer = OptimizerConfig(
        name="adam", weight_decay=0.5, weight_decay_mode="decoupled"
    )
    loss = LossConfig(id=IdLossConfig(weight=0.0),
                      triplet=TripletLossConfig(weight=0.0),
                      center=CenterLossConfig(weight=1e-30))
    training = _Training(_without_batch_norm, ["CPU:0"], loss, optimizer)
    before = training.trained()
    training(_images()[:1], LABELS[:1])
    for old, new in zip(before, training.trained()):
        np.testing.assert_allclose(new, old * (1 - RATE * 0.5), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("devices", [["CPU:0"], TWO])
def test_loss_scaling_changes_no_update_and_skips_overflow(devices):
    replicas = len(devices)
    optimizer = OptimizerConfig(name="sgd", momentum=0.0, clip_norm=1.0)
    plain = _Training(_without_batch_norm, devices, optimizer=optimizer)
    scaled = _Training(_without_batch_norm, devices, optimizer=optimizer, scaling=True)
    images = _images()[:replicas]
    plain(images, LABELS[:replicas])
    scaled(images, LABELS[:replicas])
    for mine, expected in zip(scaled.trained(), plain.trained()):
        np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-6)
    before = scaled.trained()
    scaled(images * np.float32(np.inf), LABELS[:replicas])
    for mine, old in zip(scaled.trained(), before):
        np.testing.assert_array_equal(mine, old)


def test_weight_average_follows_its_formula_and_swaps_back():
    training = _Training(_without_batch_norm, TWO, average=0.5)
    average = [weight.numpy() for weight in training.model.weights]
    images = _images()
    for step in (1, 2, 3):
        training(images, LABELS)
        momentum = min(0.5, step / (step + 9.0))
        average = [
            momentum * old + (1 - momentum) * weight.numpy()
            for old, weight in zip(average, training.model.weights)
        ]
    own = [weight.numpy() for weight in training.model.weights]
    with training.average.swapped_in():
        for weight, expected in zip(training.model.weights, average):
            np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-5, atol=1e-6)
    for weight, expected in zip(training.model.weights, own):
        np.testing.assert_array_equal(weight.numpy(), expected)


def test_jit_compiled_step_equals_the_plain_one():
    plain = _Training(_without_batch_norm, ["CPU:0"])
    compiled = _Training(_without_batch_norm, ["CPU:0"])
    compiled.step = TrainStep(
        compiled.strategy, compiled.model, compiled.objective, compiled.applier, jit_compile=True
    )
    images = _images()[:1]
    first, second = plain(images, LABELS[:1]), compiled(images, LABELS[:1])
    assert first["loss/total"] == pytest.approx(second["loss/total"], rel=1e-5)
    for mine, expected in zip(compiled.trained(), plain.trained()):
        np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-6)
