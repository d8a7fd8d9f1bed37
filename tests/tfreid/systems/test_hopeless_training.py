"""Trainings from which nothing can be learned are refused, or said to learn less, before step 0."""

from __future__ import annotations

import types

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.config import (
    Config,
    DataConfig,
    IdLossConfig,
    LossConfig,
    ScheduleConfig,
    TrainingConfig,
    TripletLossConfig,
)
from tfreid.records import Records
from tfreid.systems.embedding.system import EmbeddingSystem
from tfreid.systems.stages import _cut_off


@pytest.fixture(scope="module")
def table(records):
    return Records(records)["train"].load()


def config(identities: int = 4, id_weight: float = 0.0, triplet: float = 1.0) -> Config:
    return Config(data=DataConfig(records="records", identities_per_batch=identities),
                  loss=LossConfig(id=IdLossConfig(weight=id_weight),
                                  triplet=TripletLossConfig(weight=triplet)))


def test_one_identity_is_refused(table):
    one = table.take(np.flatnonzero(table.index.labels == 0))
    records = types.SimpleNamespace(load_training=lambda *_: one)
    with pytest.raises(UserError, match="only one training identity"):
        EmbeddingSystem(config()).training_images(records)


def test_a_batch_of_one_identity_has_no_negative_pairs():
    with pytest.raises(UserError, match="identities_per_batch=1 gives batches without negative"):
        EmbeddingSystem(config(identities=1)).check(1)
    EmbeddingSystem(config(identities=1, id_weight=1.0, triplet=0.0)).check(1)
    EmbeddingSystem(config(identities=2)).check(1)


def test_people_with_one_image_have_no_positive_pairs(table, recwarn):
    """Of the batch's 4 of 8 people, 4 * able / 8 have two images."""
    first = np.unique(table.index.labels, return_index=True)[1]
    single = table.take(first)
    with pytest.raises(UserError, match="no training identity has two images"):
        EmbeddingSystem(config()).make_batches(single)
    with pytest.warns(UserWarning, match="of the 4 people of a batch only 0 have two images"):
        EmbeddingSystem(config(id_weight=1.0)).make_batches(single)
    of_three = np.flatnonzero(table.index.labels < 3)
    with pytest.warns(UserWarning, match=r"only 1.5 have two images \(3 of 8"):
        EmbeddingSystem(config()).make_batches(table.take(np.union1d(first, of_three)))
    recwarn.clear()
    EmbeddingSystem(config()).make_batches(table)
    assert not recwarn.list


def test_what_the_end_cuts_off_is_said():
    def notes(warmup=0, **training):
        return _cut_off(Config(training=TrainingConfig(epochs=3, steps_per_epoch=4, **training),
                               schedule=ScheduleConfig(warmup_epochs=warmup)))

    assert notes() == notes(accumulate_steps=6) == notes(warmup=3) == []
    assert notes(accumulate_steps=5) == [
        "the last 2 of 12 steps change no weights, because 5 together make an update"]
    assert notes(max_steps=8, warmup=1) == []
    assert notes(max_steps=8, warmup=2, frozen_backbone_epochs=2) == [
        "training.max_steps=8 ends within schedule.warmup_epochs=2",
        "training.max_steps=8 ends within training.frozen_backbone_epochs=2"]
