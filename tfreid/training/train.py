"""From settings to a trained run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras

from tfrecords.errors import UserError
from tfrecords.manifest import Manifest, read_manifest
from tfreid.config import load_config
from tfreid.data.pipeline import IdentityBatches
from tfreid.data.records import load_table
from tfreid.evaluation.features import Evaluator
from tfreid.models.embedding import HEAD_LAYERS, build_embedding_model
from tfreid.settings import Config
from tfreid.training.objective import check_losses
from tfreid.training.run_folder import RunFolder, start_run
from tfreid.training.strategy import make_strategy, prepare_runtime
from tfreid.training.trainer import Trainer
from tfreid.weights.files import load_weights
from tfreid.weights.keras_applications import DEPTHS as IMAGENET_DEPTHS
from tfreid.weights.keras_applications import load_imagenet_resnet


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
    manifest = read_manifest(_records(config))
    prepare_runtime(config.training)
    strategy = make_strategy(config.training.devices)
    check_losses(config.loss, config.training.jit_compile, strategy.num_replicas_in_sync)
    config = _resolved(config, manifest, strategy.num_replicas_in_sync, RunFolder(Path(output)))
    table = load_table(config.data.records, "train", config.data.verify)
    batches = IdentityBatches(
        table, config.data, config.model.height, config.model.width, config.training.seed
    )
    with strategy.scope():
        model = build_embedding_model(config.model)
        if not any(RunFolder(Path(output)).checkpoints.glob("step-*.index")):
            _load_initial_weights(model, config)
    evaluator = None
    if {"query", "gallery"} <= manifest.splits.keys():
        evaluator = Evaluator(model, config)
    run = start_run(output, config, command, resume)
    print(f"{config.name}: {len(table.index)} images of {config.model.num_identities} identities "
          f"in memory ({table.megabytes:.0f} MB), {strategy.num_replicas_in_sync} device(s)"
          + ("" if evaluator else "; the records hold no query and gallery: no evaluation"))
    return Trainer(config, run, strategy, model, batches, evaluator).train()


def _records(config: Config) -> str:
    if config.data.records is None:
        raise UserError("data.records is not set; give the folder of the built records, such as "
                        "data.records=records/market1501.")
    return config.data.records


def _resolved(config: Config, manifest: Manifest, replicas: int, run: RunFolder) -> Config:
    """Returns the settings with the number of identities and the length of an epoch."""
    if "train" not in manifest.splits:
        raise UserError(f"{config.data.records}: the records hold no train split.")
    identities = manifest.splits["train"].identities
    if not identities:
        raise UserError(f"{config.data.records}: the train split is empty.")
    if config.model.num_identities not in (None, identities):
        raise UserError(
            f"model.num_identities is {config.model.num_identities} but {config.data.records} "
            f"holds {identities} training identities; set it to {identities} or to null."
        )
    steps = config.training.steps_per_epoch
    if steps is None and run.config.exists():
        # On other devices or records an epoch would have another length, and the schedule jump.
        steps = load_config(run.config).training.steps_per_epoch
    batch_size = config.data.identities_per_batch * config.data.images_per_identity * replicas
    steps = steps or max(1, manifest.splits["train"].images // batch_size)
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, num_identities=identities),
        training=dataclasses.replace(config.training, steps_per_epoch=steps),
    )


def _load_initial_weights(model: keras.Model, config: Config) -> None:
    weights = config.model.weights
    if config.model.imagenet_weights and weights != "imagenet":
        raise UserError("model.imagenet_weights needs model.weights=imagenet; set both or neither.")
    if weights == "imagenet":
        if config.model.backbone not in IMAGENET_DEPTHS:
            raise UserError(
                f"model.weights=imagenet exists for {', '.join(IMAGENET_DEPTHS)} only, not for "
                f"{config.model.backbone}; give a .weights.h5 file or null."
            )
        source = config.model.imagenet_weights or "imagenet"
        load_imagenet_resnet(model, config.model.backbone, source)
    elif weights is not None:
        # Another dataset has other identities: its classifier is of no use here. ImageNet's weights
        # have no neck and no embedding.
        heads = tuple(f"{layer}/" for layer in HEAD_LAYERS)
        report = load_weights(model, weights, skip=("classifier/",), allow_missing=heads)
        if report.missing:
            print(f"{weights} has no {', '.join(report.missing)}: trained from initial values")
