"""Learning rate by epoch."""

from __future__ import annotations

import math

from tfreid.config import ScheduleConfig


def learning_rate_at(config: ScheduleConfig, epoch: int, epochs: int) -> float:
    """Computes the learning rate of one epoch.

    Linear warm-up that starts at `warmup_start` in epoch 0 and reaches `learning_rate` in the last
    warm-up epoch, then division at `decay_epochs`, a cosine or an exponential decay: with the
    defaults, Eq. 2 of Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person
    Re-identification" (2019).

    Args:
        config: The `schedule` section.
        epoch: Epoch, from 0.
        epochs: Length of the training.
    """
    peak = config.learning_rate
    if epoch < config.warmup_epochs:
        share = epoch / max(1, config.warmup_epochs - 1)
        return config.warmup_start + share * (peak - config.warmup_start)
    since = epoch - config.warmup_epochs
    if config.decay == "exponential" and config.half_life:
        return peak * 0.5 ** (since / config.half_life)
    if config.decay == "exponential":
        # The last epoch has the final rate.
        done = since / max(1, epochs - config.warmup_epochs - 1)
        return peak * (config.final_rate / peak) ** done
    if config.decay == "cosine":
        done = since / max(1, epochs - config.warmup_epochs)
        return config.final_rate + (peak - config.final_rate) * (1 + math.cos(math.pi * done)) / 2
    passed = sum(epoch >= decay_epoch for decay_epoch in config.decay_epochs)
    return peak * config.decay_factor**passed
