"""The section `siamese`: the merge network, and the loss."""

from __future__ import annotations

import dataclasses
from typing import Literal, Optional

from tfreid.setting import Section, setting


@dataclasses.dataclass
class Settings(Section):
    """The merge network and the loss; see `tfreid/systems/siamese/network.py`."""

    merge: Literal["absolute", "squared", "cosine"] = setting(
        "absolute", "What the merge network sees of the embeddings a and b: `absolute`, |a - b|; "
        "`squared`, (a - b)^2; or `cosine`, the one number 1 - cos(a, b).")
    loss: Optional[Literal["contrastive", "verification", "combined", "triplet"]] = setting(
        None, "What is learned: `contrastive` (loss.contrastive), `verification` (cross-entropy of "
        "the merge network's probability), `combined` (both, by loss.contrastive.weight and "
        "loss.match.weight) or `triplet` (loss.triplet). With `contrastive` and `triplet` the "
        "merge network learns separately, without changing the twins.")
