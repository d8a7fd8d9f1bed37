"""Draws the regions that an embedding depends on: of images, and of matching pairs."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from tfreid.systems.embedding.grad_cam import AttendedImage, AttentionRow, MatchingRegions
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
# Pixels of a matching pair: greatest height and width of an image, least width of a column.
_PAIR_SIDE, _COLUMN = 288, 150


def draw_attention(rows: Sequence[AttentionRow], path: str | os.PathLike, dimensions: int) -> None:
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


def draw_matching_regions(pair: MatchingRegions, path: str | os.PathLike,
                          names: tuple[str, str] = ("", ""),
                          heading: str = "Matching regions") -> None:
    """Draws two images, one below the other, and a column of heat maps for each dimension.

    After Figure 5 of Almazan et al. 2018.

    Args:
        pair: The pair and its dimensions.
        path: PNG file; its folder is created if it is missing.
        names: Names of the images A and B.
        heading: Title of the picture.
    """
    images = [fit_image(side, _PAIR_SIDE, _PAIR_SIDE) for side in pair.images]
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
    columns.append(column(text("\n ", 8.5), cam_scale(_PAIR_SIDE)))
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


def _beside_its_map(shown: AttendedImage, width: int):
    fitted = fit_image(shown.image, _SIDE, _SIDE)
    label = shortened(shown.label, int(width / _LETTER))
    if not np.any(shown.cam):
        label = f"{label}\n{NO_EVIDENCE}"
    maps = row(image(fitted), image(overlay_cam(fitted, shown.cam)), gap=6)
    return column(maps, text(label, 7.5, MUTED), width=width)


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
