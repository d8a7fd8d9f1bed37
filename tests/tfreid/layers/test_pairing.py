"""The small layers of pair models: rows taken, regrouped, scaled, set apart; in float16 as well."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.layers.pairing import PairDistance, Regroup, TakeRows, UnitLength

VALUES = np.arange(24, dtype=np.float32).reshape(4, 3, 2)


@pytest.fixture(params=["float32", "mixed_float16"])
def policy(request):
    keras.mixed_precision.set_global_policy(request.param)
    yield request.param
    keras.mixed_precision.set_global_policy("float32")


def test_rows_are_taken_in_the_order_asked_for(policy):
    positions = np.int32([3, 0, 0])
    rows = TakeRows()([VALUES, positions])
    np.testing.assert_array_equal(rows.numpy(), VALUES[[3, 0, 0]])


def test_a_row_taken_twice_gets_both_gradients():
    values = tf.constant(VALUES)
    with tf.GradientTape() as tape:
        tape.watch(values)
        rows = TakeRows()([values, tf.constant([3, 0, 0])])
    gradient = tf.convert_to_tensor(tape.gradient(rows, values)).numpy()
    np.testing.assert_array_equal(gradient[:, 0, 0], [2, 0, 0, 1])


def test_rows_become_one_and_one_becomes_rows(policy):
    joined = Regroup((2, 3, 2))(VALUES)
    np.testing.assert_array_equal(joined.numpy(), VALUES.reshape(2, 2, 3, 2))
    np.testing.assert_array_equal(Regroup((3, 2))(joined).numpy(), VALUES)


def test_values_keep_their_type_under_mixed_precision(policy):
    """Regions and descriptors would lose digits that their losses need."""
    for dtype in (tf.float32, tf.float16):
        values = tf.constant(VALUES + 0.1, dtype)
        assert TakeRows()([values, tf.constant([1])]).dtype == dtype
        assert Regroup((6,))(values).dtype == dtype


def test_unit_length():
    vectors = np.float32([[3, 4], [0, 0], [-2, 0]])
    np.testing.assert_allclose(UnitLength()(vectors).numpy(), [[0.6, 0.8], [0, 0], [-1, 0]],
                               rtol=1e-6)


def test_distances_of_pairs_by_hand():
    first, second = np.float32([[3, 4], [1, 1]]), np.float32([[0, 0], [1, 1]])
    np.testing.assert_allclose(PairDistance()([first, second]).numpy(), [5, 0])


def test_layers_in_a_model_and_back_from_their_settings(policy):
    values, positions = keras.Input((3, 2)), keras.Input((), dtype="int32")
    taken = TakeRows()([values, positions])
    assert tuple(taken.shape) == (None, 3, 2)
    joined = Regroup((6,))(taken)
    assert tuple(joined.shape) == (None, 6)
    unit = UnitLength(dtype="float32")(joined)
    distance = PairDistance(dtype="float32")([unit, unit])
    assert tuple(distance.shape) == (None,)
    model = keras.Model([values, positions], [joined, distance])
    found, apart = model([VALUES, np.int32([1, 2])])
    np.testing.assert_array_equal(found.numpy(), VALUES[[1, 2]].reshape(2, 6))
    np.testing.assert_array_equal(apart.numpy(), [0, 0])
    for layer in (TakeRows(name="take"), Regroup((6,), name="join")):
        again = type(layer).from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
