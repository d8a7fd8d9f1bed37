"""A figure of images and texts whose places are given in inches."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

MUTED = "#555555"

_DPI = 120
# Letters of a note in an inch, and the inches below it.
_NOTE_LETTERS, _FOOT = 13.5, 0.12
# Points.
_FRAME = 4
_BORDER, _BORDER_COLOR = 0.6, "#bbbbbb"


class Page:
    """A figure in which `left` and `top` are inches from its upper left corner.

    Args:
        width: In inches.
        height: In inches.
    """

    def __init__(self, width: float, height: float):
        self.width, self.height = width, height
        self._figure = Figure(figsize=(width, height), dpi=_DPI)
        FigureCanvasAgg(self._figure)

    def write(self, left: float, middle: float, text: str, size: float, **style) -> None:
        """Writes lines of text, the middle of them at a height."""
        self._figure.text(left / self.width, 1 - middle / self.height, text, fontsize=size,
                          va="center", **style)

    def note(self, left: float, text: str) -> None:
        """Writes small print at the foot, in as many lines as the width asks for."""
        lines = textwrap.wrap(text, int(_NOTE_LETTERS * (self.width - 2 * left)))
        self._figure.text(left / self.width, _FOOT / self.height, "\n".join(lines), fontsize=8,
                          va="bottom", color=MUTED)

    def show(self, image: np.ndarray, left: float, top: float, width: float, height: float,
             frame: str | None = None) -> None:
        """Shows an image, with a thick frame around it where that has a colour."""
        axes = self._axes(left, top, width, height)
        axes.imshow(image, aspect="auto")
        axes.set_xticks([])
        axes.set_yticks([])
        for side in axes.spines.values():
            side.set(color=frame or _BORDER_COLOR, linewidth=_FRAME if frame else _BORDER)
            if frame:
                side.set_position(("outward", _FRAME / 2))

    def plot(self, left: float, top: float, width: float, height: float) -> Axes:
        """Returns axes to plot in."""
        return self._axes(left, top, width, height)

    def scale(self, norm: Normalize, colors: str, label: str, left: float, top: float,
              width: float, height: float) -> None:
        """Shows which value has which colour, as a bar along its longer side."""
        bar = self._figure.colorbar(
            ScalarMappable(norm, colors), cax=self._axes(left, top, width, height),
            orientation="vertical" if height > width else "horizontal")
        bar.set_label(label, fontsize=7.5)
        ticks = norm.inverse(np.array([0.0, 0.5, 1.0]))
        bar.set_ticks(ticks, labels=[f"{tick:.0f}" if abs(tick) >= 10 else f"{tick:.2g}"
                                     for tick in ticks])
        bar.ax.tick_params(labelsize=7)
        bar.outline.set_visible(False)

    def legend(self, colors: Mapping[str, tuple[int, int, int]], left: float, top: float) -> None:
        """Explains colours, one below the other: text -> RGB in 0-255."""
        handles = [Patch(color=np.divide(color, 255.0), label=text)
                   for text, color in colors.items()]
        self._figure.legend(handles=handles, loc="upper left", frameon=False, fontsize=7,
                            bbox_to_anchor=(left / self.width, 1 - top / self.height),
                            handlelength=1.0, borderpad=0.0, borderaxespad=0.0)

    def save(self, path: str | os.PathLike) -> None:
        """Writes the PNG; its folder is made if it is missing."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._figure.savefig(path, format="png", dpi=_DPI)

    def _axes(self, left, top, width, height):
        return self._figure.add_axes((left / self.width, 1 - (top + height) / self.height,
                                      width / self.width, height / self.height))
