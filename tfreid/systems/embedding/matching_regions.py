"""Draws which regions of two images the strongest dimensions of their similarity look at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfreid.visualization.heat import NO_EVIDENCE, cam_scale, overlay_cam
from tfreid.visualization.page import MUTED, column, fit_image, image, note, row, save, text

# Pixels: greatest height and width of an image, least width of a column.
_SIDE, _COLUMN = 288, 150


@dataclass(frozen=True, eq=False)
class MatchingDimension:
    """What one dimension of two unit vectors adds to their dot product, and where it looks.

    Attributes:
        number: Index of the dimension, from 0.
        contribution: Product of the two vectors' values.
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
        pair: The pair and its dimensions.
        path: PNG file; its folder is created if it is missing.
        names: Names of the images A and B.
        heading: Title of the picture.
    """
    images = [fit_image(side, _SIDE, _SIDE) for side in pair.images]
    width = max(_COLUMN, *(side.shape[1] + 2 for side in images))
    columns = [_column(("\nimage A", "image B"), images, (" ", " "), width, bold=True)]
    for dimension in pair.dimensions:
        share = ""
        if pair.similarity > 0.0:
            share = f" ({dimension.contribution / pair.similarity:.1%})"
        head = f"dimension {dimension.number}\n{dimension.contribution:.3f}{share}"
        heats = [overlay_cam(side, cam) for side, cam in zip(images, dimension.cams)]
        captions = [" " if np.any(cam) else NO_EVIDENCE for cam in dimension.cams]
        columns.append(_column((head, " "), heats, captions, width))
    columns.append(column(text("\n ", 8.5), cam_scale(_SIDE)))
    named = "   ".join(f"{side}: {name}" for side, name in zip("AB", names) if name)
    save(
        path,
        text(heading, 12, bold=True),
        text(_figures(pair), 10.5),
        text(named or " ", 8, MUTED),
        row(*columns, gap=18),
        note("Each column is one of the dimensions of the feature that add most to the cosine "
             "similarity: the product of both images' values, and its share of the total. Heat "
             "(Grad-CAM): the regions of an image that determine its value of this dimension; "
             "brighter is more. Every map has its own scale."),
    )


def _figures(pair: MatchingRegions) -> str:
    found, figures = pair.dimensions, f"cosine similarity {pair.similarity:.3f}"
    if not found:
        return f"{figures}; no dimension adds to it"
    if pair.similarity <= 0.0:
        return figures
    share = sum(dimension.contribution for dimension in found) / pair.similarity
    return f"{figures}; the {len(found)} dimensions shown make up {share:.0%} of it"


def _column(heads, images, captions, width, bold=False):
    boxes = []
    for head, shown, caption in zip(heads, images, captions):
        boxes += [text(head, 8.5, bold=bold), image(shown), text(caption, 7, MUTED)]
    return column(*boxes, width=width)
