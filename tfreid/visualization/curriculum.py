"""Draws how the augmentation of training images changes while a network is trained."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import PercentFormatter

from tfreid.visualization.page import MUTED, Page

# Inches.
_MARGIN, _GAP, _HEAD, _PLOT, _LABEL, _FOOT = 0.25, 0.08, 0.75, 1.5, 0.45, 0.5
_ROW, _CELL, _NARROWEST = 1.6, 0.9, 6.5


@dataclass(frozen=True, eq=False)
class Curriculum:
    """What a training shows in its epochs.

    limits: the largest share of an image's area that becomes noise, [epochs]. epochs: those of the
    columns, from 0. images: a row for each image, in it uint8 RGB [h, w, 3] for each of the epochs.
    """

    limits: Sequence[float]
    epochs: Sequence[int]
    images: Sequence[Sequence[np.ndarray]]


def draw_curriculum(curriculum: Curriculum, path: str | os.PathLike, name: str) -> None:
    """Draws the cut-out's schedule over the training, and images as some epochs show them.

    Args:
        curriculum: What to draw; at least one image and one epoch.
        path: The PNG file; its folder is made if it is missing.
        name: Of the recipe.
    """
    columns = len(curriculum.epochs)
    width = max(_NARROWEST, 2 * _MARGIN + columns * (_CELL + _GAP))
    top = _HEAD + _PLOT + _LABEL + 0.25
    page = Page(width, top + len(curriculum.images) * (_ROW + _GAP) + _FOOT)
    page.write(_MARGIN, 0.25, f"Augmentation of {name}", 12, weight="bold")
    page.write(_MARGIN, 0.5, "largest cut-out, share of the image's area", 9, color=MUTED)
    _draw_schedule(page, curriculum, width)
    for column, epoch in enumerate(curriculum.epochs):
        left = _MARGIN + column * (_CELL + _GAP)
        page.write(left, top - 0.14, f"epoch {epoch + 1}", 8)
        for row, images in enumerate(curriculum.images):
            image = images[column]
            scale = min(_ROW / image.shape[0], _CELL / image.shape[1])
            page.show(image, left, top + row * (_ROW + _GAP), image.shape[1] * scale,
                      image.shape[0] * scale)
    page.note(_MARGIN, "Each row is one training image, as it is shown in the epochs above. Dots "
                       "on the curve mark these epochs.")
    page.save(path)


def _draw_schedule(page, curriculum, width):
    axes = page.plot(_MARGIN + 0.4, _HEAD, width - 2 * _MARGIN - 0.5, _PLOT)
    limits = np.asarray(curriculum.limits)
    numbers = np.arange(1, len(limits) + 1)
    axes.plot(numbers, limits, color="#1f6fb4")
    marked = np.asarray(curriculum.epochs)
    axes.plot(marked + 1, limits[marked], "o", color="#1f6fb4", markersize=4)
    axes.set_xlabel("epoch", fontsize=8)
    axes.set_ylim(0, max(0.05, 1.1 * limits.max()))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.tick_params(labelsize=7.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
