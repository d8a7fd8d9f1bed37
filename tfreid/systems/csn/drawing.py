"""Draws what a CSN sees: in one pair of images, and in the best results of a query."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.colors import PowerNorm

from tfreid.systems.csn.inspection import (
    ENLARGED,
    PairDetails,
    cell_sides,
    draw_regions,
    region_color,
)
from tfreid.visualization.heat import HEAT_COLORS, lay_over
from tfreid.visualization.page import (
    FRAME,
    MUTED,
    column,
    fit_image,
    image,
    legend,
    note,
    row,
    save,
    scale,
    text,
)

_LEVEL_NAMES = {2: "low", 3: "mid", 4: "high"}
# Pixels: greatest height and width of an image; least width of a map with its text.
_HEIGHT, _WIDTH, _CELL = 300, 180, 200
# Outline of a part on the small copy, in pixels of the image.
_SMALL_LINE = 1.75
_MATCH, _MISMATCH, _QUERY = (0, 146, 80), (208, 48, 40), (90, 90, 90)
# The same sides for ranked results; width of the figures, least width of a level.
_RANKED_HEIGHT, _RANKED_WIDTH = 204, 120
_FIGURES, _LEVEL = 190, 214


@dataclass(frozen=True, eq=False)
class RankedPair:
    """A query (image A) compared with a gallery image (B), whose label is given."""

    details: PairDetails
    is_match: bool
    label: str


def map_limits(maps: Iterable[np.ndarray]) -> tuple[float, float]:
    """Returns the smallest and the largest value of maps of any sizes, for a common scale."""
    extremes = [(np.min(values), np.max(values)) for values in maps]
    least, greatest = zip(*extremes)
    return float(min(least)), float(max(greatest))


def pair_limits(pairs: Sequence[PairDetails]) -> dict[int, tuple[float, float]]:
    """Returns the limits of each level's maps over several pairs."""
    return {level: map_limits(half for pair in pairs for half in pair.levels[level].maps)
            for level in pairs[0].levels}


def heat_scale(limits: tuple[float, float]) -> PowerNorm:
    """Returns the scale from values to colours, a root since most sums of products are small."""
    return PowerNorm(0.5, *limits, clip=True)


def overlay_map(image: np.ndarray, values: np.ndarray, limits: tuple[float, float],
                enlarged: int = ENLARGED) -> np.ndarray:
    """Lays a map as heat over a grey image, each cell at its place in the image.

    Args:
        image: uint8 RGB [height, width, 3], at the network's input size.
        values: [h, w].
        limits: Values of the darkest and the brightest colour.
        enlarged: Factor by which both sides are enlarged.

    Returns:
        uint8 RGB [enlarged * height, enlarged * width, 3].
    """
    height, width = (enlarged * side for side in image.shape[:2])
    cells = [enlarged * count * side
             for count, side in zip(values.shape, cell_sides(values.shape, image.shape[:2]))]
    heat = cv2.resize(np.asarray(values, np.float32), cells[::-1])[:height, :width]
    return lay_over(cv2.resize(image, (width, height)), heat_scale(limits)(heat))


def draw_pair(details: PairDetails, path: str | os.PathLike, names: tuple[str, str] = ("", ""),
              heading: str = "Similarity at several levels",
              limits: Mapping[int, tuple[float, float]] | None = None) -> None:
    """Draws attended regions and all similarity maps of one pair into one PNG.

    Every level has a row. Each heat map has a small copy of the image from which its part was cut.
    After Figure 4 of Guo and Cheung 2018.

    Args:
        details: What the network sees in the pair.
        path: PNG file; its folder is created if it is missing.
        names: Names of the images A and B.
        heading: Title of the picture.
        limits: Level -> values of the darkest and the brightest colour, to compare pictures.
            Defaults to the range of the pair's own values.
    """
    shared = ", also with the other pair's picture." if limits is not None else "."
    limits = limits or pair_limits([details])
    colors = {f"{level_name(level)}: {name}": region_color(level, part)
              for level in details.levels for part, name in enumerate(details.part_names)}
    both = [column(text(f"{name}, attended\nregions", 7.5), _fitted(details.outlined(side)))
            for side, name in enumerate("AB")]
    named = "   ".join(f"{side}: {name}" for side, name in zip("AB", names) if name)
    save(
        path,
        text(heading, 12, bold=True),
        text(", ".join(details.figures()), 10.5),
        text(named or " ", 8, MUTED),
        row(column(row(*both), legend(colors), gap=16),
            column(*(_level(details, level, limits[level]) for level in details.levels), gap=14),
            gap=30),
        note("Heat: the part of one image outlined on the small copy, slid over the feature "
             f"map of the other image; the {details.channels} channels of that group of similarity "
             f"maps are summed. {_brightness(details)} "
             f"The heat maps of a level share one scale{shared}"),
    )


def draw_ranked_pairs(results: Sequence[RankedPair], path: str | os.PathLike, query: str = "",
                      heading: str = "Ranked gallery") -> None:
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
    side = _ranked(first.images[0]).shape[1]
    widths = (side + 34, side + 34, _FIGURES, *[max(2 * side + 18, _LEVEL)] * len(limits))
    scales = [column(scale(heat_scale(span), HEAT_COLORS, 2 * side + 16, upright=False),
                     text(f"sum of {first.channels} channels, all parts\n(root scale)", 7.5))
              for span in limits.values()]
    outlined = image(_ranked(first.outlined(0)), _QUERY, FRAME)
    rows = [_line(widths, text("query", 9, bold=True), text("gallery", 9, bold=True), text(" "),
                  levels, align="bottom")]
    for place, result in enumerate(results, 1):
        maps = [_both_maps(result.details, level, span) for level, span in limits.items()]
        color = _MATCH if result.is_match else _MISMATCH
        rows.append(_line(widths, text(" ") if place > 1 else outlined,
                          image(_ranked(result.details.outlined(1)), color, FRAME),
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
             f"similarity maps summed over parts and channels. {_brightness(first)} "
             f"Outlines: the attended parts ({colors})."),
    )


def _brightness(details):
    """Says what makes a heat map bright."""
    if details.cosine:
        return ("Bright where the other image's features lie as in the part, strong or weak: the "
                "correlation is normalised.")
    return ("Bright where the other image strongly shows the features of the part, or shows strong "
            "features of any kind: the correlation is not normalised.")


def _level(details, level, limits):
    """Draws the heat maps of a level in both directions, and their scale."""
    halves = [row(*(_map(details, level, half, part, limits)
                    for part in range(len(details.part_names)))) for half in (0, 1)]
    fitted = fit_image(details.images[0], _HEIGHT, _WIDTH)
    bar = column(text(f"sum of {details.channels}\nchannels (root scale)", 7.5),
                 scale(heat_scale(limits), HEAT_COLORS, fitted.shape[0]))
    return row(*halves, bar, gap=30)


def _map(details, level, half, part, limits):
    """Draws where a part was cut, and its correlation with the other image's map."""
    found = details.levels[level]
    source, target = ("AB", "BA")[half]
    cut = draw_regions(details.images[half], {level: found.regions[half]},
                       {level: found.map_shape}, part=part, line=_SMALL_LINE)
    heat = overlay_map(details.images[1 - half], found.maps[half][part], limits)
    return column(
        text(f"{level_name(level)}: {details.part_names[part]}\nof {source} searched in {target}",
             7.5),
        row(_fitted(cut, 0.5), _fitted(heat), gap=6),
        width=max(_CELL, 1.5 * fit_image(heat, _HEIGHT, _WIDTH).shape[1] + 12))


def _fitted(pixels, share=1.0):
    return image(fit_image(pixels, round(share * _HEIGHT), round(share * _WIDTH)))


def _ranked(pixels):
    return fit_image(pixels, _RANKED_HEIGHT, _RANKED_WIDTH)


def _line(widths, query, result, figures, levels, align="top"):
    cells = (query, result, figures, *levels)
    return row(*(column(cell, width=width) for cell, width in zip(cells, widths)), align=align)


def _both_maps(details, level, limits):
    """Draws the query's parts searched in the result, then the reverse."""
    return row(*(
        image(_ranked(overlay_map(details.images[1 - half], maps.sum(0), limits)))
        for half, maps in enumerate(details.levels[level].maps)), gap=14)


def _figures(place, result, color):
    sign = ("\N{CHECK MARK} same person" if result.is_match
            else "\N{MULTIPLICATION X} other person")
    return column(text(f"{place}.  {sign}", 9, color, bold=True),
                  text("\n".join([*result.details.figures(), result.label])), gap=12)


def level_name(level: int) -> str:
    """Returns a level's number and its name in the paper."""
    return f"level {level} ({_LEVEL_NAMES[level]})"
