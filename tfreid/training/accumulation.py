"""Gradients of several steps, added up for one update."""

from __future__ import annotations

import tensorflow as tf


class GradientAccumulator(tf.Module):
    """Adds up gradients over steps; a checkpoint keeps the sum, so that a run can stop in between.

    Made under the strategy's scope, called in replica context; every replica has its own sum.

    Args:
        variables: All weights that may ever be trained.
        steps: Steps whose gradients are averaged.

    Attributes:
        steps: As given.
    """

    def __init__(self, variables: list, steps: int):
        super().__init__(name="accumulated_gradients")
        self.steps = steps
        self.sums = [
            tf.Variable(tf.zeros(variable.shape), trainable=False,
                        synchronization=tf.VariableSynchronization.ON_READ,
                        aggregation=tf.VariableAggregation.SUM, name=f"sum_{number}")
            for number, variable in enumerate(variables)
        ]
        self._places = {id(variable): number for number, variable in enumerate(variables)}

    def add(self, gradients: list[tf.Tensor], variables: list) -> None:
        """Adds the gradients of some of the weights."""
        for total, gradient in zip(self._sums_of(variables), gradients):
            total.assign_add(tf.convert_to_tensor(gradient))

    def take(self, variables: list) -> list[tf.Tensor]:
        """Returns the mean gradients of some of the weights and starts anew."""
        sums = self._sums_of(variables)
        means = [total.read_value() / self.steps for total in sums]
        with tf.control_dependencies(means):
            for total in self.sums:
                total.assign(tf.zeros(total.shape))
        return means

    def _sums_of(self, variables):
        return [self.sums[self._places[id(variable)]] for variable in variables]
