"""Draws a query's best gallery images with what a CSN sees in each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from tfreid.systems.csn.similarity_maps import (
    PairDetails,
    heat_scale,
    level_name,
    map_limits,
    overlay_map,
)
from tfreid.visualization.heat import HEAT_COLORS
from tfreid.visualization.page import (
    FRAME,
    MUTED,
    column,
    fit_image,
    image,
    note,
    row,
    save,
    scale,
    text,
)

_MATCH, _MISMATCH, _QUERY = (0, 146, 80), (208, 48, 40), (90, 90, 90)
# Pixels: greatest height and width of an image; width of the figures, least width of a level.
_HEIGHT, _WIDTH = 204, 120
_FIGURES, _LEVEL = 190, 214


@dataclass(frozen=True, eq=False)
class RankedPair:
    """A gallery image compared with a query, which is image A of the details, and its label."""

    details: PairDetails
    is_match: bool
    label: str


def draw_ranked_pairs(
    results: Sequence[RankedPair],
    path: str | os.PathLike,
    query: str = "",
    heading: str = "Ranked gallery",
) -> None:
    """Draws a query's best gallery images with their scores and similarity maps into one PNG.

    A row shows one result, framed green (the query's identity) or red, and for each level two maps,
    summed over parts and channels: the query's parts searched in the result, and the reverse.

    Args:
        results: Results, best first.
        path: PNG file; its folder is created if it is missing.
        query: Label of the query.
        heading: Title of the picture.

    Raises:
        ValueError: If there are no results.
    """
    if not results:
        raise ValueError("results must not be empty")
    first = results[0].details
    limits = {level: map_limits(half.sum(0) for result in results
                                for half in result.details.levels[level].maps)
              for level in first.levels}
    levels = [text(f"{level_name(level)}\nquery in result | result in query", 7.5)
              for level in limits]
    side = _fitted(first.images[0]).shape[1]
    widths = (side + 34, side + 34, _FIGURES, *[max(2 * side + 18, _LEVEL)] * len(limits))
    scales = [column(scale(heat_scale(span), HEAT_COLORS, 2 * side + 16, upright=False),
                     text(f"sum of {first.channels} channels, all parts\n(root scale)", 7.5))
              for span in limits.values()]
    outlined = image(_fitted(first.outlined(0)), _QUERY, FRAME)
    rows = [_line(widths, text("query", 9, bold=True), text("gallery", 9, bold=True), text(" "),
                  levels, align="bottom")]
    for place, result in enumerate(results, 1):
        maps = [_maps(result.details, level, span) for level, span in limits.items()]
        color = _MATCH if result.is_match else _MISMATCH
        rows.append(_line(widths, text(" ") if place > 1 else outlined,
                          image(_fitted(result.details.outlined(1)), color, FRAME),
                          _figures(place, result, color), maps))
    colors = ("red upper, green middle, blue bottom; paler at deeper levels"
              if len(first.part_names) > 1 else "paler at deeper levels")
    save(
        path,
        text(heading, 12, bold=True),
        text(f"query: {query}", 9, MUTED),
        *rows,
        _line(widths, text(" "), text(" "), text(" "), scales),
        note("Heat: the attended parts of one image slid over the feature map of the other, their "
             "similarity maps summed over parts and channels; bright where that image strongly "
             f"shows the features of the parts. Outlines: the attended parts ({colors})."),
    )


def _fitted(pixels):
    return fit_image(pixels, _HEIGHT, _WIDTH)


def _line(widths, query, result, figures, levels, align="top"):
    cells = (query, result, figures, *levels)
    return row(*(column(cell, width=width) for cell, width in zip(cells, widths)), align=align)


def _maps(details, level, limits):
    """Shows the query's parts searched in the result, then the reverse."""
    return row(*(
        image(_fitted(overlay_map(details.images[1 - half], maps.sum(0), limits)))
        for half, maps in enumerate(details.levels[level].maps)), gap=14)


def _figures(place, result, color):
    sign = ("\N{CHECK MARK} same person" if result.is_match
            else "\N{MULTIPLICATION X} other person")
    return column(text(f"{place}.  {sign}", 9, color, bold=True),
                  text("\n".join([*result.details.figures(), result.label])), gap=12)
