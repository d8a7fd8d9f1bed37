"""Batches and learning rates of several devices."""

from __future__ import annotations

import dataclasses

import pytest

from tfrecords.errors import UserError
from tfreid.config import Config, ScheduleConfig, load_config
from tfreid.training.global_batch import batch_of_one, describe_growth, scaled


def config_of(*overrides: str) -> Config:
    return load_config("bot_osnet_x025", overrides)


@pytest.mark.parametrize("unit, overrides, expected", [
    ("images", [], (4, 128, 128)),  # P of 16 x 4 images
    ("images", ["data.sampling=images"], (16, 32, 128)),
    ("pairs", [], (16, 128, 32)),
])
def test_devices_divide_the_batch_that_is_kept(unit, overrides, expected):
    kept = batch_of_one(config_of("data.global_batch=keep", *overrides), unit, 4).data
    assert (kept.identities_per_batch, kept.images_per_batch, kept.pairs.batch_size) == expected
    assert kept.images_per_identity == 4


def test_each_device_has_a_whole_batch_otherwise():
    config = config_of()
    assert batch_of_one(config, "images", 4) is config
    alone = batch_of_one(config_of("data.global_batch=keep"), "images", 1)
    assert alone.data.images_per_batch == 128


def test_refuses_what_cannot_be_divided():
    with pytest.raises(UserError, match="identities_per_batch is 16, which 3 devices cannot share"):
        batch_of_one(config_of("data.global_batch=keep"), "images", 3)
    with pytest.raises(UserError, match="data.pairs.batch_size"):
        batch_of_one(config_of("data.global_batch=keep"), "pairs", 3)


@pytest.mark.parametrize("rule, factor", [("none", 1), ("sqrt", 3), ("linear", 9)])
def test_all_rates_are_scaled(rule, factor):
    schedule = ScheduleConfig(
        scale_rate=rule, learning_rate=0.1, warmup_start=0.01, final_rate=1e-3)
    found = scaled(schedule, 9)
    assert (found.learning_rate, found.warmup_start, found.final_rate) == pytest.approx(
        (0.1 * factor, 0.01 * factor, 1e-3 * factor))
    assert dataclasses.replace(found, learning_rate=0.1, warmup_start=0.01, final_rate=1e-3) == (
        schedule)


def test_growth_is_described():
    assert describe_growth(ScheduleConfig(scale_rate="linear"), "images", 64, 8, 25, 202) == (
        "global batch 512 = 8 devices x 64 images; 25 steps an epoch instead of 202 on one; the "
        "learning rate becomes 0.0028 (schedule.scale_rate=linear); data.global_batch=keep trains "
        "with the batch of the recipe")
