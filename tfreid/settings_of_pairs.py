"""The sections of a recipe for models that compare pairs of images."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal, Optional

from pydantic import Field

from tfreid.setting_types import NotNegative, NotNegativeFloat, Positive, PositiveFloat, Section


@dataclasses.dataclass
class PairDataConfig(Section):
    """How training images become pairs (Guo and Cheung 2018, Section 4.2).

    batch_size: pairs of every replica's batch.
    negatives_per_positive: random non-matching pairs for each matching one.
    matching: `all` shows every matching pair in each epoch; `drawn` draws as many pairs for an
        epoch as there are training images, where there are too many matching ones to show (MARS
        has over a hundred million).
    apart: what the two images of a `drawn` matching pair must come from: two `cameras`, two
        `tracklets`, or just be two `images`; the next best where a person has no such two.
    samples: how often an epoch shows every matching pair, each time shifted and flipped anew.
    negatives: where the images of non-matching pairs come from: `dataset` draws two from all
        training images, as the paper; `batch` pairs the images of the batch's matching pairs, so
        that each image is looked at once for several pairs and a step costs a third; this only
        with `matching: all`.
    """

    batch_size: Annotated[int, Field(ge=3)] = 128
    negatives_per_positive: Positive = 2
    matching: Literal["all", "drawn"] = "all"
    apart: Literal["cameras", "tracklets", "images"] = "cameras"
    samples: Positive = 5
    negatives: Literal["dataset", "batch"] = "dataset"

    def __post_init__(self):
        if self.matching == "drawn" and self.negatives == "batch":
            raise ValueError("matching is drawn, which needs negatives to be dataset")


@dataclasses.dataclass
class CsnConfig(Section):
    """The network of Guo and Cheung 2018, for `system: csn`; see `tfreid/systems/csn/network.py`.

    levels: convolution layers whose maps are compared: any of 2, 3 and 4.
    divide: whether the maps are divided into three overlapping stripes (false is the paper's C1).
    attention: `transformer` learns where the parts are cut; `center` cuts the middle of each
        stripe (the paper's C2).
    ranking_net: whether descriptors of the parts are learnt beside the match probability; false
        leaves the classification loss alone.
    """

    levels: Annotated[list[Literal[2, 3, 4]], Field(min_length=1)] = dataclasses.field(
        default_factory=lambda: [2, 3])
    divide: bool = True
    attention: Literal["transformer", "center"] = "transformer"
    ranking_net: bool = True

    def __post_init__(self):
        if list(self.levels) != sorted(set(self.levels)):
            raise ValueError("levels must be ascending, each named once")


@dataclasses.dataclass
class PairLossConfig(Section):
    """The loss of pairs, for `system: csn`: the sum of weight * loss.

    `system: siamese` takes the first four settings.

    match_weight: cross-entropy over match / no match (Eq. 3).
    contrastive_weight: contrastive loss of the descriptors (Eq. 4).
    margin: distance from which non-matching pairs cost nothing.
    contrastive_scale: `half` is Eq. 4's 1 / (2m), `mean` 1 / m.
    rotation_weight: L1 of the rotation terms of the attended regions (Section 4.2).
    scale_weight, inside_weight: hinge penalties that keep the regions' scales positive and the
        regions inside the image.
    """

    match_weight: NotNegativeFloat = 1.0
    contrastive_weight: NotNegativeFloat = 1.0
    margin: PositiveFloat = 1.0
    contrastive_scale: Literal["half", "mean"] = "half"
    rotation_weight: NotNegativeFloat = 0.1
    scale_weight: NotNegativeFloat = 1.0
    inside_weight: NotNegativeFloat = 1.0


@dataclasses.dataclass
class SingleShotConfig(Section):
    """One query and one gallery image of each identity, drawn anew in every trial.

    trials: how many drawings are averaged.
    training_trials: how many of them evaluations while training use.
    identities: how many test identities a trial draws; null for all.
    seed: of the drawings.
    """

    trials: Positive = 20
    training_trials: Positive = 2
    identities: Optional[Positive] = None
    seed: NotNegative = 0


@dataclasses.dataclass
class PairScoreConfig(Section):
    """How a pair model's outputs rank a gallery: SimiScore = p + lambda / (d + epsilon), Eq. 7.

    distance_weight: lambda.
    epsilon: keeps the score finite at distance 0.
    both_orders: averages the match probability over (query, gallery) and (gallery, query).
    shortlist: gallery images that the descriptors choose for each query and the pair model ranks,
        where `evaluation.protocol` is `full`.
    """

    distance_weight: NotNegativeFloat = 0.2
    epsilon: PositiveFloat = 1e-4
    both_orders: bool = False
    shortlist: Positive = 100
