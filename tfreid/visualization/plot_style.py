"""The common look of plots of curves."""

from __future__ import annotations

import os

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfrecords.writing import whole_file

# Okabe and Ito's palette, for colour-blind readers; dashes distinguish repeated colours.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":")


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of a size in inches."""
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def line_style(index: int) -> dict:
    """Returns colour, dashes and width of a curve; the first 28 curves all differ."""
    dashes = _DASHES[index // len(COLORS) % len(_DASHES)]
    return {"color": COLORS[index % len(COLORS)], "linestyle": dashes, "linewidth": 1.8}


def tidy(axes: Axes, title: str) -> None:
    """Sets the title, a grid behind the curves, and only two spines."""
    axes.set_title(title, fontsize=11)
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save_plot(figure: Figure, path: str | os.PathLike) -> None:
    """Writes a PNG; its folder is created if it is missing."""
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png")
