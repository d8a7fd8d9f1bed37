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
from tfreid.visualization.page import MUTED, Page

_MATCH, _MISMATCH, _QUERY = "#009250", "#d03028", "#5a5a5a"
# Inches: white space; heights of the title, of labels, of the foot and of an image, and its
# greatest width; least sizes of the page and of a row; widths that texts need.
_MARGIN, _GAP, _SPACE = 0.25, 0.12, 0.25
_HEAD, _LABEL, _FOOT, _ROW, _WIDEST = 0.75, 0.5, 1.2, 1.7, 1.0
_NARROWEST, _LEAST_ROW, _FIGURES, _LEVEL = 8.0, 1.1, 1.7, 1.95


@dataclass(frozen=True, eq=False)
class RankedPair:
    """A gallery image compared with a query: details (the query is A), right or wrong, a label."""

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

    A row shows one result, framed green (the query's person) or red, and for each level two maps,
    summed over parts and channels: the query's parts searched in the result, and the reverse.

    Args:
        results: best first.
        path: the PNG file; its folder is made if it is missing.
        query: its label.
        heading: stands above the picture.

    Raises:
        ValueError: no results.
    """
    if not results:
        raise ValueError("results must not be empty")
    sheet = _Sheet(results)
    sheet.add_texts(query, heading)
    for place in range(len(results)):
        sheet.add_result(place)
    for column, level in enumerate(results[0].details.levels):
        sheet.add_level(column, level)
    sheet.page.save(path)


class _Sheet:
    """Lays out the query, then a row for each result and two columns of maps for each level."""

    def __init__(self, results: Sequence[RankedPair]):
        self._results = results
        self._first = results[0].details
        self._height = min(_ROW, _WIDEST / self._first.aspect)
        self._width = self._height * self._first.aspect
        self._result_left = _MARGIN + self._width + _SPACE
        self._maps_left = self._result_left + self._width + _SPACE + _FIGURES
        self._step = max(2 * (self._width + _GAP) + _SPACE, _LEVEL)
        width = self._maps_left + len(self._first.levels) * self._step + _MARGIN
        self.page = Page(max(width, _NARROWEST), self._top(len(results)) + _FOOT)

    def add_texts(self, query: str, heading: str) -> None:
        """Shows the query, and writes the head and the foot of the page."""
        page, top = self.page, self._top(0)
        page.write(_MARGIN, 0.3, heading, size=12, weight="bold")
        page.write(_MARGIN, 0.58, f"query: {query}", size=9, color=MUTED)
        page.write(_MARGIN, top - 0.2, "query", size=9, weight="bold")
        page.write(self._result_left, top - 0.2, "gallery", size=9, weight="bold")
        page.show(self._first.outlined(0), _MARGIN, top, self._width, self._height, frame=_QUERY)
        colors = ("red upper, green middle, blue bottom; paler at deeper levels"
                  if len(self._first.part_names) > 1 else "paler at deeper levels")
        page.note(_MARGIN, (
            "Heat: the attended parts of one image slid over the feature map of the other, "
            "their similarity maps summed over parts and channels; bright where that image "
            f"strongly shows the features of the parts. Outlines: the attended parts ({colors})."))

    def add_result(self, place: int) -> None:
        """Shows one result's image and figures."""
        result, top = self._results[place], self._top(place)
        color = _MATCH if result.is_match else _MISMATCH
        self.page.show(result.details.outlined(1), self._result_left, top, self._width,
                       self._height, frame=color)
        sign = ("\N{CHECK MARK} same person" if result.is_match
                else "\N{MULTIPLICATION X} other person")
        left = self._result_left + self._width + _GAP
        self.page.write(left, top + 0.12, f"{place + 1}.  {sign}", size=9, weight="bold",
                        color=color)
        self.page.write(left, top + 0.62, "\n".join([*result.details.figures(), result.label]),
                        size=8)

    def add_level(self, column: int, level: int) -> None:
        """Shows a level's maps of all results, and their scale."""
        left = self._maps_left + column * self._step
        pairs = [(result.details.images, result.details.levels[level].maps)
                 for result in self._results]
        limits = map_limits(half.sum(0) for _, maps in pairs for half in maps)
        self.page.write(left, self._top(0) - 0.2,
                        f"{level_name(level)}\nquery in result | result in query", size=7.5)
        for place, (images, maps) in enumerate(pairs):
            for half in (0, 1):
                heat = overlay_map(images[1 - half], maps[half].sum(0), limits)
                self.page.show(heat, left + half * (self._width + _GAP), self._top(place),
                               self._width, self._height)
        self.page.scale(heat_scale(limits), HEAT_COLORS,
                        f"sum of {self._first.channels} channels, all parts\n(root scale)", left,
                        self._top(len(pairs)) - 0.1, 2 * self._width + _GAP, 0.1)

    def _top(self, place):
        return _HEAD + _LABEL + place * (max(self._height, _LEAST_ROW) + _SPACE)
