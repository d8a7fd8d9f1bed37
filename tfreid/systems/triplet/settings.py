"""The section `triplet`: mining and updates (Almazan et al. 2018, Eq. 1 and Section 3.2)."""

from __future__ import annotations

import dataclasses
from typing import Literal

from tfreid.setting import PositiveFloat, Section, Whole, setting


@dataclasses.dataclass
class Settings(Section):
    """Mining and updates.

    Triplets are mined with the current weights and used for `updates_per_mining` updates. An epoch
    is a fixed number of updates, so that what is counted in epochs does not depend on the mining.
    """

    margin: PositiveFloat = setting(0.1, "Margin m of the triplet loss.")
    batch_size: Whole[1, 2**16] = setting(
        64, "Triplets of an update, over all replicas; their gradients are averaged.")
    triplets_at_once: Whole[1, 4096] = setting(
        4, "Triplets that a replica's step takes through the network together. More are faster and "
        "need more memory; the result is the same.")
    updates_per_mining: Whole[1, 10**5] = setting(16, "Updates between two minings, k.")
    updates_per_epoch: Whole[1, 10**5] = setting(
        16, "Updates of an epoch, the unit of `training.epochs`, `schedule.half_life`, "
        "`data.augmentation.cutout_epochs` and all other epochs.")
    mining_images: Whole[3, 10**5] = setting(
        5000, "Number N of random training images among which triplets are mined.")
    hardest: Whole[1, 10**4] = setting(
        25, "Number of triplets with the largest loss from which one is drawn for each query.")
    batch_norm: Literal["frozen", "batch"] = setting(
        "frozen", "`frozen` normalises by the statistics of the stage before, as single images "
        "require; `batch` normalises by those of each group of images of one size in a step and "
        "updates the moving ones, for networks that start from random weights.")
