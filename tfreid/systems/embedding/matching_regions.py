"""Draws which regions of two images the strongest dimensions of their similarity look at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfreid.visualization.heat import NO_EVIDENCE, add_cam_scale, fit_inches, inches, overlay_cam
from tfreid.visualization.page import MUTED, Page

# Inches: white space; heights of the title, of the columns' heads, of a line under an image, of
# the foot and of an image, and its greatest width; least widths of a column and of the page; a bar
# with its text.
_MARGIN, _GAP, _SPACE = 0.25, 0.15, 0.3
_HEAD, _LABEL, _LINE, _FOOT, _ROW, _WIDEST = 1.0, 0.45, 0.22, 0.55, 2.4, 2.4
_COLUMN, _NARROWEST, _BAR = 1.35, 8.0, 1.1


@dataclass(frozen=True, eq=False)
class MatchingDimension:
    """What one dimension of two unit vectors adds to their dot product, and where it looks.

    Attributes:
        number: Of the dimension, from 0.
        contribution: The product of the two vectors' values.
        cams: Class activation maps of both images, [h, w] each, 0 or above.
    """

    number: int
    contribution: float
    cams: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class MatchingRegions:
    """A pair of images A and B, uint8 RGB [h, w, 3], its cosine similarity and dimensions."""

    images: tuple[np.ndarray, np.ndarray]
    similarity: float
    dimensions: Sequence[MatchingDimension]


def draw_matching_regions(
    pair: MatchingRegions,
    path: str | os.PathLike,
    names: tuple[str, str] = ("", ""),
    heading: str = "Matching regions",
) -> None:
    """Draws two images, one below the other, and a column of heat maps for each dimension.

    After Figure 5 of Almazan et al., "Re-ID done right: towards good practices for person
    re-identification" (2018).

    Args:
        pair: What to draw.
        path: The PNG file; its folder is made if it is missing.
        names: Of the images A and B.
        heading: Stands above the similarity.
    """
    sheet = _Sheet(pair)
    sheet.add_texts(names, heading)
    for side in (0, 1):
        sheet.add_image(side)
    for column, dimension in enumerate(pair.dimensions, 1):
        sheet.add_dimension(column, dimension)
    sheet.page.save(path)


class _Sheet:
    """Lays out a pair: a row for each image, the plain image in the first column."""

    def __init__(self, pair: MatchingRegions):
        self._pair = pair
        self._images = [fit_inches(image, _ROW, _WIDEST) for image in pair.images]
        self._step = max(_COLUMN, *(inches(image)[1] + _GAP for image in self._images))
        self._right = self._left(1 + len(pair.dimensions))
        self.page = Page(max(self._right + _BAR, _NARROWEST), self._top(2) + _FOOT)

    def add_texts(self, names: tuple[str, str], heading: str) -> None:
        """Writes the head and the foot of the page, and shows the scale."""
        page, found = self.page, self._pair.dimensions
        page.write(_MARGIN, 0.3, heading, size=12, weight="bold")
        figures = f"cosine similarity {self._pair.similarity:.3f}"
        if found and self._pair.similarity > 0.0:
            share = sum(dimension.contribution for dimension in found) / self._pair.similarity
            figures += f"; the {len(found)} dimensions shown make up {share:.0%} of it"
        elif not found:
            figures += "; no dimension adds to it"
        page.write(_MARGIN, 0.58, figures, size=10.5)
        named = "   ".join(f"{side}: {name}" for side, name in zip("AB", names) if name)
        page.write(_MARGIN, 0.82, named, size=8, color=MUTED)
        page.note(_MARGIN, (
            "Each column is one dimension of the feature, among those that add most to the cosine "
            "similarity: the product of both images' values, and its share of the whole. Heat "
            "(Grad-CAM): the regions of an image that make its value of this dimension what it is; "
            "bright is most. Every map has a scale of its own."))
        add_cam_scale(page, self._right + _GAP, self._top(0), _ROW)

    def add_image(self, side: int) -> None:
        """Shows one of the images as it is."""
        self._show(self._images[side], 0, side)
        self.page.write(_MARGIN, self._top(side) - 0.15, f"image {'AB'[side]}", size=9,
                        weight="bold")

    def add_dimension(self, column: int, dimension: MatchingDimension) -> None:
        """Shows where one dimension looks, in both images."""
        share = ""
        if self._pair.similarity > 0.0:
            share = f" ({dimension.contribution / self._pair.similarity:.1%})"
        self.page.write(self._left(column), self._top(0) - 0.22, f"dimension {dimension.number}\n"
                        f"{dimension.contribution:.3f}{share}", size=8.5)
        for side, cam in enumerate(dimension.cams):
            self._show(overlay_cam(self._images[side], cam), column, side)
            if not np.any(cam):
                bottom = self._top(side) + inches(self._images[side])[0]
                self.page.write(self._left(column), bottom + _LINE / 2, NO_EVIDENCE, size=7,
                                color=MUTED)

    def _show(self, image, column, side):
        height, width = inches(image)
        self.page.show(image, self._left(column), self._top(side), width, height)

    def _left(self, column):
        return _MARGIN + column * self._step + (_SPACE if column else 0.0)

    def _top(self, side):
        return _HEAD + _LABEL + side * (_ROW + _LINE + _SPACE)
