"""Draws how the augmentation of training images changes during training."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.offsetbox import OffsetBox
from matplotlib.ticker import PercentFormatter

from tfreid.visualization.page import (
    DPI,
    MUTED,
    column,
    drawn,
    fit_image,
    image,
    note,
    row,
    save,
    text,
)

# Pixels: greatest height and width of an image; inches: the plot.
_HEIGHT, _WIDTH = 192, 108
_PLOT = (6.2, 1.9)


@dataclass(frozen=True, eq=False)
class Curriculum:
    """What a training shows in its epochs.

    Attributes:
        limits: Largest share of an image's area that becomes noise in each epoch.
        epochs: Epochs of the columns, from 0.
        images: A row per image, with uint8 RGB [h, w, 3] for each of the epochs.
        steps: Name of a step -> the images with this step alone; first `none` without any.
    """

    limits: Sequence[float]
    epochs: Sequence[int]
    images: Sequence[Sequence[np.ndarray]]
    steps: Mapping[str, Sequence[np.ndarray]]


def draw_curriculum(curriculum: Curriculum, path: str | os.PathLike, name: str) -> None:
    """Draws images as some epochs show them and as each of several steps alone changes them.

    The schedule of the cut-out, where there is one, is above them.

    Args:
        curriculum: At least one image and one epoch.
        path: PNG file; its folder is created if it is missing.
        name: Name of the recipe.
    """
    shown = {f"epoch {epoch + 1}": images
             for epoch, images in zip(curriculum.epochs, zip(*curriculum.images))}
    schedule, dots = [], ""
    if max(curriculum.limits):
        schedule = [text("largest cut-out, share of the image's area", 9, MUTED),
                    image(_schedule(curriculum), thickness=0)]
        dots = " Dots on the curve mark these epochs."
    steps = []
    if len(curriculum.steps) > 2:  # one step is alone in the epochs
        steps = [text("each step alone", 9, MUTED), _columns(curriculum.steps),
                 note("The same images, with one step on every image, as in the last of the epochs "
                      "above.", 70)]
    save(
        path,
        text(f"Augmentation of {name}", 12, bold=True),
        *schedule,
        _columns(shown),
        note(f"Each row is one training image, as it is shown in the epochs above.{dots}", 70),
        *steps,
    )


def _columns(shown: Mapping[str, Sequence[np.ndarray]]) -> OffsetBox:
    return row(*(
        column(text(title), *(image(fit_image(one, _HEIGHT, _WIDTH)) for one in images),
               gap=10, width=_WIDTH + 2)
        for title, images in shown.items()))


def _schedule(curriculum: Curriculum) -> np.ndarray:
    figure = Figure(figsize=_PLOT, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    limits, marked = np.asarray(curriculum.limits), np.asarray(curriculum.epochs)
    axes.plot(np.arange(1, len(limits) + 1), limits, color="#1f6fb4")
    axes.plot(marked + 1, limits[marked], "o", color="#1f6fb4", markersize=4)
    axes.set_xlabel("epoch", fontsize=8)
    axes.set_ylim(0, max(0.05, 1.1 * limits.max()))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.tick_params(labelsize=7.5)
    axes.spines[["top", "right"]].set_visible(False)
    return drawn(figure)
