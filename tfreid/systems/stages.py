"""From settings to a trained run."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from tfrecords.errors import UserError, find_os_error
from tfrecords.writing import sole_writer
from tfreid.config import Config, flat, load_config, with_derived
from tfreid.config.training import check_length
from tfreid.models.embedding import input_size
from tfreid.records import ImageTable, JoinedRecords, Records, open_training
from tfreid.systems.base import find_set
from tfreid.systems.registry import SYSTEMS, make_system
from tfreid.training.checkpoints import saved_steps
from tfreid.training.dropout_noise import describe_noise
from tfreid.training.global_batch import batch_of_one, describe_growth, scaled
from tfreid.training.identities import check_identities, describe_identities
from tfreid.training.initial_weights import check_converted, describe_initial_weights
from tfreid.training.run_folder import RunFolder, private_copy
from tfreid.training.strategy import join_cluster, make_strategy, prepare_runtime
from tfreid.training.trainer import Trainer
from tfreid.weights.files import save_weights
from tfreid.workers import ALONE, LOST, Resolver, Workers, find_cluster, lost_process, place_in

# What the processes of a training may have each of their own.
_OWN = {"data.records", "data.workers", "data.memory_limit_mb", "training.cluster_timeout"}


def train(config_path: str | None, output: str | Path, overrides: list[str], resume: bool = False,
          command: str = "", variants: Sequence[str] = ()) -> None:
    """Trains a recipe in a run folder, or resumes a run.

    Nothing is written before the settings, the records and the newest checkpoint are checked.

    Args:
        config_path: The recipe; None, when resuming, takes the run's own settings.
        output: The run's folder.
        overrides: `key.sub=value` settings on top.
        resume: Whether to continue the run in `output`; an empty folder starts from the beginning.
        command: Command line, kept in the run's folder.
        variants: Variants of the recipe.

    Raises:
        UserError: If the settings, records or run folder are wrong, another process trains in the
            folder, training failed, or a process that trains with this one was lost.
        Stopped: If SIGINT or SIGTERM stopped it; the run can be resumed.
    """
    folder = RunFolder(output)
    if config_path is None:
        config_path = folder.config
        if not resume or not config_path.exists():
            raise UserError("--config is missing; it can be left out only with --resume of a run.")
    config = load_config(config_path, overrides, variants)
    resolver = find_cluster(config.training.cluster)
    with contextlib.ExitStack() as stack:
        if place_in(resolver) == 0:
            folder.check_usable(resume)
            stack.enter_context(sole_writer(folder.path, "training"))
        else:
            folder = RunFolder(stack.enter_context(private_copy(folder.path, resume)))
        try:
            _train(config, folder, command, resolver)
        except Exception as error:
            if resolver is not None and isinstance(error, LOST):
                raise lost_process(error) from error
            problem = find_os_error(error)
            if problem is None or problem.filename is None or not folder.config.exists():
                raise
            raise UserError(f"{problem.filename}: {problem.strerror}; once that is put right, run "
                            "again with --resume.") from error


def _train(config: Config, folder: RunFolder, command: str | None,
           resolver: Resolver | None) -> None:
    system, earlier = make_system(config), RunFolder(folder.pretraining, outer=folder)
    first, weights = system.pretraining(), None
    for note in _unread(config, first):
        print(f"note: {note}")
    if first is not None and not saved_steps(folder.checkpoints):
        weights = earlier.last_weights
    due = weights is not None and not weights.exists()
    records = {"": open_training(config.data)}
    if due and not _same_images(first, config):
        with _naming_stage():
            records["pretraining"] = open_training(first.data)
    prepare_runtime(config.training)
    strategy, workers = _join(config, records, resolver)
    replicas = strategy.num_replicas_in_sync
    system.check(replicas)
    images = _Images.load(config, records[""])
    check_identities(folder, images.identities, config.data.folders)
    if due:
        config, _ = _resolve(config, folder, images.table, replicas)  # to fail fast
        with _naming_stage():
            make_system(first).check(replicas)
            before = images
            if "pretraining" in records:
                before = _Images.load(first, records["pretraining"])
            check_identities(earlier, before.identities, first.data.folders)
            _check_leads_to(config, make_system(first).resolve(before.table, replicas))
            stage = _Stage(first, earlier, before, strategy, workers)
        folder.start(config, images.identities, command)
        earlier.start(stage.config, before.identities, command)
        stage.train()
        del stage, before  # their memory
        command = None
    stage = _Stage(config, folder, images, strategy, workers, weights)
    folder.start(stage.config, images.identities, command)
    stage.train()


class _Images(NamedTuple):
    """What a stage is trained and evaluated on."""

    records: Records | JoinedRecords
    table: ImageTable
    identities: dict[str, Any]

    @classmethod
    def load(cls, config: Config, records: Records | JoinedRecords) -> _Images:
        table = make_system(config).training_images(records)
        return cls(records, table, describe_identities(table))


def _same_images(one: Config, other: Config) -> bool:
    """Returns whether two stages train on the same images of the same records."""
    return all(getattr(one.data, name) == getattr(other.data, name)
               for name in ("folders", "leave_out", "fold", "subset"))


def _check_leads_to(config: Config, first: Config) -> None:
    """Refuses a training that the weights of the stage before would not fit, before they are made.

    Raises:
        UserError: If the network of `first` has other weights than that of `config`.
    """
    with tempfile.TemporaryDirectory(prefix="tfreid-") as place:
        weights = Path(place) / "stage.weights.h5"
        save_weights(make_system(first).build_model(), weights)
        system = make_system(_starting_from(config, weights))
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints what the weights lack
                system.load_initial_weights(system.build_model())
        except UserError as error:
            raise UserError(str(error).replace(f"in {weights}", "of this stage")) from None


@contextlib.contextmanager
def _naming_stage() -> Iterator[None]:
    """Puts the section before errors that name settings of the stage before."""
    try:
        yield
    except UserError as error:
        raise UserError(f"pretraining: {error}") from error


def _join(config: Config, records: Mapping[str, Records | JoinedRecords],
          resolver: Resolver | None) -> tuple[tf.distribute.Strategy, Workers]:
    """Returns the devices, and the processes that train together once all agree on what.

    Args:
        config: The settings.
        records: The records of each stage that has its own, by the section of its settings.
        resolver: The cluster, if there is one.
    """
    training = config.training
    if resolver is None:
        return make_strategy(training.devices), ALONE
    strategy = join_cluster(resolver, training.devices, training.cluster_timeout)
    workers = Workers(strategy, resolver)
    workers.check_same({
        "TensorFlow": tf.__version__,
        **{name: value for name, value in flat(config).items() if name not in _OWN},
        **{f"{stage} {what}".strip(): checksums for stage, one in records.items()
           for what, checksums in one.checksums.items()},
    })
    return strategy, workers


class _Stage:
    """One training in one folder, restored from its newest checkpoint and ready to start.

    Args:
        config: The settings.
        folder: Its folder, which may not exist yet.
        images: What it is trained and evaluated on.
        strategy: The devices.
        workers: The processes that train together.
        weights: Weights of the stage before, instead of `model.weights`.

    Attributes:
        config: The settings, with derived values filled in.

    Raises:
        UserError: If the settings do not fit the run in the folder, or as in `Trainer`.
    """

    def __init__(self, config: Config, folder: RunFolder, images: _Images,
                 strategy: tf.distribute.Strategy, workers: Workers, weights: Path | None = None):
        prepare_runtime(config.training)  # the same seed wherever the stage before ended
        table, replicas = images.table, strategy.num_replicas_in_sync
        begins = not saved_steps(folder.checkpoints)
        if begins and weights is None:
            check_converted(config.model)
        self.config, batches = _resolve(config, folder, table, replicas, workers)
        system = make_system(self.config, workers)
        start = _starting_from(self.config, weights)
        with strategy.scope():
            model = system.build_model()
            if begins:
                make_system(start).load_initial_weights(model)
        tested = model if workers.count == 1 else system.build_model()
        evaluator = system.make_evaluator(tested, images.records)
        grows = not system.shares_batch and config.data.global_batch == "grow"
        schedule = scaled(config.schedule, replicas if grows else 1)
        self._trainer = Trainer(
            dataclasses.replace(self.config, schedule=schedule), folder, strategy, system, model,
            batches, evaluator, workers, tested)
        self._description = (
            f"{config.name}: {batches.description} {table.place}, {replicas} device(s)"
            + (f", from {describe_initial_weights(start.model)}" if begins else "")
            + (f"; {system.untested}: " if evaluator is None else "; ") + self._trainer.selection)
        self._notes = (_cut_off(self.config) + _cut_off_before(folder)
                       + _seen_only_at_the_end(self.config) + _rounded_otherwise(self.config))
        margin = system.margin()
        if begins and margin is not None:
            self._notes += describe_noise(system.embedding(model), margin, table,
                                          input_size(config.model), strategy)
        if replicas > 1 and grows:
            steps = alone = self.config.training.steps_per_epoch
            if steps == system.steps_per_epoch(batches, replicas):  # derived, now or before
                alone = system.steps_per_epoch(batches, 1)
            self._notes.append(describe_growth(config.schedule, system.unit, batches.batch_size,
                                               replicas, steps, alone))

    def train(self) -> None:
        """Trains to the end, unless a signal stops it."""
        print("\nnote: ".join([self._description, *self._notes]))
        self._trainer.train()


def _resolve(config: Config, folder: RunFolder, table: ImageTable, replicas: int,
             workers: Workers = ALONE):
    """Returns the settings with derived values filled in, checked, and the batches."""
    given = config
    config = make_system(config).resolve(table, replicas)
    unit = make_system(config).unit
    system = make_system(batch_of_one(config, unit, replicas), workers)
    batches = system.make_batches(table)
    steps = _steps_per_epoch(config, folder) or system.steps_per_epoch(batches, replicas)
    training = dataclasses.replace(config.training, steps_per_epoch=steps)
    if not saved_steps(folder.checkpoints):
        check_length(config.name, training, config.schedule)
    config = with_derived(given, dataclasses.replace(config, training=training))
    folder.check_settings(config)
    return config, batches


def _unread(config: Config, first: Config | None) -> list[str]:
    """Names settings of systems that neither the training nor its first stage is of."""
    foreign = SYSTEMS.keys() - {stage.system for stage in (config, first) if stage is not None}
    unread = find_set(config, (key for key in flat(config) if key.partition(".")[0] in foreign))
    if not unread:
        return []
    return [f"{', '.join(unread)}: not read, because system is {config.system}"]


def _rounded_otherwise(config: Config) -> list[str]:
    """Says what keeps a deterministic training on a CPU from the same bits, if anything does."""
    if (not config.training.deterministic or tf.config.list_logical_devices("GPU")
            or os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0"):
        return []
    return ["on a CPU training.deterministic=true gives the same bits only if the variable "
            "TF_ENABLE_ONEDNN_OPTS=0 is set: the sums of oneDNN's convolutions have another order "
            "each time"]


def _cut_off(config: Config) -> list[str]:
    """Describes what the end of the training cuts off."""
    training, notes = config.training, []
    whole = training.epochs * training.steps_per_epoch
    end = min(whole, training.max_steps or whole)
    unused = end % (training.accumulate_steps or 1)
    if unused:
        notes.append(f"the last {unused} of {end} steps change no weights, because "
                     f"{training.accumulate_steps} together make an update")
    for name, epochs in (("schedule.warmup_epochs", config.schedule.warmup_epochs),
                         ("training.frozen_backbone_epochs", training.frozen_backbone_epochs)):
        if end < whole and epochs * training.steps_per_epoch >= end:
            notes.append(f"training.max_steps={training.max_steps} ends within {name}={epochs}")
    return notes


def _cut_off_before(folder: RunFolder) -> list[str]:
    """Says that `training.max_steps` cut the stage before short, if it did."""
    earlier = RunFolder(folder.pretraining)
    if not earlier.config.exists() or not earlier.last_weights.exists():
        return []
    training = load_config(earlier.config).training
    whole = training.epochs * training.steps_per_epoch
    if (training.max_steps or whole) >= whole:
        return []
    return [f"training.max_steps={training.max_steps} ended the stage before, which has {whole} "
            "steps; for a whole one start a new run without it"]


def _seen_only_at_the_end(config: Config) -> list[str]:
    """Says that people who are held out cannot choose weights, if they are ranked once."""
    if not config.data.subset.validation or config.training.evaluate_every:
        return []
    return ["training.evaluate_every=0 ranks the people who are held out at the end alone, when "
            "only the last weights are left to choose; training.evaluate_every=10 does so every 10 "
            "epochs"]


def _starting_from(config: Config, weights: Path | None) -> Config:
    if weights is None:
        return config
    model = dataclasses.replace(config.model, weights=str(weights), imagenet_weights=None)
    return dataclasses.replace(config, model=model)


def _steps_per_epoch(config: Config, run: RunFolder) -> int | None:
    steps = config.training.steps_per_epoch
    if steps is None and run.config.exists():
        # On other devices or records the epoch's length, and so the schedule, would change.
        steps = load_config(run.config).training.steps_per_epoch
    return steps
