"""The sections of a recipe for training by classification, then by ranking mined triplets."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal, Optional

from pydantic import Field

from tfreid.setting_types import (
    NotNegative,
    NotNegativeFloat,
    Positive,
    PositiveFloat,
    Section,
    Share,
)
from tfreid.settings_of_augmentation import AugmentationConfig


@dataclasses.dataclass
class PretrainingAugmentationConfig(AugmentationConfig):
    """As `AugmentationConfig`, with the defaults of training a classifier."""

    pad: NotNegative = 0
    erasing_probability: Share = 0.0
    crop_probability: Share = 1.0
    crop_aspect_min: Optional[Annotated[float, Field(gt=0, le=1)]] = 0.75


@dataclasses.dataclass
class PretrainingConfig(Section):
    """The first stage of `system: ranking` (Almazan et al. 2018, Sections 3.2 and 4.1).

    The backbone, pooled, learns to classify the training identities by SGD. It starts from
    `model.weights`, and ranking starts from what it has learnt. The rate falls by the same factor
    every epoch.

    epochs: its length; 0 leaves it out.
    batch_size: images of every replica's batch, drawn without regard to identity.
    height, width: pixels of the random-sized crops.
    pooling: of this stage; the one of `model` belongs to the ranking network.
    learning_rate, final_rate: rate at the beginning and at the end.
    smoothing: label smoothing.
    augmentation: as in `data`; by default random-sized crops and flips.
    """

    epochs: NotNegative = 60
    batch_size: Positive = 128
    height: Annotated[int, Field(ge=16)] = 224
    width: Annotated[int, Field(ge=16)] = 224
    pooling: Literal["average", "max", "gem"] = "average"
    learning_rate: PositiveFloat = 0.01
    final_rate: PositiveFloat = 1e-4
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NotNegativeFloat = 5e-5
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augmentation: PretrainingAugmentationConfig = dataclasses.field(
        default_factory=PretrainingAugmentationConfig)


@dataclasses.dataclass
class RankingConfig(Section):
    """The second stage of `system: ranking` (Almazan et al. 2018, Eq. 1 and Section 3.2).

    An epoch is one mining round: triplets are mined with the weights as they are, and serve for
    `updates_per_mining` updates.

    margin: m of the triplet loss.
    batch_size: triplets of an update, over all replicas; their gradients are averaged.
    triplets_at_once: triplets that a replica's step takes through the network together. More are
        faster and need more memory; the result is the same.
    updates_per_mining: k, updates between two minings.
    mining_images: N, random training images among which triplets are mined.
    hardest: of a query's triplets, how many with the largest loss one is drawn from.
    batch_norm: `frozen` normalises by the statistics that the first stage has left, as images one
        by one must; `batch` by those of each group of images of one size in a step, and learns the
        moving ones: for networks that start from random weights.
    """

    margin: PositiveFloat = 0.1
    batch_size: Positive = 64
    triplets_at_once: Positive = 4
    updates_per_mining: Positive = 16
    mining_images: Annotated[int, Field(ge=3)] = 5000
    hardest: Positive = 25
    batch_norm: Literal["frozen", "batch"] = "frozen"
