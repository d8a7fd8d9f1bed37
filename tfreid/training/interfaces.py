"""Interfaces of the training loop to a system: its batches and its objective."""

from __future__ import annotations

from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.training.summaries import Summaries

Batch = tuple[tf.Tensor, ...]


class Batches(Protocol):
    """Training batches, determined by the epoch.

    Attributes:
        batch_size: Size of one replica's batch, in the system's unit.
        description: Description of the training set, printed at the start.
        error: The cause if a dataset failed with a `tf.errors.OpError`, or None.
        state: State that a checkpoint needs to resume in the middle of an epoch, or None.
        batches_per_preparation: Batches, over all replicas, after which `prepare` is called again,
            or None for every epoch.
    """

    batch_size: int
    description: str
    error: UserError | None
    state: tf.Module | None
    batches_per_preparation: int | None

    def prepare(self, epoch: int, batches: int, first: int,
                model: keras.Model) -> dict[str, float]:
        """Prepares an epoch's batches from `first` on; returns scalars for TensorBoard."""

    def epoch(self, epoch: int, batches: int, first: int = 0,
              part: np.ndarray | slice = slice(None)) -> tf.data.Dataset:
        """Returns the batches `first` to `batches` of an epoch, as the objective takes them.

        `part` selects some of these by their positions; the others' images are not decoded.
        """


class Objective(tf.Module):
    """The objective of a system and its state, made under the strategy's scope."""

    def forward(self, model: keras.Model,
                batch: Batch) -> tuple[tf.Tensor, dict[str, tf.Tensor], Any]:
        """Runs the model in training mode on one replica's batch, in replica context.

        Returns:
            The scalar loss; scalars for TensorBoard, including `loss/total`; and the model's
            outputs, any nest of tensors, for the methods below.
        """
        raise NotImplementedError

    def show_batch(self, summaries: Summaries, batch: Batch) -> None:
        """Shows the first batch; by default the images [n, h, w, 3] that it begins with."""
        summaries.images("training images", batch[0], 0)

    def after_step(self, outputs: Any, batch: Batch) -> None:
        """Updates the objective's state after a step, in replica context."""
        return

    def after_update(self) -> None:
        """Updates the state after the last of several steps that make an update, as above."""
        return

    def watched(self, outputs: Any, batch: Batch) -> Batch:
        """Returns the tensors for `summarize`; those of the first replica are kept."""
        return ()

    def summarize(self, summaries: Summaries, watched: Batch, step: int) -> None:
        """Writes histograms and pictures of a step, every `training.log_every` steps."""

    def warning(self, means: dict[str, float]) -> str | None:
        """Returns a warning about the recent means of the scalars, if they show a problem."""


class Trainee(Protocol):
    """The system, as the training loop uses it.

    Attributes:
        unit: Unit of the batch size, in the plural, for example `images`.
    """

    unit: str

    def make_objective(self, model: keras.Model) -> Objective:
        """Makes the objective, under the strategy's scope."""

    def set_backbone_trainable(self, model: keras.Model, trainable: bool) -> None:
        """Freezes or unfreezes the backbone for `training.frozen_backbone_epochs`."""
