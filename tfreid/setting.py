"""What a setting is: a typed field with a default, an explanation and its rules."""

from __future__ import annotations

import copy
import dataclasses
from typing import Annotated, Any

import pydantic
from pydantic import Field

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]

RESUME = ("fixed", "free")
AVERAGE = ("same", "free")


class Section:
    """Base class of the sections, which refuse unknown keys."""

    __pydantic_config__ = pydantic.ConfigDict(extra="forbid")


def setting(default: Any, meaning: str, *, resume: str = "fixed", average: str = "same") -> Any:
    """Declares a setting: the default of a dataclass field.

    Args:
        default: The default value. Every section gets its own copy.
        meaning: Explanation in one or two sentences.
        resume: `fixed` if a resumed run must keep the value, because checkpoints, the order of
            batches or the choice of the best weights depend on it; else `free`.
        average: `same` if runs must agree on the value before their results are averaged over
            folds; else `free`.

    Raises:
        ValueError: If the explanation is empty or a rule is unknown.
    """
    if not meaning or resume not in RESUME or average not in AVERAGE:
        raise ValueError(f"not an explanation and its rules: {meaning!r}, {resume!r}, {average!r}")
    rules = {"meaning": meaning, "resume": resume, "average": average}
    return dataclasses.field(default_factory=lambda: copy.copy(default), metadata=rules)


def section(kind: type) -> Any:
    """Declares a section within a section."""
    return dataclasses.field(default_factory=kind)
