"""Pairwise distances against NumPy loops, and their gradients where distances vanish."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfreid.losses.distances import (
    pairwise_euclidean,
    pairwise_squared_euclidean,
    unit_length,
)

ALL = [pairwise_squared_euclidean, pairwise_euclidean]


def expected(function, a, b):
    a, b = np.float64(a), np.float64(b)
    out = np.zeros((len(a), len(b)))
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            squared = sum((x - y) ** 2)
            out[i, j] = squared if function is pairwise_squared_euclidean else squared**0.5
    return out


def two_sets(dtype=np.float32, offset=0.0):
    random = np.random.default_rng(0)
    return [(random.normal(size=(n, 7)) + offset).astype(dtype) for n in (5, 8)]


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("compiled", [False, True])
def test_matches_loops(function, dtype, compiled):
    a, b = two_sets(dtype)
    actual = (tf.function(function) if compiled else function)(a, b)
    assert actual.dtype == tf.float32
    np.testing.assert_allclose(actual, expected(function, a, b), rtol=1e-5, atol=1e-6)


def test_distances_by_hand():
    a, b = np.float32([[0, 0], [3, 0]]), np.float32([[0, 4], [3, 0]])
    np.testing.assert_array_equal(pairwise_squared_euclidean(a, b), [[16, 9], [25, 0]])
    np.testing.assert_array_equal(pairwise_euclidean(a, b), [[4, 3], [5, 0]])


@pytest.mark.parametrize("function", ALL)
def test_diagonal_of_a_set_with_itself_is_exactly_zero(function):
    a = (100 * np.random.default_rng(1).normal(size=(9, 300))).astype(np.float32)
    for distances in (function(a), function(a, a)):
        np.testing.assert_array_equal(np.diag(distances), 0)
        np.testing.assert_allclose(distances, expected(function, a, a), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("function", ALL)
def test_never_negative(function):
    # Equal and opposite rows, where rounding alone would pass the bounds.
    a = np.float32(np.random.default_rng(2).normal(size=(200, 513)))
    for b in (a.copy(), -a):
        distances = function(a, b).numpy()
        assert distances.min() >= 0 and np.isfinite(distances).all()


def test_common_offset_costs_no_precision():
    a, b = two_sets(offset=1000.0)
    np.testing.assert_allclose(
        pairwise_euclidean(a, b), expected(pairwise_euclidean, a, b), rtol=1e-5)


def test_half_precision_does_not_overflow():
    a = np.full((2, 4), 300, np.float16)
    a[1] = -300
    np.testing.assert_allclose(pairwise_euclidean(a)[0, 1], 1200)


@pytest.mark.parametrize("function", ALL)
def test_gradient_matches_finite_differences(function):
    a, b = two_sets()
    weights = np.random.default_rng(3).normal(size=(5, 8))
    variable = tf.Variable(a)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(function(variable, b) * tf.cast(weights, tf.float32))
    numeric = np.zeros(a.shape)
    for index in np.ndindex(*a.shape):
        step = np.zeros(a.shape)
        step[index] = 1e-5
        numeric[index] = (weights * (expected(function, a + step, b)
                                     - expected(function, a - step, b))).sum() / 2e-5
    np.testing.assert_allclose(tape.gradient(total, variable), numeric, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize("rows", ["duplicates", "identical", "zeros"])
def test_gradient_is_finite_at_distance_zero(function, rows):
    a = np.random.default_rng(4).normal(size=(4, 6)).astype(np.float32)
    a = {"duplicates": a[[0, 1, 0, 1]], "identical": a[[0, 0, 0, 0]], "zeros": 0 * a}[rows]
    variable = tf.Variable(a)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(function(variable))
    assert np.isfinite(tape.gradient(total, variable)).all()


def test_euclidean_gradient_at_distance_zero_is_zero():
    variable = tf.Variable([[1.0, 2.0]])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(pairwise_euclidean(variable, tf.constant([[1.0, 2.0]])))
    np.testing.assert_array_equal(tape.gradient(total, variable), [[0, 0]])


def test_not_a_number_stays_visible():
    a = np.float32([[np.nan, 1], [2, 3]])
    for function in ALL:
        assert np.isnan(function(a, np.float32([[1, 1]]))[0, 0])


def test_unit_length():
    np.testing.assert_allclose(unit_length(np.float16([[3, 4], [0, 0]])), [[0.6, 0.8], [0, 0]],
                               rtol=1e-6)
