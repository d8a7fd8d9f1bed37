"""Stage strides as backbones take them."""

from __future__ import annotations

from collections.abc import Sequence


def stage_strides(strides: Sequence[int], last_stride: int | None, stages: int) -> list[int]:
    """Checks stage strides and replaces the last one on request.

    Raises:
        ValueError: They are not as many positive integers as there are stages.
    """
    strides = list(strides)
    if last_stride is not None:
        strides[-1:] = [last_stride]
    if len(strides) != stages or any(not isinstance(s, int) or s < 1 for s in strides):
        raise ValueError(f"strides must be {stages} positive integers, got {strides}")
    return strides
