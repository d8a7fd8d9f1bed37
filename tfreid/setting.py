"""What a setting is: a typed field with a default, an explanation and its rules."""

from __future__ import annotations

import copy
import dataclasses
import os
from typing import Annotated, Any

import pydantic
from pydantic import AfterValidator, Field

# The bounds keep mistyped numbers out, which would take all memory or time, or overflow.
PositiveFloat = Annotated[float, Field(gt=0, le=1e6)]
NotNegativeFloat = Annotated[float, Field(ge=0, le=1e6)]
Share = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
# A path, whose ~ is the home folder.
PathText = Annotated[str, AfterValidator(os.path.expanduser)]


class Whole:
    """`Whole[low, high]` is the type of a whole number from `low` to `high`."""

    def __class_getitem__(cls, bounds: tuple[int, int]) -> Any:
        low, high = bounds
        return Annotated[int, Field(ge=low, le=high)]


Seed = Whole[0, 2**32 - 1]
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
