"""Adam and SGD as re-identification recipes use them: coupled decay, clipping, loss scaling."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfreid.config import OptimizerConfig


class GradientApplier:
    """Turns gradients of one replica into an update of the weights, the same on every replica.

    Args:
        config: The `optimizer` section.
        variables: All weights that may ever be trained. Made under the strategy, as this is.
        loss_scaling: Whether the loss is scaled so that float16 gradients do not vanish.
    """

    def __init__(self, config: OptimizerConfig, variables: list, loss_scaling: bool):
        self._config = config
        decoupled = config.weight_decay_mode == "decoupled" and config.weight_decay > 0
        shared = {"weight_decay": config.weight_decay if decoupled else None}
        if config.name == "adam":
            self.optimizer = keras.optimizers.Adam(epsilon=1e-8, **shared)
        else:
            self.optimizer = keras.optimizers.SGD(
                momentum=config.momentum, nesterov=config.nesterov, **shared
            )
        self._coupled_decay = 0.0 if decoupled else config.weight_decay
        excluded = [] if config.decay_biases_and_norms else _biases_and_norms(variables)
        self._not_decayed = {id(variable) for variable in excluded}
        if decoupled and excluded:
            self.optimizer.exclude_from_weight_decay(var_list=excluded)
        # Slots exist from the start, so that a checkpoint can be restored before the first step.
        self.optimizer.build(variables)
        self._scaler = _LossScaler(self.optimizer, variables) if loss_scaling else None

    @property
    def trackable(self):
        """What a checkpoint saves."""
        return self._scaler.optimizer if self._scaler else self.optimizer

    def set_learning_rate(self, rate: float) -> None:
        """Sets the rate of the coming steps."""
        self.optimizer.learning_rate = rate

    def scale(self, loss: tf.Tensor) -> tf.Tensor:
        """Returns the loss whose gradients `apply` expects."""
        return self._scaler.scale(loss) if self._scaler else loss

    def apply(self, gradients: list[tf.Tensor], variables: list) -> None:
        """Averages the gradients over the replicas, clips them, adds the decay and updates.

        Called in replica context.
        """
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        if self._scaler:
            gradients = self._scaler.unscale(gradients)
        needs_mean = self._scaler is not None or self._config.clip_norm is not None
        if needs_mean and replicas > 1:
            gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        if self._config.clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self._config.clip_norm)
        gradients = [self._decayed(g, v) for g, v in zip(gradients, variables)]
        # The optimizer adds up what it gets from the replicas.
        gradients = [gradient / replicas for gradient in gradients]
        target = self._scaler or self.optimizer
        target.apply_gradients(list(zip(gradients, variables)))

    def _decayed(self, gradient, variable):
        if not self._coupled_decay or id(variable) in self._not_decayed:
            return gradient
        return gradient + self._coupled_decay * tf.convert_to_tensor(variable)


class _LossScaler:
    """Keras's dynamic loss scaling, whose interface differs between Keras 2 and 3."""

    def __init__(self, optimizer, variables):
        self.optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer)
        self._keras_2 = hasattr(self.optimizer, "get_scaled_loss")
        if not self._keras_2:
            self.optimizer.build(variables)

    def scale(self, loss):
        return self.optimizer.get_scaled_loss(loss) if self._keras_2 else loss * self._factor()

    def unscale(self, gradients):
        if self._keras_2:
            return self.optimizer.get_unscaled_gradients(gradients)
        return [gradient / self._factor() for gradient in gradients]

    def apply_gradients(self, pairs):
        if not self._keras_2:
            # Keras 3 takes the scale off by itself.
            pairs = [(gradient * self._factor(), variable) for gradient, variable in pairs]
        self.optimizer.apply_gradients(pairs)

    def _factor(self):
        return tf.convert_to_tensor(self.optimizer.dynamic_scale)


def _biases_and_norms(variables):
    names = ("bias", "beta", "gamma")
    return [v for v in variables if v.name.split("/")[-1].split(":")[0].endswith(names)]
