"""Plots how rank-1 and mAP fall as distractors are added to the gallery."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tfrecords.errors import UserError

# Okabe and Ito's palette, which stays apart under colour blindness; dashes tell repeats apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":")


class DistractorCurve(NamedTuple):
    """Scores of one run by the number of distractors.

    Attributes:
        counts: int64 [n], added distractors, ascending.
        mean_ap: float64 [n], mAP as fractions.
        rank_1: float64 [n], rank-1 as fractions.
    """

    counts: np.ndarray
    mean_ap: np.ndarray
    rank_1: np.ndarray


def draw_distractor_curves(
    curves: Mapping[str, DistractorCurve], path: str | os.PathLike
) -> None:
    """Draws mAP and rank-1 of each run against the number of distractors into one PNG.

    Args:
        curves: name of a run -> its scores.
        path: the PNG file; its folder is made if it is missing.

    Raises:
        UserError: there is no curve.
    """
    if not curves:
        raise UserError("there is no distractor curve to draw; give at least one run.")
    height = 4.2 + 0.2 * len(curves)
    figure = Figure(figsize=(9.0, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    largest = max(int(curve.counts[-1]) for curve in curves.values())
    for axes, score, title in zip(figure.subplots(1, 2), ("mean_ap", "rank_1"),
                                  ("mAP", "rank-1")):
        for index, (name, curve) in enumerate(curves.items()):
            axes.plot(
                curve.counts,
                100.0 * getattr(curve, score),
                color=_COLOURS[index % len(_COLOURS)],
                linestyle=_DASHES[index // len(_COLOURS) % len(_DASHES)],
                linewidth=1.8,
                marker="o",
                markersize=4,
                clip_on=False,
                label=name if score == "mean_ap" else None,
            )
        _style(axes, title, largest)
    figure.legend(loc="outside lower center", frameon=False, fontsize=9)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


def _style(axes, title: str, largest: int) -> None:
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("distractors added to the gallery")
    axes.set_ylabel(f"{title} (%)")
    axes.set_xlim(0, max(largest, 1))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _thousands(count: float, _) -> str:
    whole = count >= 1000 and count % 1000 == 0
    return f"{count / 1000:g}k" if whole else f"{count:g}"
