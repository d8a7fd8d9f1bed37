"""From gradients to weights: learning rate, Adam and SGD, accumulation, moving average."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import keras
import tensorflow as tf

from tfreid.config import OptimizerConfig, ScheduleConfig


def learning_rate_at(config: ScheduleConfig, epoch: int, epochs: int) -> float:
    """Computes the learning rate of one epoch, from 0, in a training of `epochs`.

    Linear warm-up from `warmup_start` in epoch 0 to `learning_rate` in the last warm-up epoch, then
    steps at `decay_epochs`, a cosine or an exponential decay; with the defaults, Eq. 2 of Luo et
    al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification" (2019).
    """
    peak = config.learning_rate
    if epoch < config.warmup_epochs:
        share = epoch / max(1, config.warmup_epochs - 1)
        return config.warmup_start + share * (peak - config.warmup_start)
    since = epoch - config.warmup_epochs
    if config.decay == "exponential" and config.half_life:
        return peak * 0.5 ** (since / config.half_life)
    if config.decay == "exponential":
        # The last epoch has the final rate.
        done = since / max(1, epochs - config.warmup_epochs - 1)
        return peak * (config.final_rate / peak) ** done
    if config.decay == "cosine":
        done = since / max(1, epochs - config.warmup_epochs)
        return config.final_rate + (peak - config.final_rate) * (1 + math.cos(math.pi * done)) / 2
    passed = sum(epoch >= decay_epoch for decay_epoch in config.decay_epochs)
    return peak * config.decay_factor**passed


class GradientApplier:
    """Updates the weights by the gradients of all replicas; made under the strategy's scope.

    Args:
        config: The `optimizer` section.
        variables: All weights that may ever be trained.
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
        """The object that a checkpoint saves."""
        return self._scaler.optimizer if self._scaler else self.optimizer

    def set_learning_rate(self, rate: float) -> None:
        """Sets the learning rate."""
        self.optimizer.learning_rate = rate

    def scale(self, loss: tf.Tensor) -> tf.Tensor:
        """Returns the loss whose gradients `apply` expects."""
        return self._scaler.scale(loss) if self._scaler else loss

    def apply(self, gradients: list[tf.Tensor], variables: list) -> None:
        """Averages gradients over replicas, clips, adds decay and updates, in replica context."""
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
        # The optimizer sums over the replicas.
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
            # Keras 3 removes the scale itself.
            pairs = [(gradient * self._factor(), variable) for gradient, variable in pairs]
        self.optimizer.apply_gradients(pairs)

    def _factor(self):
        return tf.convert_to_tensor(self.optimizer.dynamic_scale)


def _biases_and_norms(variables):
    names = ("bias", "beta", "gamma")
    return [v for v in variables if v.name.split("/")[-1].split(":")[0].endswith(names)]


class GradientAccumulator(tf.Module):
    """Accumulates gradients over steps; checkpoints contain the sums.

    Made under the strategy's scope, called in replica context; every replica has its own sums.

    Args:
        variables: All weights that may ever be trained.
        steps: Number of steps whose gradients are averaged.
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
        """Returns the mean gradients of some of the weights and resets the sums."""
        sums = self._sums_of(variables)
        means = [total.read_value() / self.steps for total in sums]
        with tf.control_dependencies(means):
            for total in self.sums:
                total.assign(tf.zeros(total.shape))
        return means

    def _sums_of(self, variables):
        return [self.sums[self._places[id(variable)]] for variable in variables]


class WeightAverage(tf.Module):
    """An exponential moving average of a model's weights, including batch-norm statistics.

    Args:
        model: The model.
        momentum: In (0, 1). At step n it is at most n / (n + 9), which reduces the influence of the
            initial weights.
    """

    def __init__(self, model: keras.Model, momentum: float):
        super().__init__(name="weight_average")
        self._weights = list(model.weights)
        self._momentum = momentum
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.averages = [tf.Variable(w, trainable=False) for w in model.get_weights()]

    def update(self) -> None:
        """Updates the average by the current weights, in cross-replica context."""
        steps = tf.cast(self.steps.assign_add(1), tf.float32)
        momentum = tf.minimum(self._momentum, steps / (steps + 9.0))
        for average, weight in zip(self.averages, self._weights):
            step = tf.cast(1.0 - momentum, average.dtype)
            average.assign_add(step * (tf.convert_to_tensor(weight) - average))

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Sets the model's weights to their averages inside a `with` block."""
        own = [weight.numpy() for weight in self._weights]
        self._assign([average.numpy() for average in self.averages])
        try:
            yield
        finally:
            self._assign(own)

    def _assign(self, values):
        for weight, value in zip(self._weights, values):
            weight.assign(value)
