"""The section `siamese`: the merge network, and the loss."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal, Optional

from pydantic import Field

from tfreid.setting import Section, Whole, setting


@dataclasses.dataclass
class Settings(Section):
    """The merge network and the loss; see `tfreid/systems/siamese/network.py`."""

    merge: Literal["absolute", "squared", "cosine"] = setting(
        "absolute", "What the merge network sees of the embeddings a and b: `absolute`, |a - b|; "
        "`squared`, (a - b)^2; or `cosine`, the one number 1 - cos(a, b).")
    hidden_size: Optional[Whole[1, 2**16]] = setting(
        None, "Width of a hidden layer with ReLU between what is merged and the merge network's "
        "unit (1024 in the author's code over VGG16); null for none. With one the probability "
        "cannot rank galleries.")
    merge_rate: Annotated[float, Field(ge=1, le=1000)] = setting(
        10.0, "Learning-rate multiplier of the merge network's unit: its output is multiplied by "
        "it, and its initial weights are divided by it. 1 is the author's plain unit.")
    loss: Optional[Literal["contrastive", "verification", "combined", "triplet"]] = setting(
        None, "What is learned: `contrastive` (loss.contrastive), `verification` (cross-entropy of "
        "the merge network's probability), `combined` (both, by loss.contrastive.weight and "
        "loss.match.weight) or `triplet` (loss.triplet). With `contrastive` and `triplet` the "
        "merge network learns separately, without changing the twins.")
