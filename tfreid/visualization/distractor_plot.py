"""Plots how rank-1 and mAP fall as distractors are added to the gallery."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tfrecords.errors import UserError
from tfreid.visualization.plot_style import line_style, new_figure, save_plot, tidy


class DistractorCurve(NamedTuple):
    """Scores of one run by the number of distractors.

    Attributes:
        counts: Numbers of added distractors, int64 [n], ascending.
        mean_ap: mAP as fractions, float64 [n].
        rank_1: Rank-1 as fractions, float64 [n].
    """

    counts: np.ndarray
    mean_ap: np.ndarray
    rank_1: np.ndarray


def draw_distractor_curves(
    curves: Mapping[str, DistractorCurve], path: str | os.PathLike
) -> None:
    """Draws mAP and rank-1 of each run against the number of distractors into one PNG.

    Args:
        curves: Name of a run -> its scores.
        path: PNG file; its folder is created if it is missing.

    Raises:
        UserError: If there is no curve.
    """
    if not curves:
        raise UserError("there is no distractor curve to draw; give at least one run.")
    figure = new_figure(9.0, 4.2 + 0.2 * len(curves))
    largest = max(int(curve.counts[-1]) for curve in curves.values())
    for axes, score, title in zip(figure.subplots(1, 2), ("mean_ap", "rank_1"),
                                  ("mAP", "rank-1")):
        for index, (name, curve) in enumerate(curves.items()):
            axes.plot(
                curve.counts,
                100.0 * getattr(curve, score),
                **line_style(index),
                marker="o",
                markersize=4,
                clip_on=False,
                label=name if score == "mean_ap" else None,
            )
        _style(axes, title, largest)
    figure.legend(loc="outside lower center", frameon=False, fontsize=9)
    save_plot(figure, path)


def _style(axes, title: str, largest: int) -> None:
    tidy(axes, title)
    axes.set_xlabel("distractors added to the gallery")
    axes.set_ylabel(f"{title} (%)")
    axes.set_xlim(0, max(largest, 1))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(_thousands))


def _thousands(count: float, _) -> str:
    whole = count >= 1000 and count % 1000 == 0
    return f"{count / 1000:g}k" if whole else f"{count:g}"
