"""Draws the regions of images that an embedding hangs on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfreid.visualization.heat import NO_EVIDENCE, add_cam_scale, fit_inches, inches, overlay_cam
from tfreid.visualization.page import MUTED, Page

# Inches: white space; heights of the title, of a row's label, of a line under an image, of the
# foot and of an image, and its greatest width; least widths of an image with its map and of the
# page; a bar with its text. Letters of a label in an inch.
_MARGIN, _GAP, _SPACE = 0.25, 0.05, 0.3
_HEAD, _LABEL, _LINE, _FOOT, _ROW, _WIDEST = 0.6, 0.3, 0.32, 0.55, 2.0, 2.0
_CELL, _NARROWEST, _BAR = 1.5, 6.0, 0.9
_LETTERS = 14


@dataclass(frozen=True, eq=False)
class AttendedImage:
    """An image, uint8 RGB [h, w, 3], its class activation map [h, w], 0 or above, and a label."""

    image: np.ndarray
    cam: np.ndarray
    label: str = ""


@dataclass(frozen=True, eq=False)
class AttentionRow:
    """Images that stand beside each other, such as one person's, under a label."""

    label: str
    images: Sequence[AttendedImage]


def draw_attention(
    rows: Sequence[AttentionRow], path: str | os.PathLike, dimensions: int
) -> None:
    """Draws rows of images, each with its heat map beside it.

    After Figure 6 of Almazan et al., "Re-ID done right: towards good practices for person
    re-identification" (2018).

    Args:
        rows: What to draw.
        path: The PNG file; its folder is made if it is missing.
        dimensions: How many dimensions the maps accumulate.

    Raises:
        ValueError: No row, or one without images.
    """
    if not rows or not all(row.images for row in rows):
        raise ValueError("rows must not be empty")
    sheet = _Sheet(rows)
    sheet.add_texts(dimensions)
    for place, row in enumerate(rows):
        sheet.add_row(place, row)
    sheet.page.save(path)


class _Sheet:
    """Lays out rows of images, each in the left half of a cell and its map in the right one."""

    def __init__(self, rows: Sequence[AttentionRow]):
        widest = max(inches(_fitted(shown))[1] for row in rows for shown in row.images)
        self._half = max(widest + _GAP, _CELL / 2)
        self._right = self._left(max(len(row.images) for row in rows))
        self.page = Page(max(self._right + _BAR, _NARROWEST), self._top(len(rows)) + _FOOT)

    def add_texts(self, dimensions: int) -> None:
        """Writes the head and the foot of the page, and shows the scale."""
        heading = f"Implicit attention of the {dimensions} strongest dimensions"
        self.page.write(_MARGIN, 0.3, heading, size=12, weight="bold")
        self.page.note(_MARGIN, (
            f"Heat (Grad-CAM): the regions that make the {dimensions} strongest values of an "
            "image's feature what they are, bright most; these weigh most in its similarity to "
            "any other image. Every map has a scale of its own."))
        add_cam_scale(self.page, self._right, self._top(0), _ROW)

    def add_row(self, place: int, row: AttentionRow) -> None:
        """Shows the images of a row with their maps."""
        top = self._top(place)
        self.page.write(_MARGIN, top - 0.14, row.label, size=9, weight="bold")
        for column, shown in enumerate(row.images):
            image, left = _fitted(shown), self._left(column)
            height, width = inches(image)
            self.page.show(image, left, top, width, height)
            self.page.show(overlay_cam(image, shown.cam), left + width + _GAP, top, width, height)
            self.page.write(left, top + height + _LINE / 2, self._label(shown), size=7.5,
                            color=MUTED)

    def _label(self, shown):
        """Returns the label's end, as much as fits, and what is said of an empty map."""
        letters = int(_LETTERS * 2 * self._half)
        label = shown.label
        if len(label) > letters:
            label = "\N{HORIZONTAL ELLIPSIS}" + label[1 - letters:]
        return label if np.any(shown.cam) else f"{label}\n{NO_EVIDENCE}"

    def _left(self, column):
        return _MARGIN + column * (2 * self._half + _SPACE)

    def _top(self, place):
        return _HEAD + _LABEL + place * (_LABEL + _ROW + _LINE + _GAP)


def _fitted(shown: AttendedImage) -> np.ndarray:
    return fit_inches(shown.image, _ROW, _WIDEST)
