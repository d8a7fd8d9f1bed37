"""What the training loop asks of a system: its batches and its objective."""

from __future__ import annotations

from typing import Any, Protocol

import keras
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.training.summaries import Summaries

Batch = tuple[tf.Tensor, ...]


class Batches(Protocol):
    """Training batches, the same for the same epoch however often they are read.

    Attributes:
        batch_size: Items of one replica's batch, in the system's unit.
        description: What is trained on, for the line printed at the start.
        error: What made a dataset fail with a `tf.errors.OpError`, or None.
        state: What a checkpoint must keep of them for an epoch to be resumed in its middle, or
            None.
    """

    batch_size: int
    description: str
    error: UserError | None
    state: tf.Module | None

    def prepare(self, epoch: int, first: int, model: keras.Model) -> dict[str, float]:
        """Makes an epoch's batches ready, from the batch `first` on; called before `epoch`.

        Returns:
            Scalars for TensorBoard.
        """

    def epoch(self, epoch: int, batches: int, first: int = 0) -> tf.data.Dataset:
        """Returns the batches `first` to `batches` of an epoch, each a tuple of tensors.

        Training does not look into them, it hands them to the objective.
        """


class Objective(tf.Module):
    """What a system minimises, and its own state; made under the strategy's scope."""

    def forward(
        self, model: keras.Model, batch: Batch
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor], Any]:
        """Runs the model in training mode on one replica's batch; called in replica context.

        Returns:
            The scalar loss; the scalars worth plotting, among them `loss/total`; and the model's
            outputs, any nest of tensors, for the methods below.
        """
        raise NotImplementedError

    def show_batch(self, summaries: Summaries, batch: Batch) -> None:
        """Draws the images of a training's first batch; here the first tensor [n, h, w, 3]."""
        summaries.images("training images", batch[0], 0)

    def after_step(self, outputs: Any, batch: Batch) -> None:
        """Changes the objective's state after a step; called in replica context."""
        return

    def watched(self, outputs: Any, batch: Batch) -> Batch:
        """Returns the tensors that `summarize` is to show; those of the first replica are kept."""
        return ()

    def summarize(self, summaries: Summaries, watched: Batch, step: int) -> None:
        """Writes histograms and pictures of one step; called at every `training.log_every`-th."""

    def warning(self, means: dict[str, float]) -> str | None:
        """Says what is wrong with a training whose latest scalars have these means, if anything."""


class Trainee(Protocol):
    """What the loop asks of a system.

    Attributes:
        unit: What a batch counts, in the plural, such as `images`.
    """

    unit: str

    def make_objective(self, model: keras.Model) -> Objective:
        """Makes the objective; called under the strategy's scope."""

    def set_backbone_trainable(self, model: keras.Model, trainable: bool) -> None:
        """Freezes or frees what `training.frozen_backbone_epochs` is about."""
