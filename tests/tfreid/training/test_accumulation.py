"""Gradients added up over steps against one batch, and against triplets one by one."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.config import OptimizerConfig
from tfreid.systems.triplet.objective import TripletObjective
from tfreid.systems.triplet.settings import Settings as TripletSettings
from tfreid.training.optimizers import GradientAccumulator, GradientApplier, WeightAverage
from tfreid.training.step import TrainStep
from tfreid.training.strategy import make_strategy

RATE, MARGIN, TRIPLETS = 0.1, 0.01, 6
SPEC = (tf.TensorSpec([None], tf.uint8), tf.TensorSpec([None, 3], tf.int32),
        tf.TensorSpec([3, None], tf.int32))
ONE_SIZE = [(12, 6)] * 3 * TRIPLETS
MANY_SIZES = [(12, 6), (12, 6), (12, 7), (9, 12), (12, 5), (12, 6)] * 3


def build():
    """Convolution, batch norm with learnt statistics, maximum, linear layer, unit length."""
    keras.utils.set_random_seed(1)
    images = keras.Input((None, None, 3), dtype="float32")
    x = keras.layers.Conv2D(5, 3, use_bias=False, padding="same", name="conv")(images / 255.0)
    norm = keras.layers.BatchNormalization(
        name="norm", moving_mean_initializer=keras.initializers.Constant(0.1),
        moving_variance_initializer=keras.initializers.Constant(0.4))
    x = keras.layers.GlobalMaxPooling2D()(keras.layers.Activation("tanh")(norm(x)))
    unit = keras.layers.UnitNormalization()(keras.layers.Dense(4, name="fc")(x))
    return keras.Model(images, {"embedding": unit})


def images_of(sizes):
    """Images of a random colour each, so that their embeddings differ."""
    random = np.random.default_rng(2)
    return [(random.uniform(0, 155, 3) + random.uniform(0, 100, (*size, 3))).astype(np.uint8)
            for size in sizes]


def batch_of(images):
    """A batch as `TripletBatches` makes it, of triplets one after the other."""
    order = sorted(range(len(images)), key=lambda place: images[place].shape)
    shapes = [images[place].shape[:2] for place in order]
    groups = [[shapes.count(shape), *shape] for shape in sorted(set(shapes))]
    pixels = np.concatenate([images[place].ravel() for place in order])
    places = np.argsort(order).reshape(-1, 3).T
    return pixels, np.array(groups, np.int32), places.astype(np.int32)


def trained(images, at_once, devices=("CPU:0",), average=None):
    """Weights and moving average after one update over all triplets, `at_once` in a step."""
    strategy = make_strategy(list(devices))
    steps = TRIPLETS // (at_once * len(devices))
    with strategy.scope():
        model = build()
        variables = list(model.trainable_variables)
        objective = TripletObjective(TripletSettings(margin=MARGIN))
        applier = GradientApplier(
            OptimizerConfig(name="sgd", momentum=0.0, weight_decay=0.0), variables, False)
        accumulator = GradientAccumulator(variables, steps) if steps > 1 else None
    applier.set_learning_rate(RATE)
    average = WeightAverage(model, average) if average else None
    step = TrainStep(strategy, model, objective, applier, average, accumulator=accumulator)
    batches = [batch_of(images[start : start + 3 * at_once])
               for start in range(0, len(images), 3 * at_once)]
    first = [v.numpy() for v in variables]
    for number in range(steps):
        assert all(np.array_equal(a, v.numpy()) for a, v in zip(first, variables))
        own = batches[number * len(devices) :]
        batch = strategy.experimental_distribute_values_from_function(
            lambda context, own=own: tuple(
                map(tf.constant, own[context.replica_id_in_sync_group])))
        step.specify(batch, SPEC)
        step(batch, number)
    if accumulator:
        assert not any(np.any(total.read_value()) for total in accumulator.sums)
    averages = [a.numpy() for a in average.averages] if average else None
    return [v.numpy() for v in variables], averages, model


def by_hand(images):
    """Weights after one step along the mean of the triplets' gradients, one by one."""
    model = build()
    total = [np.zeros(v.shape) for v in model.trainable_variables]
    active = 0
    for start in range(0, len(images), 3):
        with tf.GradientTape() as tape:
            query, positive, negative = (
                model(image[None].astype(np.float32), training=False)["embedding"][0]
                for image in images[start : start + 3])
            loss = tf.maximum(0.0, MARGIN + tf.tensordot(query, negative - positive, 1))
        active += float(loss) > 0
        for place, gradient in enumerate(tape.gradient(loss, model.trainable_variables)):
            total[place] += tf.convert_to_tensor(gradient).numpy() / TRIPLETS
    assert 0 < active < TRIPLETS
    return [v.numpy() - RATE * g for v, g in zip(model.trainable_variables, total)]


def assert_close(found, expected):
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("at_once", [1, 2])
def test_steps_of_one_size_equal_the_mean_loss_computed_at_once(at_once):
    images = images_of(ONE_SIZE)
    assert_close(trained(images, at_once)[0], trained(images, TRIPLETS)[0])


@pytest.mark.parametrize(("at_once", "devices"), [
    (1, ["CPU:0"]), (3, ["CPU:0"]), (TRIPLETS, ["CPU:0"]), (1, ["CPU:0", "CPU:1"]),
])
def test_steps_of_many_sizes_equal_the_mean_of_the_triplets_one_by_one(at_once, devices):
    images = images_of(MANY_SIZES)
    found, _, model = trained(images, at_once, devices)
    assert_close(found, by_hand(images))
    norm = model.get_layer("norm")  # whose statistics are frozen
    assert np.all(norm.moving_mean.numpy() == np.float32(0.1))


def test_the_average_follows_updates_not_steps():
    (kernel, *_), (average, *_), _ = trained(images_of(ONE_SIZE), 2, average=0.9)
    start, *_ = build().get_weights()
    assert np.any(kernel != start)
    # After one update the momentum is 1 / (1 + 9).
    np.testing.assert_allclose(average, 0.1 * start + 0.9 * kernel, atol=1e-6)
