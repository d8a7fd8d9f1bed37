"""The section `csn`: the network of Guo and Cheung 2018 and how its outputs rank a gallery."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import Field

from tfreid.setting import NotNegativeFloat, PositiveFloat, Section, Whole, section, setting


@dataclasses.dataclass
class ScoreSettings(Section):
    """How the outputs rank a gallery: SimiScore = p + lambda / (d + epsilon), Eq. 7."""

    distance_weight: NotNegativeFloat = setting(0.2, "Weight lambda of the distance.",
                                                resume="free")
    epsilon: PositiveFloat = setting(
        1e-4, "Keeps the score finite at distance 0.", resume="free")
    both_orders: bool = setting(
        False, "Whether the match probability is averaged over (query, gallery) and (gallery, "
        "query).", resume="free")
    shortlist: Whole[1, 10**5] = setting(
        100, "Gallery images that the descriptors choose for each query and the network ranks, "
        "where `evaluation.protocol` is `full`.", resume="free")


@dataclasses.dataclass
class Settings(Section):
    """The network; see `tfreid/systems/csn/network.py`.

    Of `model` it takes height, width, normalization and weights.
    """

    width: Whole[3, 1024] = setting(
        96, "Channels of the compared maps (96 in the paper); the first convolution has a third of "
        "them.")
    levels: Annotated[list[Whole[2, 4]], Field(min_length=1)] = setting(
        [2, 3], "Convolution layers whose maps are compared: any of 2, 3 and 4.")
    divide: bool = setting(
        True, "Whether the maps are divided into three overlapping stripes; false is C1 of the "
        "paper.")
    attention: Literal["transformer", "center"] = setting(
        "transformer", "How parts are cut out: the `transformer` learns where; `center` cuts the "
        "middle of each stripe (C2 of the paper).")
    similarity: Literal["sum", "cosine"] = setting(
        "sum", "How a part is compared with a place of the other image's map, channel by channel: "
        "the `sum` of their products (Eq. 2), or their `cosine`, that sum divided by both lengths.")
    ranking_net: bool = setting(
        True, "Whether descriptors of the parts are learned beside the match probability; false "
        "leaves the classification loss alone.")
    score: ScoreSettings = section(ScoreSettings)

    def __post_init__(self):
        if list(self.levels) != sorted(set(self.levels)):
            raise ValueError("levels must be ascending, each named once")
