"""Train steps and feature extraction on random images."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from tfreid.benchmarks.measuring import describe_network, random_images, rounded, timed
from tfreid.config import Config
from tfreid.records import ImageTable, SplitIndex
from tfreid.systems.base import MARKET_IDENTITIES
from tfreid.systems.registry import make_system
from tfreid.training.optimizers import GradientApplier
from tfreid.training.step import TrainStep
from tfreid.training.strategy import make_strategy, prepare_runtime

_CAMERAS = 2
_CROP = (128, 64)
_DIFFERENT_IMAGES = 64


def measure_training(config: Config, steps: int, warm_up: int) -> dict[str, Any]:
    """Times whole train steps on one batch, after `warm_up` steps that compile.

    Raises:
        UserError: If the settings contradict each other.
    """
    prepare_runtime(config.training)
    strategy = make_strategy(config.training.devices)
    system, replicas = make_system(config), strategy.num_replicas_in_sync
    system.check(replicas)
    table = _random_table(config)
    config = system.resolve(table, replicas)
    system = make_system(config)
    batches = system.make_batches(table)
    with strategy.scope():
        model = system.build_model()
        objective = system.make_objective(model)
        applier = GradientApplier(
            config.optimizer, list(model.trainable_variables),
            loss_scaling=config.training.precision == "mixed_float16",
        )
    step = TrainStep(strategy, model, objective, applier, jit_compile=config.training.jit_compile)
    epoch = (config.training.steps_per_epoch or 1) * replicas
    dataset = tf.data.Dataset.from_tensors(next(iter(batches.epoch(0, epoch))))
    batch = next(iter(strategy.distribute_datasets_from_function(
        lambda _: dataset.repeat(replicas))))

    def run(count):
        for _ in range(count):
            scalars, _ = step(batch)
        float(scalars["loss/total"])  # waits for the device

    run(warm_up)
    wall, _ = timed(lambda: run(steps))
    size = batches.batch_size * replicas
    return {**describe_network(config, system.describe_network()),
            "batch_size": size, "batch_of": system.unit,
            "images_per_batch": batches.images_per_batch * replicas, "replicas": replicas,
            f"{system.unit}_per_second": rounded(steps * size / wall)}


def measure_inference(config: Config, steps: int, warm_up: int) -> dict[str, Any]:
    """Times the extraction of features from random images."""
    prepare_runtime(config.training)
    system = make_system(config)
    predict = tf.function(system.make_extractor())
    size = (config.model.height, config.model.width)
    images = tf.constant(random_images(config.data.eval_batch_size, *size))

    def run(count):
        for _ in range(count):
            tf.nest.map_structure(lambda x: x.numpy(), predict(images))

    run(warm_up)
    wall, _ = timed(lambda: run(steps))
    return {**describe_network(config, system.describe_network()), "batch_size": len(images),
            "images_per_second": rounded(steps * len(images) / wall)}


def _random_table(config: Config) -> ImageTable:
    """Images of as many identities as Market-1501 trains on, each by two cameras."""
    identities = config.model.num_identities or MARKET_IDENTITIES
    files = [cv2.imencode(".jpg", image)[1].tobytes()
             for image in random_images(_DIFFERENT_IMAGES, *_CROP)]
    labels = np.repeat(np.arange(identities), _CAMERAS)
    encoded = [files[row % len(files)] for row in range(len(labels))]
    cameras = np.tile(np.arange(_CAMERAS), identities)
    height, width = _CROP
    index = SplitIndex(
        labels, labels, cameras, np.full(len(labels), "random"), np.full(len(labels), -1),
        np.full(len(labels), height), np.full(len(labels), width))
    return ImageTable(encoded, index, sum(map(len, files)) / 1e6)
