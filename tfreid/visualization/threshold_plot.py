"""Plots the distances of positive and negative pairs, and the effect of thresholds."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from matplotlib.ticker import FuncFormatter

from tfrecords.errors import UserError
from tfreid.visualization.plot_style import COLORS, new_figure, save_plot, tidy

_POSITIVE, _NEGATIVE, *_MARKS = COLORS
_BINS = 120


def draw_pair_distances(
    distances: np.ndarray,
    positives: np.ndarray,
    negatives: np.ndarray,
    path: str | os.PathLike,
    thresholds: Mapping[str, float] | None = None,
    label: str = "distance",
    title: str = "Distances of pairs",
) -> None:
    """Draws histograms of the distances of positive and of negative pairs into one PNG.

    Each histogram is normalised by itself: there are about a thousand times as many negative pairs.

    Args:
        distances: Finite numbers [n].
        positives: Number of positive pairs at each distance [n].
        negatives: Number of negative pairs at each distance [n].
        path: PNG file; its folder is created if it is missing.
        thresholds: Name -> distance, drawn as vertical lines.
        label: Name of the distance.
        title: Title of the plot.

    Raises:
        UserError: If there are no positive or no negative pairs.
    """
    positives, negatives = np.asarray(positives), np.asarray(negatives)
    if not positives.sum() or not negatives.sum():
        raise UserError("a histogram of distances needs positive and negative pairs.")
    figure, axes = _axes(title)
    edges = np.histogram_bin_edges(distances, _BINS)
    for counts, colour, name in (
        (positives, _POSITIVE, "positive"), (negatives, _NEGATIVE, "negative")
    ):
        shares = np.histogram(distances, edges, weights=counts)[0] / counts.sum()
        axes.stairs(100.0 * shares, edges, fill=True, alpha=0.35, color=colour)
        axes.stairs(100.0 * shares, edges, color=colour, linewidth=1.4,
                    label=f"{name} pairs ({counts.sum():,})")
    for index, (name, threshold) in enumerate((thresholds or {}).items()):
        axes.axvline(threshold, color=_MARKS[index % len(_MARKS)], linestyle="--", linewidth=1.4,
                     label=f"{name}: {threshold:.4g}")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel(label)
    axes.set_ylabel("share of the positive or negative pairs (%)")
    _save(figure, path)


def draw_roc(
    false_positive_rates: np.ndarray,
    true_positive_rates: np.ndarray,
    path: str | os.PathLike,
    points: Mapping[str, tuple[float, float]] | None = None,
    area: float | None = None,
    title: str = "Receiver operating characteristic",
) -> None:
    """Draws a receiver operating characteristic into one PNG.

    The axis of the false-positive rate is logarithmic: rates far below one matter.

    Args:
        false_positive_rates: Fractions [n], ascending.
        true_positive_rates: Fractions [n], ascending.
        path: PNG file; its folder is created if it is missing.
        points: Name -> its false- and true-positive rate, drawn as dots.
        area: Area under the curve, for the legend.
        title: Title of the plot.

    Raises:
        UserError: If no false-positive rate is above 0.
    """
    false = np.asarray(false_positive_rates, np.float64)
    true = np.asarray(true_positive_rates, np.float64)
    if not np.any(false > 0):
        raise UserError("a ROC curve needs negative pairs.")
    figure, axes = _axes(title)
    # A logarithmic axis has no place for rates of zero; the curve enters at its left edge.
    marked = [rate for rate, _ in (points or {}).values() if rate > 0]
    lowest = max(0.9 * false[false > 0].min(), min([1e-6, *marked]))
    left = 10.0 ** np.floor(np.log10(lowest))
    chance = np.geomspace(left, 1.0, 200)
    axes.plot(chance, 100.0 * chance, color="#999999", linewidth=1.0, linestyle=":",
              label="chance")
    axes.step(np.maximum(false, left), 100.0 * true, where="post", color=_POSITIVE, linewidth=1.8,
              label="pairs" if area is None else f"pairs (area {area:.5f})")
    for index, (name, (rate, found)) in enumerate((points or {}).items()):
        axes.plot(max(rate, left), 100.0 * found, marker="o", markersize=7, linestyle="none",
                  color=_MARKS[index % len(_MARKS)], clip_on=False, zorder=3,
                  label=f"{name}: TPR {found:.2%}, FPR {rate:.3%}")
    axes.set_xscale("log")
    axes.set_xlim(left, 1.0)
    axes.set_ylim(0.0, 100.0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:g} %"))
    axes.set_xlabel("false-positive rate")
    axes.set_ylabel("true-positive rate (%)")
    _save(figure, path)


def _axes(title: str):
    figure = new_figure(7.2, 5.2)
    axes = figure.add_subplot()
    tidy(axes, title)
    return figure, axes


def _save(figure, path: str | os.PathLike) -> None:
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    save_plot(figure, path)
