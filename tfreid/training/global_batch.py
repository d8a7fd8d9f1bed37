"""What several devices change in a training: the batch of a step, and the learning rates."""

from __future__ import annotations

import dataclasses
import math

from tfrecords.errors import UserError
from tfreid.config import Config, ScheduleConfig


def batch_of_one(config: Config, unit: str, replicas: int) -> Config:
    """Returns the settings by which each device makes its batches.

    Args:
        config: All settings. With `data.global_batch=keep` the devices share the recipe's batch: P,
            the images or the pairs are divided.
        unit: What a batch consists of; see `System.unit`.
        replicas: Number of devices, over all processes.

    Raises:
        UserError: If it cannot be divided.
    """
    data = config.data
    if replicas == 1 or data.global_batch == "grow":
        return config
    if unit == "pairs":
        name, section = "batch_size", data.pairs
    else:
        section = data
        name = "images_per_batch" if data.sampling == "images" else "identities_per_batch"
    size = getattr(section, name)
    if size % replicas:
        place = f"data.pairs.{name}" if section is data.pairs else f"data.{name}"
        raise UserError(f"{place} is {size}, which {replicas} devices cannot share "
                        "(data.global_batch=keep); choose a multiple, or data.global_batch=grow.")
    section = dataclasses.replace(section, **{name: size // replicas})
    if unit == "pairs":
        section = dataclasses.replace(data, pairs=section)
    return dataclasses.replace(config, data=section)


def scaled(schedule: ScheduleConfig, growth: int) -> ScheduleConfig:
    """Returns the learning rates for batches that are `growth` times the recipe's.

    `schedule.scale_rate=linear` is the rule of Goyal et al., "Accurate, Large Minibatch SGD"
    (2017).
    """
    factor = {"none": 1, "sqrt": math.sqrt(growth), "linear": growth}[schedule.scale_rate]
    return dataclasses.replace(schedule, **{
        name: getattr(schedule, name) * factor
        for name in ("learning_rate", "warmup_start", "final_rate")})


def describe_growth(schedule: ScheduleConfig, unit: str, size: int, replicas: int, steps: int,
                    alone: int) -> str:
    """Describes how devices that have a batch each change the training of a recipe.

    Args:
        schedule: The recipe's schedule.
        unit: What a batch consists of.
        size: Size of one device's batch.
        replicas: Number of devices.
        steps: Steps of an epoch.
        alone: Those on one device.
    """
    rate = schedule.learning_rate
    rates = (f"the learning rate stays {rate:g}" if schedule.scale_rate == "none" else
             f"the learning rate becomes {scaled(schedule, replicas).learning_rate:g}")
    length = "" if steps == alone else f" {steps} steps an epoch instead of {alone} on one;"
    return (f"global batch {replicas * size} = {replicas} devices x {size} {unit};{length} {rates} "
            f"(schedule.scale_rate="
            f"{schedule.scale_rate}); data.global_batch=keep trains with the batch of the recipe")
