"""One training step over all replicas."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfreid.training.averaging import WeightAverage
from tfreid.training.interfaces import Batch, Objective
from tfreid.training.optimizers import GradientApplier


class TrainStep:
    """Computes losses and gradients on every replica, averages and applies them.

    The trained weights are those that are trainable when the object is made, so a change of
    `layer.trainable` needs a new one.

    Args:
        strategy: Under whose scope the rest was made.
        model: What is trained.
        objective: What it minimises.
        applier: Its optimizer.
        average: Moving average of the weights, or None.
        jit_compile: Whether XLA compiles the forward and backward pass.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        objective: Objective,
        applier: GradientApplier,
        average: WeightAverage | None = None,
        jit_compile: bool = False,
    ):
        self._strategy = strategy
        self._model = model
        self._objective = objective
        self._applier = applier
        self._average = average
        self._variables = list(model.trainable_variables)
        self._gradients = self._losses_and_gradients
        if jit_compile:
            self._gradients = tf.function(self._losses_and_gradients, jit_compile=True)
        self._run = tf.function(self._step)

    def __call__(self, batch: Batch) -> tuple[dict[str, tf.Tensor], Batch]:
        """Trains on one batch per replica.

        Args:
            batch: Per-replica tensors, as the objective takes them.

        Returns:
            Scalars averaged over the replicas, and what the objective watches on the first one.
        """
        return self._run(batch)

    def _step(self, batch):
        scalars, watched = self._strategy.run(self._replica_step, args=(batch,))
        if self._average is not None:
            self._average.update()
        mean = tf.distribute.ReduceOp.MEAN
        scalars = {k: self._strategy.reduce(mean, v, axis=None) for k, v in scalars.items()}
        local = self._strategy.experimental_local_results
        return scalars, tuple(local(value)[0] for value in watched)

    def _replica_step(self, batch):
        gradients, outputs, scalars = self._gradients(batch)
        self._applier.apply(gradients, self._variables)
        self._objective.after_step(outputs, batch)
        return scalars, self._objective.watched(outputs, batch)

    def _losses_and_gradients(self, batch):
        with tf.GradientTape() as tape:
            loss, scalars, outputs = self._objective.forward(self._model, batch)
            loss = self._applier.scale(loss)
        gradients = tape.gradient(loss, self._variables)
        # A loss of weight zero leaves weights out, such as the classifier's.
        gradients = [
            tf.zeros(variable.shape) if gradient is None else gradient
            for gradient, variable in zip(gradients, self._variables)
        ]
        return gradients, outputs, scalars
