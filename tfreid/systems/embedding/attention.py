"""Draws the regions of images that an embedding depends on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfreid.visualization.heat import NO_EVIDENCE, cam_scale, overlay_cam
from tfreid.visualization.page import (
    MUTED,
    column,
    fit_image,
    image,
    note,
    row,
    save,
    shortened,
    text,
)

# Pixels: greatest height and width of an image, least width of an image with its map. Width of a
# letter of a label.
_SIDE, _CELL = 240, 180
_LETTER = 8.5


@dataclass(frozen=True, eq=False)
class AttendedImage:
    """An image, uint8 RGB [h, w, 3], its class activation map [h, w], 0 or above, and a label."""

    image: np.ndarray
    cam: np.ndarray
    label: str = ""


@dataclass(frozen=True, eq=False)
class AttentionRow:
    """Images side by side, such as those of one identity, under a label."""

    label: str
    images: Sequence[AttendedImage]


def draw_attention(
    rows: Sequence[AttentionRow], path: str | os.PathLike, dimensions: int
) -> None:
    """Draws rows of images, each with its heat map beside it.

    After Figure 6 of Almazan et al., "Re-ID done right: towards good practices for person
    re-identification" (2018).

    Args:
        rows: The rows of images.
        path: PNG file; its folder is created if it is missing.
        dimensions: Number of dimensions that the maps accumulate.

    Raises:
        ValueError: If there is no row, or a row has no images.
    """
    if not rows or not all(found.images for found in rows):
        raise ValueError("rows must not be empty")
    widest = max(fit_image(shown.image, _SIDE, _SIDE).shape[1]
                 for found in rows for shown in found.images)
    cell = max(2 * widest + 10, _CELL)
    pictures = [
        column(text(found.label, 9, bold=True),
               row(*(_beside_its_map(shown, cell) for shown in found.images), gap=30))
        for found in rows
    ]
    save(
        path,
        text(f"Implicit attention of the {dimensions} strongest dimensions", 12, bold=True),
        row(column(*pictures, gap=14), column(text(" ", 9), cam_scale(_SIDE)), gap=30),
        note(f"Heat (Grad-CAM): the regions that determine the {dimensions} strongest values of an "
             "image's feature, which weigh most in its similarity to any other image; brighter is "
             "more. Every map has its own scale."),
    )


def _beside_its_map(shown: AttendedImage, width: int):
    fitted = fit_image(shown.image, _SIDE, _SIDE)
    label = shortened(shown.label, int(width / _LETTER))
    if not np.any(shown.cam):
        label = f"{label}\n{NO_EVIDENCE}"
    maps = row(image(fitted), image(overlay_cam(fitted, shown.cam)), gap=6)
    return column(maps, text(label, 7.5, MUTED), width=width)
