"""What sections of a recipe are made of."""

from __future__ import annotations

from typing import Annotated

import pydantic
from pydantic import Field

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Section:
    """Refuses unknown keys in every section."""

    __pydantic_config__ = pydantic.ConfigDict(extra="forbid")
