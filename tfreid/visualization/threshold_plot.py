"""Plots how far apart pairs of one person and of two persons lie, and what thresholds do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tfrecords.errors import UserError

# Okabe and Ito's palette, which stays apart under colour blindness.
_ONE_PERSON, _TWO_PERSONS, _CURVE = "#0072B2", "#D55E00", "#0072B2"
_MARKS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
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
    """Draws histograms of the distances of pairs of one person and of two into one PNG.

    Each histogram is a share of its own kind of pairs: there are about a thousand times as many
    pairs of two persons.

    Args:
        distances: finite numbers [n].
        positives: how many pairs of one person lie at each [n].
        negatives: how many pairs of two persons lie at each [n].
        path: the PNG file; its folder is made if it is missing.
        thresholds: name -> distance, drawn as upright lines.
        label: what the distance is.
        title: stands above the plot.

    Raises:
        UserError: no pairs of one kind.
    """
    positives, negatives = np.asarray(positives), np.asarray(negatives)
    if not positives.sum() or not negatives.sum():
        raise UserError("a histogram of distances needs pairs of one person and of two.")
    figure, axes = _figure(title)
    edges = np.histogram_bin_edges(distances, _BINS)
    for counts, colour, name in (
        (positives, _ONE_PERSON, "one person"), (negatives, _TWO_PERSONS, "two persons")
    ):
        shares = np.histogram(distances, edges, weights=counts)[0] / counts.sum()
        axes.stairs(100.0 * shares, edges, fill=True, alpha=0.35, color=colour)
        axes.stairs(100.0 * shares, edges, color=colour, linewidth=1.4,
                    label=f"{name} ({counts.sum():,} pairs)")
    for index, (name, threshold) in enumerate((thresholds or {}).items()):
        axes.axvline(threshold, color=_MARKS[index % len(_MARKS)], linestyle="--", linewidth=1.4,
                     label=f"{name}: {threshold:.4g}")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel(label)
    axes.set_ylabel("share of the pairs of a kind (%)")
    _save(figure, path)


def draw_roc(
    false_positive_rates: np.ndarray,
    true_positive_rates: np.ndarray,
    path: str | os.PathLike,
    points: Mapping[str, tuple[float, float]] | None = None,
    area: float | None = None,
) -> None:
    """Draws a receiver operating characteristic into one PNG.

    The axis of false positives is logarithmic: what matters happens at rates far below one.

    Args:
        false_positive_rates: fractions [n], ascending.
        true_positive_rates: fractions [n], ascending.
        path: the PNG file; its folder is made if it is missing.
        points: name -> its false- and true-positive rate, drawn as dots.
        area: area under the curve, for the legend.

    Raises:
        UserError: no false-positive rate above 0.
    """
    false = np.asarray(false_positive_rates, np.float64)
    true = np.asarray(true_positive_rates, np.float64)
    if not np.any(false > 0):
        raise UserError("a ROC curve needs pairs of two persons.")
    figure, axes = _figure("Receiver operating characteristic")
    # Rates of zero have no place on the axis; the curve enters at its left edge.
    marked = [rate for rate, _ in (points or {}).values() if rate > 0]
    lowest = max(0.9 * false[false > 0].min(), min([1e-6, *marked]))
    left = 10.0 ** np.floor(np.log10(lowest))
    chance = np.geomspace(left, 1.0, 200)
    axes.plot(chance, 100.0 * chance, color="#999999", linewidth=1.0, linestyle=":",
              label="chance")
    axes.step(np.maximum(false, left), 100.0 * true, where="post", color=_CURVE, linewidth=1.8,
              label="pairs" if area is None else f"pairs (area {area:.5f})")
    for index, (name, (rate, found)) in enumerate((points or {}).items()):
        axes.plot(max(rate, left), 100.0 * found, marker="o", markersize=7, linestyle="none",
                  color=_MARKS[index % len(_MARKS)], clip_on=False, zorder=3,
                  label=f"{name}: {found:.2%} found, {rate:.3%} mistaken")
    axes.set_xscale("log")
    axes.set_xlim(left, 1.0)
    axes.set_ylim(0.0, 100.0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:g} %"))
    axes.set_xlabel("pairs of two persons taken for one (false positives)")
    axes.set_ylabel("pairs of one person found (true positives, %)")
    _save(figure, path)


def _figure(title: str):
    figure = Figure(figsize=(7.2, 5.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11)
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: str | os.PathLike) -> None:
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")
