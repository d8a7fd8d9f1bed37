"""Plots CMC curves of one or several runs."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from tfrecords.errors import UserError
from tfreid.visualization.plot_style import line_style, new_figure, save_plot, tidy

# A legend of more curves would hide some of them, and is placed below the axes.
_MOST_INSIDE = 4


def draw_cmc(
    curves: Mapping[str, np.ndarray],
    path: str | os.PathLike,
    max_rank: int = 20,
    mean_aps: Mapping[str, float | None] | None = None,
    stds: Mapping[str, np.ndarray | None] | None = None,
) -> None:
    """Draws the CMC curve of each run into one PNG.

    Args:
        curves: Name of a run -> its CMC [ranks] as fractions, rank-1 first; longer curves are cut
            at `max_rank`, shorter ones end early.
        path: PNG file; its folder is created if it is missing.
        max_rank: Last rank drawn. Defaults to 20.
        mean_aps: Name of a run -> its mAP as a fraction, for the legend; runs may be missing.
        stds: Name of a run -> standard deviation [ranks] of its CMC over trials or splits, drawn
            as a band of one on either side; runs may be missing, and zeros, as of a single trial,
            draw no band.

    Raises:
        UserError: If there is no curve, a curve is not a vector of fractions, or its deviations are
            not one number per rank.
        ValueError: If `max_rank` is below 1.
    """
    if max_rank < 1:
        raise ValueError(f"max_rank must be at least 1, received {max_rank}")
    if not curves:
        raise UserError("there is no CMC curve to draw; give at least one run.")
    checked = {name: _percentages(name, curve)[:max_rank] for name, curve in curves.items()}
    bands = {name: _deviations(name, std, curve)[:max_rank]
             for name, curve in curves.items()
             if (std := (stds or {}).get(name)) is not None and np.any(std)}

    below = len(checked) if len(checked) > _MOST_INSIDE else 0
    figure = new_figure(7.2, 4.8 + 0.2 * below)
    axes = figure.add_subplot()
    for index, (name, curve) in enumerate(checked.items()):
        ranks, style = np.arange(1, len(curve) + 1), line_style(index)
        band = bands.get(name)
        if band is not None:
            low, high = np.clip((curve - band, curve + band), 0.0, 100.0)
            axes.fill_between(ranks, low, high, color=style["color"], alpha=0.18, linewidth=0)
        axes.plot(
            ranks,
            curve,
            **style,
            marker="o",
            markersize=3.5,
            # A curve at 100 % would otherwise lose half its line to the frame.
            clip_on=False,
            label=_label(name, curve[0], (mean_aps or {}).get(name), band),
        )
    lowest = min(curve[0] - (bands[name][0] if name in bands else 0.0)
                 for name, curve in checked.items())
    _style(axes, max_rank, lowest, "band: ± one standard deviation" if bands else None)
    save_plot(figure, path)


def _percentages(name: str, curve: np.ndarray) -> np.ndarray:
    curve = np.asarray(curve, np.float64)
    if curve.ndim != 1 or len(curve) == 0 or not np.all((curve >= 0) & (curve <= 1 + 1e-9)):
        raise UserError(
            f"the CMC curve of {name!r} must be a vector of fractions from 0 to 1, "
            f"received shape {curve.shape}."
        )
    return 100.0 * curve


def _deviations(name: str, std: np.ndarray, curve: np.ndarray) -> np.ndarray:
    std = np.asarray(std, np.float64)
    if std.shape != np.shape(curve) or not np.all(std >= 0):
        raise UserError(
            f"the standard deviations of {name!r} must be numbers from 0, one for each of its "
            f"{len(curve)} ranks, received shape {std.shape}."
        )
    return 100.0 * std


def _label(name: str, rank_1: float, mean_ap: float | None, band: np.ndarray | None) -> str:
    scores = f"rank-1 {rank_1:.2f} %"
    if band is not None:
        scores = f"rank-1 {rank_1:.2f} ± {band[0]:.2f} %"
    if mean_ap is not None:
        scores += f", mAP {100 * mean_ap:.2f} %"
    return f"{name} ({scores})"


def _style(axes, max_rank: int, lowest: float, legend_title: str | None) -> None:
    """Labels the axes and zooms in on the part of the scale that the curves use."""
    axes.set_xlabel("rank k")
    axes.set_ylabel("queries matched within the first k (%)")
    tidy(axes, "Cumulative matching characteristic")
    axes.set_xlim(1, max(max_rank, 2))
    axes.set_ylim(max(0.0, 10.0 * np.floor((lowest - 5.0) / 10.0)), 100.0)
    step = max(1, int(np.ceil(max_rank / 10)))
    axes.set_xticks([1, *(k for k in range(step, max_rank + 1, step) if k > 1)])
    place = {"loc": "lower right"}
    if len(axes.get_lines()) > _MOST_INSIDE:
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.12)}
    axes.legend(**place, frameon=True, framealpha=0.9, edgecolor="none", fontsize=9,
                title=legend_title, title_fontsize=9)
