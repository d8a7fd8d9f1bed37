"""Draws what a CSN compares in a pair of images: attended regions and similarity maps."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.colors import PowerNorm

from tfreid.systems.csn.regions import cell_sides, draw_regions, region_color
from tfreid.visualization.heat import HEAT_COLORS, lay_over
from tfreid.visualization.page import MUTED, Page

_ENLARGED = 4
_LEVEL_NAMES = {2: "low", 3: "mid", 4: "high"}
_STRIPE_NAMES = ("upper part", "middle part", "bottom part")
# Inches: white space; heights of the title, of labels, of the foot and of an image, and its
# greatest width; least widths of a heat map with its text and of the page; a bar with its text.
_MARGIN, _GAP, _SPACE = 0.2, 0.12, 0.25
_HEAD, _LABEL, _FOOT, _ROW, _WIDEST = 0.95, 0.5, 0.75, 2.5, 1.5
_CELL_TEXT, _NARROWEST, _BAR = 1.5, 8.0, 1.3
_LEGEND_LINE = 0.15
# Size of the copy that shows where a part was cut, and its outline in pixels of the image.
_SMALL, _SMALL_LINE = 0.5, 1.75


@dataclass(frozen=True, eq=False)
class LevelDetails:
    """What one level sees in a pair of images A and B, with p parts in each.

    Attributes:
        map_shape: Height h and width w of the level's maps.
        regions: Of A and of B, [p, 6] as of `tfreid.layers.spatial_transformer.affine_grid`.
        maps: A's parts searched in B, then B's in A: [p, h, w], summed over channels.
        channels: How many channels were summed.
    """

    map_shape: tuple[int, int]
    regions: tuple[np.ndarray, np.ndarray]
    maps: tuple[np.ndarray, np.ndarray]
    channels: int


@dataclass(frozen=True, eq=False)
class PairDetails:
    """What a CSN sees in a pair of images A and B.

    Attributes:
        images: Both, uint8 RGB [height, width, 3], at the size that the network sees.
        levels: Level -> its details.
        probability: Of a match.
        distance: Of the descriptors; None of a network without ranking net.
        score: SimiScore.
    """

    images: tuple[np.ndarray, np.ndarray]
    levels: Mapping[int, LevelDetails]
    probability: float
    distance: float | None
    score: float

    @property
    def aspect(self) -> float:
        """Width of the images by their height."""
        height, width = self.images[0].shape[:2]
        return width / height

    @property
    def channels(self) -> int:
        """How many channels were summed; every level has as many."""
        return next(iter(self.levels.values())).channels

    @property
    def part_names(self) -> Sequence[str]:
        """Names of the parts from the top down."""
        count = len(next(iter(self.levels.values())).maps[0])
        return _STRIPE_NAMES if count == len(_STRIPE_NAMES) else ("part",)

    def figures(self) -> list[str]:
        """Returns probability, distance and score in words."""
        distance = [] if self.distance is None else [f"distance {self.distance:.3f}"]
        return [f"match probability {self.probability:.3f}", *distance,
                f"SimiScore {self.score:.3f}"]

    def outlined(self, side: int) -> np.ndarray:
        """Draws all regions on image A (`side` 0) or B (1), enlarged."""
        levels = self.levels.items()
        return draw_regions(self.images[side],
                            {level: found.regions[side] for level, found in levels},
                            {level: found.map_shape for level, found in levels}, _ENLARGED)


def level_name(level: int) -> str:
    """Returns a level's number and what the paper calls its height."""
    return f"level {level} ({_LEVEL_NAMES[level]})"


def map_limits(maps: Iterable[np.ndarray]) -> tuple[float, float]:
    """Returns the least and the greatest value of maps of any sizes, for a scale they share."""
    extremes = [(np.min(values), np.max(values)) for values in maps]
    least, greatest = zip(*extremes)
    return float(min(least)), float(max(greatest))


def pair_limits(pairs: Sequence[PairDetails]) -> dict[int, tuple[float, float]]:
    """Returns the limits of each level's maps over several pairs."""
    return {level: map_limits(half for pair in pairs for half in pair.levels[level].maps)
            for level in pairs[0].levels}


def heat_scale(limits: tuple[float, float]) -> PowerNorm:
    """Returns the scale from values to colours.

    Sums of products are skewed: a root leaves colours for the many small ones.
    """
    return PowerNorm(0.5, *limits, clip=True)


def overlay_map(
    image: np.ndarray, values: np.ndarray, limits: tuple[float, float], enlarged: int = _ENLARGED
) -> np.ndarray:
    """Lays a map over an image in grey as a heat map, each cell where it lies in the image.

    Args:
        image: uint8 RGB [height, width, 3], of the size of the network's input.
        values: [h, w].
        limits: Values of the scale's darkest and brightest colour.
        enlarged: Factor of both sides.

    Returns:
        uint8 RGB [enlarged * height, enlarged * width, 3].
    """
    height, width = (enlarged * side for side in image.shape[:2])
    cells = [enlarged * count * side
             for count, side in zip(values.shape, cell_sides(values.shape, image.shape[:2]))]
    heat = cv2.resize(np.asarray(values, np.float32), cells[::-1])[:height, :width]
    return lay_over(cv2.resize(image, (width, height)), heat_scale(limits)(heat))


def draw_pair(
    details: PairDetails,
    path: str | os.PathLike,
    names: tuple[str, str] = ("", ""),
    heading: str = "Similarity at several levels",
    limits: Mapping[int, tuple[float, float]] | None = None,
) -> None:
    """Draws attended regions and all similarity maps of one pair into one PNG.

    Every level has a row. A heat map stands beside a small copy of the image that its part was cut
    from. After Figure 4 of Guo and Cheung 2018.

    Args:
        details: Of the pair.
        path: the PNG file; its folder is made if it is missing.
        names: of the images A and B.
        heading: stands above the figures of the pair.
        limits: level -> values of the darkest and brightest colour, of pictures to be compared;
            None spans the pair's own values.
    """
    sheet = _PairSheet(details, limits or pair_limits([details]))
    sheet.add_texts(names, heading, shared=limits is not None)
    sheet.add_overview()
    for place, level in enumerate(details.levels):
        for half in (0, 1):
            for part in range(len(details.part_names)):
                sheet.add_map(place, level, half, part)
        sheet.add_scale(place, level)
    sheet.page.save(path)


class _PairSheet:
    """Lays out a pair: both images, then a row of heat maps for each level."""

    def __init__(self, details: PairDetails, limits: Mapping[int, tuple[float, float]]):
        self._details, self._limits = details, limits
        self._height = min(_ROW, _WIDEST / details.aspect)
        self._width = self._height * details.aspect
        self._cell = max(_SMALL * self._width + self._width + 1.5 * _GAP, _CELL_TEXT)
        block = len(details.part_names) * self._cell + _SPACE
        first = _MARGIN + 2 * (self._width + _GAP) + _SPACE
        self._halves = (first, first + block)
        self._right = first + 2 * block - _SPACE
        legend = _LEGEND_LINE * len(details.levels) * len(details.part_names)
        row = _LABEL + self._height
        body = max(len(details.levels) * row, row + _GAP + legend)
        self.page = Page(max(self._right + _BAR, _NARROWEST), _HEAD + body + _FOOT)

    def add_texts(self, names: tuple[str, str], heading: str, shared: bool) -> None:
        """Writes the head and the foot of the page."""
        page, details = self.page, self._details
        page.write(_MARGIN, 0.3, heading, size=12, weight="bold")
        page.write(_MARGIN, 0.58, ", ".join(details.figures()), size=10.5)
        named = "   ".join(f"{side}: {name}" for side, name in zip("AB", names) if name)
        page.write(_MARGIN, 0.82, named, size=8, color=MUTED)
        page.note(_MARGIN, (
            "Heat: the part of one image that is outlined on the small copy, slid over the feature "
            f"map of the other image; the {details.channels} channels of that group of similarity "
            "maps are summed. Bright where the other image strongly shows the features of the "
            "part. The heat maps of a level share one scale"
            + (", also with the other pair's picture." if shared else ".")))

    def add_overview(self) -> None:
        """Shows both images with all their regions, and which colour is which."""
        top = _HEAD + _LABEL
        for side, name in enumerate("AB"):
            left = _MARGIN + side * (self._width + _GAP)
            self.page.write(left, top - 0.2, f"{name}, attended\nregions", size=7.5)
            self.page.show(self._details.outlined(side), left, top, self._width, self._height)
        colors = {f"{level_name(level)}: {name}": region_color(level, part)
                  for level in self._details.levels
                  for part, name in enumerate(self._details.part_names)}
        self.page.legend(colors, _MARGIN, top + self._height + _GAP)

    def add_map(self, place: int, level: int, half: int, part: int) -> None:
        """Shows where a part was cut, and how alike the other image is."""
        details, found = self._details, self._details.levels[level]
        left, top = self._halves[half] + part * self._cell, self._top(place)
        source, target = ("AB", "BA")[half]
        self.page.write(left, top - 0.2, f"{level_name(level)}: {details.part_names[part]}\n"
                        f"of {source} searched in {target}", size=7.5)
        cut = draw_regions(details.images[half], {level: found.regions[half]},
                           {level: found.map_shape}, part=part, line=_SMALL_LINE)
        self.page.show(cut, left, top, _SMALL * self._width, _SMALL * self._height)
        heat = overlay_map(details.images[1 - half], found.maps[half][part], self._limits[level])
        self.page.show(heat, left + _SMALL * self._width + _GAP / 2, top, self._width, self._height)

    def add_scale(self, place: int, level: int) -> None:
        """Shows the scale of a level's heat maps."""
        self.page.scale(heat_scale(self._limits[level]), HEAT_COLORS,
                        f"{level_name(level)}: sum of {self._details.channels} channels\n"
                        "(root scale)", self._right + 0.1, self._top(place), 0.12, self._height)

    def _top(self, place):
        return _HEAD + _LABEL + place * (_LABEL + self._height)
