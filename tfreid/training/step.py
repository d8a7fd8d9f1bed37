"""One training step over all replicas."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfreid.training.interfaces import Batch, Objective
from tfreid.training.optimizers import GradientAccumulator, GradientApplier, WeightAverage


class TrainStep:
    """Computes losses and gradients on every replica, averages and applies them.

    It trains the weights that are trainable when the object is made, so a change of
    `layer.trainable` needs a new one. All arguments are made under the strategy's scope;
    `jit_compile` has XLA compile the forward and backward pass.
    """

    def __init__(self, strategy: tf.distribute.Strategy, model: keras.Model, objective: Objective,
                 applier: GradientApplier, average: WeightAverage | None = None,
                 jit_compile: bool = False, accumulator: GradientAccumulator | None = None):
        self._strategy = strategy
        self._model = model
        self._objective = objective
        self._applier = applier
        self._average = average
        self._accumulator = accumulator
        self._variables = list(model.trainable_variables)
        self._gradients = self._losses_and_gradients
        if jit_compile:
            self._gradients = tf.function(self._losses_and_gradients, jit_compile=True)
        self._run = tf.function(self._step)
        self._specified = False
        self._update = tf.function(self._apply_accumulated)

    def specify(self, batch: Batch, spec: Any) -> None:
        """Sets what sizes batches may have, once, so that all share a graph.

        Args:
            batch: One batch per replica.
            spec: The `element_spec` of one replica's batches.
        """
        if not self._specified:
            local = self._strategy.experimental_local_results
            specs = tf.nest.map_structure(
                lambda value, one: one if tf.is_tensor(value)
                else type(tf.type_spec_from_value(value))(*[one] * len(local(value))), batch, spec)
            self._run = tf.function(self._step, input_signature=[specs])
            self._specified = True

    def __call__(self, batch: Batch, step: int = 0) -> tuple[dict[str, tf.Tensor], Batch]:
        """Trains on one batch per replica.

        Args:
            batch: Per-replica tensors for the objective.
            step: Number of the step, from 0. With an accumulator, weights change in the last one
                of every `accumulator.steps`.

        Returns:
            Scalars averaged over the replicas, and the tensors that the objective watches.
        """
        result = self._run(batch)
        if self._accumulator is not None and (step + 1) % self._accumulator.steps == 0:
            self._update()
        return result

    def _step(self, batch):
        scalars, watched = self._strategy.run(self._replica_step, args=(batch,))
        if self._accumulator is None:
            self._follow()
        mean = tf.distribute.ReduceOp.MEAN
        scalars = {k: self._strategy.reduce(mean, v, axis=None) for k, v in scalars.items()}
        local = self._strategy.experimental_local_results
        return scalars, tuple(local(value)[0] for value in watched)

    def _replica_step(self, batch):
        gradients, outputs, scalars = self._gradients(batch)
        if self._accumulator is None:
            self._applier.apply(gradients, self._variables)
        else:
            self._accumulator.add(gradients, self._variables)
        self._objective.after_step(outputs, batch)
        return scalars, self._objective.watched(outputs, batch)

    def _apply_accumulated(self):
        self._strategy.run(self._replica_update)
        self._follow()

    def _replica_update(self):
        self._applier.apply(self._accumulator.take(self._variables), self._variables)
        self._objective.after_update()

    def _follow(self):
        if self._average is not None:
            self._average.update()

    def _losses_and_gradients(self, batch):
        with tf.GradientTape() as tape:
            loss, scalars, outputs = self._objective.forward(self._model, batch)
            loss = self._applier.scale(loss)
        gradients = tape.gradient(loss, self._variables)
        # Weights without influence on the loss, for example the classifier's, have no gradient.
        gradients = [
            tf.zeros(variable.shape) if gradient is None else gradient
            for gradient, variable in zip(gradients, self._variables)
        ]
        return gradients, outputs, scalars
