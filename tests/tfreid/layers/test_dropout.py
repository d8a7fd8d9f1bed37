"""Dropout whose masks hang on the input alone."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.layers.dropout import StatelessDropout

INPUTS = np.random.default_rng(0).normal(1, 0.2, (40, 50)).astype(np.float32)


def dropped(inputs=INPUTS, rate=0.2, name="one"):
    return StatelessDropout(rate, name=name)(tf.constant(inputs), training=True).numpy()


def test_a_share_is_dropped_and_the_rest_scaled():
    outputs = dropped()
    gone = outputs == 0
    assert gone.mean() == pytest.approx(0.2, abs=0.03)
    np.testing.assert_allclose(outputs[~gone], INPUTS[~gone] / 0.8, rtol=1e-6)
    # No row and no column is hit much more than another.
    assert gone.mean(axis=0).max() < 0.5 and gone.mean(axis=1).max() < 0.5


def test_only_training_drops():
    layer = StatelessDropout(0.9)
    np.testing.assert_array_equal(layer(INPUTS), INPUTS)
    np.testing.assert_array_equal(layer(INPUTS, training=False), INPUTS)
    np.testing.assert_array_equal(StatelessDropout(0.0)(INPUTS, training=True), INPUTS)


def test_the_mask_hangs_on_input_and_name():
    np.testing.assert_array_equal(dropped(), dropped())
    changed = INPUTS.copy()
    changed[0, 0] += 0.5
    for other in (dropped(changed), dropped(name="two")):
        # Independent masks agree in 0.2^2 + 0.8^2 of the places.
        agreement = ((dropped() == 0) == (other == 0)).mean()
        assert agreement == pytest.approx(0.68, abs=0.05)


def test_gradients_pass_where_nothing_was_dropped():
    inputs = tf.Variable(INPUTS)
    with tf.GradientTape() as tape:
        outputs = StatelessDropout(0.2, name="one")(inputs, training=True)
    gradient = tape.gradient(outputs, inputs).numpy()
    np.testing.assert_allclose(gradient, np.where(outputs.numpy() == 0, 0, 1 / 0.8), rtol=1e-6)


def test_in_a_model_and_in_half_precision():
    layer = StatelessDropout(0.5, dtype="mixed_float16", name="half")
    inputs = keras.Input((50,))
    model = keras.Model(inputs, layer(inputs))
    outputs = model(INPUTS, training=True)
    assert outputs.dtype == tf.float16 and not model.weights
    assert (outputs.numpy() == 0).mean() == pytest.approx(0.5, abs=0.05)
    copy = StatelessDropout.from_config(layer.get_config())
    assert (copy.rate, copy.name) == (0.5, "half")


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_rates_out_of_range(rate):
    with pytest.raises(ValueError, match="from 0 to below 1"):
        StatelessDropout(rate)
