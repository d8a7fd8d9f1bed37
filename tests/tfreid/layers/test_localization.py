"""The localisation net: where it starts, its size, and that it learns."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.layers.spatial_transformer import (
    affine_grid,
    bilinear_sample,
    central_region,
    localize,
)

SHAPE, SIDE = (20, 16, 96), 10


@pytest.fixture(scope="module")
def net():
    keras.utils.set_random_seed(0)
    maps = keras.Input(SHAPE)
    return keras.Model(maps, localize(maps, SIDE, "loc"))


def _maps(seed=0):
    return np.random.default_rng(seed).normal(size=(3, *SHAPE)).astype(np.float32)


def test_it_starts_at_the_middle_whatever_it_sees(net):
    maps = _maps()
    for training in (False, True):
        regions = net(maps, training=training).numpy()
        np.testing.assert_allclose(regions, np.tile(central_region(SHAPE[:2], SIDE), (3, 1)),
                                   atol=1e-6)
    parts = bilinear_sample(maps, affine_grid(regions, SIDE, SIDE)).numpy()
    np.testing.assert_allclose(parts, maps[:, 5:15, 3:13], atol=1e-4)


def test_its_layers_are_those_of_table_1(net):
    convolutions = [layer for layer in net.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [(c.kernel_size, c.filters) for c in convolutions] == [
        ((3, 3), 32), ((3, 3), 32), ((1, 1), 128)]
    pools = [layer for layer in net.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    assert [p.pool_size for p in pools] == [(2, 2), (2, 2)]
    weights = 9 * 96 * 32 + 9 * 32 * 32 + 32 * 128 + 2 * (32 + 32 + 128) + 129 * 6
    assert sum(int(np.prod(w.shape)) for w in net.trainable_weights) == weights


def test_a_start_as_large_as_the_map_stays_below_one():
    maps = keras.Input((8, 6, 4))
    region = keras.Model(maps, localize(maps, 10, "loc"))(np.zeros((1, 8, 6, 4))).numpy()[0]
    np.testing.assert_allclose(region, [0.999, 0, 0, 0, 0.999, 0], atol=1e-5)


def test_all_six_parameters_move_apart_and_stay_between_minus_one_and_one(net):
    initial = [weight.numpy() for weight in net.weights]
    maps = tf.constant(_maps(1))
    wanted = np.random.default_rng(2).uniform(-2, 2, (3, 6)).astype(np.float32)
    try:
        for _ in range(3):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(net(maps, training=True) * wanted)
            weights = net.trainable_weights
            gradients = tape.gradient(loss, weights)
            for weight, gradient in zip(weights, gradients):
                weight.assign(weight - 0.1 * gradient)
        # The last layer's kernel starts at zero, so those before it learn from the second step on.
        for weight, gradient in zip(weights, gradients):
            assert np.abs(gradient.numpy()).max() > 0, weight.name
        regions = net(maps, training=True).numpy()
        assert np.abs(regions).max() < 1
        assert (regions.std(axis=0) > 1e-4).all()
    finally:
        for weight, value in zip(net.weights, initial):
            weight.assign(value)
