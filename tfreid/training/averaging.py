"""An exponential moving average of a model's weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf


class WeightAverage(tf.Module):
    """Keeps average = momentum * average + (1 - momentum) * weight for every weight of a model.

    Args:
        model: The model, batch-norm statistics included.
        momentum: In (0, 1). At step n it is at most n / (n + 9), so that the early average is not
            held back by the initial weights.
    """

    def __init__(self, model: keras.Model, momentum: float):
        super().__init__(name="weight_average")
        self._weights = list(model.weights)
        self._momentum = momentum
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.averages = [tf.Variable(w, trainable=False) for w in model.get_weights()]

    def update(self) -> None:
        """Takes the model's present weights into the average; called in cross-replica context."""
        steps = tf.cast(self.steps.assign_add(1), tf.float32)
        momentum = tf.minimum(self._momentum, steps / (steps + 9.0))
        for average, weight in zip(self.averages, self._weights):
            step = tf.cast(1.0 - momentum, average.dtype)
            average.assign_add(step * (tf.convert_to_tensor(weight) - average))

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Gives the model its average weights inside a `with` block."""
        own = [weight.numpy() for weight in self._weights]
        self._assign([average.numpy() for average in self.averages])
        try:
            yield
        finally:
            self._assign(own)

    def _assign(self, values):
        for weight, value in zip(self._weights, values):
            weight.assign(value)
