"""What training asks of a system: its batches, its objective, its evaluation."""

from __future__ import annotations

from typing import Any, Protocol

import keras
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.config import Config
from tfreid.data.tables import ImageTable
from tfreid.evaluation.features import Projection
from tfreid.training.summaries import Summaries

Batch = tuple[tf.Tensor, ...]
NO_TEST_SPLITS = "the records hold no query and gallery"


class Batches(Protocol):
    """Training batches, the same for the same epoch however often they are read.

    Attributes:
        batch_size: Items of one replica's batch, in the system's unit.
        error: What made a dataset fail with a `tf.errors.OpError`, or None.
        state: What a checkpoint must keep of them for an epoch to be resumed in its middle, or
            None.
    """

    batch_size: int
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


class Evaluation(Protocol):
    """The outcome of one evaluation.

    Attributes:
        main_figure: What the best weights have the highest of.
    """

    main_figure: float

    def scalars(self) -> dict[str, float]:
        """Returns TensorBoard's points by tag."""

    def progress(self) -> dict[str, float]:
        """Returns the figures that `progress.json` keeps."""

    def headline(self) -> str:
        """Returns the figures in a few words."""

    def as_dict(self) -> dict[str, Any]:
        """Returns what `results.json` holds."""

    def projection(self) -> Projection | None:
        """Returns gallery features for TensorBoard's projector, where the system has such."""

    def thresholds(self) -> dict[str, Any] | None:
        """Returns what `thresholds.json` is to hold, where the evaluation calibrated some."""


class Evaluator(Protocol):
    """Tests a model while it is trained, with whatever weights it has at the moment."""

    def try_out(self) -> None:
        """Runs a tiny evaluation, so that a broken one fails before hours of training."""

    def evaluate(self, progress: bool = True, max_queries: int | None = None) -> Evaluation:
        """Evaluates with all queries, or with `max_queries` of them."""


class System(Protocol):
    """One way to re-identify people, as far as training must know it.

    Attributes:
        unit: What a batch counts, in the plural, such as `images`.
        untested: Why there is no evaluator where there is none.
    """

    unit: str
    untested: str

    def check(self, config: Config, replicas: int) -> None:
        """Refuses settings that this system cannot be trained with, before anything is loaded.

        Raises:
            UserError: There are such.
        """

    def pretraining(self, config: Config) -> Config | None:
        """Returns the settings of a training that comes before, or None where there is none.

        Its last weights are then the initial ones, as `model.weights`.
        """

    def resolve(self, config: Config, table: ImageTable, replicas: int) -> Config:
        """Returns the settings with what the training images and the devices decide.

        Raises:
            UserError: The settings contradict the images.
        """

    def make_batches(self, table: ImageTable, config: Config) -> Batches:
        """Makes the training batches.

        Raises:
            UserError: There are too few images or identities.
        """

    def steps_per_epoch(self, batches: Batches, replicas: int) -> int:
        """Returns how many steps an epoch has where `training.steps_per_epoch` is null."""

    def describe(self, table: ImageTable, batches: Batches) -> str:
        """Returns what is trained on, for the line printed at the start."""

    def build_model(self, config: Config) -> keras.Model:
        """Builds the model; called under the strategy's scope.

        Raises:
            UserError: The settings contradict each other.
        """

    def load_weights(self, model: keras.Model, config: Config) -> None:
        """Gives the model its initial weights, where `model.weights` names some.

        Raises:
            UserError: The weights are missing or do not fit.
        """

    def set_backbone_trainable(self, model: keras.Model, trainable: bool) -> None:
        """Freezes or frees what `training.frozen_backbone_epochs` is about."""

    def make_objective(self, config: Config, model: keras.Model) -> Objective:
        """Makes the objective; called under the strategy's scope."""

    def make_evaluator(self, model: keras.Model, config: Config) -> Evaluator | None:
        """Makes the evaluator; None where the records hold nothing to test on.

        Raises:
            UserError: The records are broken, or settings of the evaluation are.
        """
