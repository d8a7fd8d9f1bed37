"""From settings to a trained run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tfrecords.errors import UserError
from tfreid.config import load_config
from tfreid.data.records import load_table, split_size
from tfreid.settings import Config
from tfreid.training.run_folder import RunFolder, start_run
from tfreid.training.strategy import make_strategy, prepare_runtime
from tfreid.training.systems import SYSTEMS
from tfreid.training.trainer import Trainer


def train(
    config_path: str | None,
    output: str | Path,
    overrides: list[str],
    resume: bool = False,
    command: str = "",
) -> bool:
    """Trains a recipe in a run folder, or goes on with a run.

    Args:
        config_path: The recipe; None, when resuming, takes the run's own settings.
        output: The run's folder.
        overrides: `key.sub=value` settings on top.
        resume: Whether to continue the run in `output`; an empty folder starts from the beginning.
        command: Command line, kept in the run's folder.

    Returns:
        Whether training reached its end.

    Raises:
        UserError: A mistake in settings, records or run folder, or training that failed.
    """
    if config_path is None:
        config_path = RunFolder(Path(output)).config
        if not resume or not config_path.exists():
            raise UserError("--config is missing; it can be left out only with --resume of a run.")
    config = load_config(config_path, overrides)
    _check_records(config)
    prepare_runtime(config.training)
    strategy = make_strategy(config.training.devices)
    system, replicas = SYSTEMS[config.system], strategy.num_replicas_in_sync
    system.check(config, replicas)
    table = load_table(config.data.records, "train", config.data.verify, config.data.split)
    config = system.resolve(config, table)
    batches = system.make_batches(table, config)
    folder = RunFolder(Path(output))
    steps = _steps_per_epoch(config, folder) or system.steps_per_epoch(batches, replicas)
    training = dataclasses.replace(config.training, steps_per_epoch=steps)
    config = dataclasses.replace(config, training=training)
    with strategy.scope():
        model = system.build_model(config)
        if not any(folder.checkpoints.glob("step-*.index")):
            system.load_weights(model, config)
    evaluator = system.make_evaluator(model, config)
    run = start_run(output, config, command, resume)
    print(f"{config.name}: {system.describe(table, batches)}, {replicas} device(s)"
          + ("" if evaluator else "; the records hold no query and gallery: no evaluation"))
    return Trainer(config, run, strategy, system, model, batches, evaluator).train()


def _check_records(config: Config) -> None:
    records = config.data.records
    if records is None:
        raise UserError("data.records is not set; give the folder of the built records, such as "
                        "data.records=records/market1501.")
    _, identities = split_size(records, "train", config.data.split)
    if not identities:
        raise UserError(f"{records}: the train split is empty.")


def _steps_per_epoch(config: Config, run: RunFolder) -> int | None:
    steps = config.training.steps_per_epoch
    if steps is None and run.config.exists():
        # On other devices or records an epoch would have another length, and the schedule jump.
        steps = load_config(run.config).training.steps_per_epoch
    return steps
