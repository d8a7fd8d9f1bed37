from __future__ import annotations

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.config import ScheduleConfig, TrainingConfig
from tfreid.config.training import check_length
from tfreid.training.optimizers import learning_rate_at


def test_defaults_are_bag_of_tricks():
    # Luo et al., Eq. 2, in epochs t from 1: 3.5e-5 * t to t = 10, then 3.5e-4, 3.5e-5, 3.5e-6.
    config = ScheduleConfig()
    rates = {t: learning_rate_at(config, t - 1, 120) for t in range(1, 121)}
    for t in range(1, 11):
        assert rates[t] == pytest.approx(3.5e-5 * t)
    assert rates[11] == rates[40] == pytest.approx(3.5e-4)
    assert rates[41] == rates[70] == pytest.approx(3.5e-5)
    assert rates[71] == rates[120] == pytest.approx(3.5e-6)


def test_cosine_goes_from_peak_to_final_rate():
    config = ScheduleConfig(
        learning_rate=1.0, warmup_start=0.5, warmup_epochs=1, decay="cosine", final_rate=0.2
    )
    rates = [learning_rate_at(config, epoch, 5) for epoch in range(5)]
    # Epoch 0 warms up; then 0.2 + 0.8 * (1 + cos(pi * k / 4)) / 2 for k = 0..3.
    expected = [1.0] + [0.2 + 0.4 * (1 + np.cos(np.pi * k / 4)) for k in range(4)]
    np.testing.assert_allclose(rates[1:], expected[1:])


def test_one_warmup_epoch_is_at_the_start_rate_and_none_means_none():
    config = ScheduleConfig(learning_rate=1.0, warmup_start=0.1, warmup_epochs=1)
    assert learning_rate_at(config, 0, 10) == pytest.approx(0.1)
    assert learning_rate_at(config, 1, 10) == 1.0
    config = ScheduleConfig(learning_rate=1.0, warmup_epochs=0)
    assert learning_rate_at(config, 0, 10) == 1.0


def test_exponential_decay_halves_or_ends_at_the_final_rate():
    """A mining round of 16 updates an epoch: half after 512 updates (Almazan et al. 2018)."""
    ranking = ScheduleConfig(learning_rate=1e-3, warmup_epochs=0, decay="exponential",
                             half_life=32)
    rates = [learning_rate_at(ranking, epoch, 256) for epoch in (0, 16, 32, 64, 255)]
    expected = [1e-3, 1e-3 / 2**0.5, 5e-4, 2.5e-4, 1e-3 * 2 ** (-255 / 32)]
    np.testing.assert_allclose(rates, expected)
    classifier = ScheduleConfig(learning_rate=1e-2, warmup_epochs=0, decay="exponential",
                                final_rate=1e-4)
    rates = [learning_rate_at(classifier, epoch, 5) for epoch in range(5)]
    np.testing.assert_allclose(rates, np.geomspace(1e-2, 1e-4, 5))
    with pytest.raises(ValueError, match="half_life or a final_rate"):
        ScheduleConfig(decay="exponential")


@pytest.mark.parametrize(("schedule", "training", "words"), [
    ({"warmup_epochs": 4}, {}, "schedule.warmup_epochs is 4, but training.epochs only 3"),
    ({}, {"frozen_backbone_epochs": 4}, "training.frozen_backbone_epochs is 4"),
    ({}, {"accumulate_steps": 13}, "13 steps make an update, but the training has only 12"),
    ({}, {"accumulate_steps": 3, "max_steps": 2}, "has only 2,"),
])
def test_a_training_that_ends_before_its_settings_take_effect_is_refused(
        schedule, training, words):
    lengths = {"epochs": 3, "steps_per_epoch": 4}
    with pytest.raises(UserError, match=words):
        check_length("run", TrainingConfig(**lengths, **training),
                     ScheduleConfig(**{"warmup_epochs": 3, **schedule}))
    check_length("run", TrainingConfig(**lengths, frozen_backbone_epochs=3, accumulate_steps=12),
                 ScheduleConfig(warmup_epochs=3))
    check_length("run", TrainingConfig(**lengths, max_steps=1), ScheduleConfig(warmup_epochs=3))
