"""One training step over all replicas."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfreid.training.averaging import WeightAverage
from tfreid.training.objective import EmbeddingObjective
from tfreid.training.optimizers import GradientApplier


class TrainStep:
    """Computes losses and gradients on every replica, averages and applies them.

    The trained weights are those that are trainable when the object is made, so a change of
    `layer.trainable` needs a new one.

    Args:
        strategy: Under whose scope the rest was made.
        model: Embedding model.
        objective: Its losses.
        applier: Its optimizer.
        average: Moving average of the weights, or None.
        jit_compile: Whether XLA compiles the forward and backward pass.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        objective: EmbeddingObjective,
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

    def __call__(self, images, labels) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        """Trains on one batch per replica.

        Args:
            images: Per-replica RGB images [n, h, w, 3].
            labels: Per-replica identities [n].

        Returns:
            Scalars averaged over the replicas; of the first, the features [n, d] that the metric
            losses saw, and their labels [n].
        """
        return self._run(images, labels)

    def _step(self, images, labels):
        scalars, features, labels = self._strategy.run(self._replica_step, args=(images, labels))
        if self._average is not None:
            self._average.update()
        mean = tf.distribute.ReduceOp.MEAN
        scalars = {k: self._strategy.reduce(mean, v, axis=None) for k, v in scalars.items()}
        first = self._strategy.experimental_local_results
        return scalars, first(features)[0], first(labels)[0]

    def _replica_step(self, images, labels):
        gradients, outputs, scalars = self._gradients(images, labels)
        self._applier.apply(gradients, self._variables)
        self._objective.after_step(outputs, labels)
        return scalars, outputs[self._objective.metric_feature], labels

    def _losses_and_gradients(self, images, labels):
        with tf.GradientTape() as tape:
            outputs = self._model(images, training=True)
            loss, scalars = self._objective(outputs, labels)
            loss = self._applier.scale(loss)
        gradients = tape.gradient(loss, self._variables)
        # A loss of weight zero leaves weights out, such as the classifier's.
        gradients = [
            tf.zeros(variable.shape) if gradient is None else gradient
            for gradient, variable in zip(gradients, self._variables)
        ]
        return gradients, outputs, scalars
