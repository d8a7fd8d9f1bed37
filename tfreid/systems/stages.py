"""From settings to a trained run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.config import Config, load_config
from tfreid.config.training import check_length
from tfreid.records import ImageTable, Records, open_records
from tfreid.systems.registry import make_system
from tfreid.training.run_folder import RunFolder, start_run
from tfreid.training.strategy import make_strategy, prepare_runtime
from tfreid.training.trainer import Trainer


def train(config_path: str | None, output: str | Path, overrides: list[str], resume: bool = False,
          command: str = "", variants: Sequence[str] = ()) -> bool:
    """Trains a recipe in a run folder, or resumes a run.

    Args:
        config_path: The recipe; None, when resuming, takes the run's own settings.
        output: The run's folder.
        overrides: `key.sub=value` settings on top.
        resume: Whether to continue the run in `output`; an empty folder starts from the beginning.
        command: Command line, kept in the run's folder.
        variants: Variants of the recipe.

    Returns:
        Whether training reached its end.

    Raises:
        UserError: If the settings, records or run folder are wrong, or training failed.
    """
    if config_path is None:
        config_path = RunFolder(Path(output)).config
        if not resume or not config_path.exists():
            raise UserError("--config is missing; it can be left out only with --resume of a run.")
    config = load_config(config_path, overrides, variants)
    records = open_records(config.data)
    prepare_runtime(config.training)
    strategy = make_strategy(config.training.devices)
    system, replicas = make_system(config), strategy.num_replicas_in_sync
    system.check(replicas)
    table = system.training_images(records)
    folder = RunFolder(Path(output))
    first = system.pretraining()
    if first is None or _has_checkpoints(folder):
        stage = _Stage(config, folder, table, records, strategy)
        start_run(output, stage.config, command, resume)
        return stage.train()
    config, _ = _resolve(config, folder, table, replicas)  # to fail fast
    earlier = RunFolder(folder.pretraining)
    stage = None
    if not earlier.last_weights.exists():
        make_system(first).check(replicas)
        stage = _Stage(first, earlier, table, records, strategy)
    start_run(output, config, command, resume)
    if stage is not None:
        start_run(earlier.path, stage.config, command, resume=True)
        if not stage.train():
            return False
        del stage  # its memory
    return _Stage(config, folder, table, records, strategy, earlier.last_weights).train()


class _Stage:
    """One training in one folder, ready to start.

    Args:
        config: The settings.
        folder: Its folder, which may not exist yet.
        table: The training images.
        records: The records to evaluate on.
        strategy: The devices.
        weights: Weights of the stage before, instead of `model.weights`.

    Attributes:
        config: The settings, with derived values filled in.
    """

    def __init__(self, config: Config, folder: RunFolder, table: ImageTable, records: Records,
                 strategy: tf.distribute.Strategy, weights: Path | None = None):
        prepare_runtime(config.training)  # the same seed wherever the stage before ended
        self._folder, self._strategy = folder, strategy
        replicas = strategy.num_replicas_in_sync
        self.config, self._batches = _resolve(config, folder, table, replicas)
        self._system = system = make_system(self.config)
        with strategy.scope():
            self._model = system.build_model()
            if not _has_checkpoints(folder):
                start = make_system(_starting_from(self.config, weights))
                start.load_initial_weights(self._model)
        self._evaluator = system.make_evaluator(self._model, records)
        self._description = (
            f"{config.name}: {self._batches.description} {table.place}, {replicas} device(s)"
            + ("" if self._evaluator else f"; {system.untested}: no evaluation"))

    def train(self) -> bool:
        """Trains from the newest checkpoint on; returns whether training reached its end."""
        print(self._description)
        return Trainer(self.config, self._folder, self._strategy, self._system, self._model,
                       self._batches, self._evaluator).train()


def _resolve(config: Config, folder: RunFolder, table: ImageTable, replicas: int):
    """Returns the settings with derived values filled in, and the batches."""
    config = make_system(config).resolve(table, replicas)
    system = make_system(config)
    batches = system.make_batches(table)
    steps = _steps_per_epoch(config, folder) or system.steps_per_epoch(batches, replicas)
    training = dataclasses.replace(config.training, steps_per_epoch=steps)
    if not _has_checkpoints(folder):
        check_length(config.name, training, config.schedule)
    return dataclasses.replace(config, training=training), batches


def _starting_from(config: Config, weights: Path | None) -> Config:
    if weights is None:
        return config
    model = dataclasses.replace(config.model, weights=str(weights), imagenet_weights=None)
    return dataclasses.replace(config, model=model)


def _has_checkpoints(folder: RunFolder) -> bool:
    return any(folder.checkpoints.glob("step-*.index"))


def _steps_per_epoch(config: Config, run: RunFolder) -> int | None:
    steps = config.training.steps_per_epoch
    if steps is None and run.config.exists():
        # On other devices or records the epoch's length, and so the schedule, would change.
        steps = load_config(run.config).training.steps_per_epoch
    return steps
