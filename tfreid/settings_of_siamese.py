"""The sections of a recipe for metric learning on pairs, with people held out to validate on."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal, Optional

from pydantic import Field

from tfreid.setting_types import NotNegative, Positive, Section


@dataclasses.dataclass
class SubsetConfig(Section):
    """Which of the training images are trained on, and which are held out to validate on.

    identities: how many training identities are drawn; null for all.
    images: how many images of them, the same number of each; null for all. With `identities`,
        those are drawn who have as many (Bojja's study of MARS has 100 identities and 100,000
        images).
    validation: share that is held out, for `system: siamese`; 0 for none.
    validation_by: `identity` holds out whole people, as a test meets people never trained on;
        `image` holds out single images, as the study does. That leaks: the people, and in video
        nearly the same frames, are trained on. Figures are marked as leaking.
    seed: of the drawings.
    """

    identities: Optional[Annotated[int, Field(ge=2)]] = None
    images: Optional[Positive] = None
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    validation_by: Literal["identity", "image"] = "identity"
    seed: NotNegative = 0


@dataclasses.dataclass
class SiameseConfig(Section):
    """The network behind the twins, for `system: siamese`; see `tfreid/systems/siamese/network.py`.

    merge: what of the two embeddings a and b the merge network sees: `absolute`, |a - b|;
        `squared`, (a - b)^2; or `cosine`, the one number 1 - cos(a, b).
    """

    merge: Literal["absolute", "squared", "cosine"] = "absolute"
