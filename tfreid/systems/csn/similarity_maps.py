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
from tfreid.visualization.page import (
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

_ENLARGED = 4
_LEVEL_NAMES = {2: "low", 3: "mid", 4: "high"}
_STRIPE_NAMES = ("upper part", "middle part", "bottom part")
# Pixels: greatest height and width of an image; least width of a map with its text.
_HEIGHT, _WIDTH, _CELL = 300, 180, 200
# Outline of a part on the small copy, in pixels of the image.
_SMALL_LINE = 1.75


@dataclass(frozen=True, eq=False)
class LevelDetails:
    """What one level sees in a pair of images A and B, with p parts in each.

    Attributes:
        map_shape: Height h and width w of the level's maps.
        regions: Regions of A and of B, [p, 6] each; see
            `tfreid.layers.spatial_transformer.affine_grid`.
        maps: A's parts searched in B, then B's in A: [p, h, w], summed over channels.
        channels: Number of channels that were summed.
    """

    map_shape: tuple[int, int]
    regions: tuple[np.ndarray, np.ndarray]
    maps: tuple[np.ndarray, np.ndarray]
    channels: int


@dataclass(frozen=True, eq=False)
class PairDetails:
    """What a CSN sees in a pair of images A and B.

    Attributes:
        images: Both images, uint8 RGB [height, width, 3], at the size that the network sees.
        levels: Level -> its details.
        probability: Probability of a positive pair.
        distance: Distance of the descriptors; None for a network without ranking net.
        score: SimiScore.
    """

    images: tuple[np.ndarray, np.ndarray]
    levels: Mapping[int, LevelDetails]
    probability: float
    distance: float | None
    score: float

    @property
    def channels(self) -> int:
        """Number of channels that were summed, the same at every level."""
        return next(iter(self.levels.values())).channels

    @property
    def part_names(self) -> Sequence[str]:
        """Returns the names of the parts from the top down."""
        count = len(next(iter(self.levels.values())).maps[0])
        return _STRIPE_NAMES if count == len(_STRIPE_NAMES) else ("part",)

    def figures(self) -> list[str]:
        """Returns probability, distance and score as texts."""
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
    """Returns a level's number and its name in the paper."""
    return f"level {level} ({_LEVEL_NAMES[level]})"


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
    """Returns the scale from values to colours.

    Sums of products are skewed: a root leaves more colours for the many small ones.
    """
    return PowerNorm(0.5, *limits, clip=True)


def overlay_map(
    image: np.ndarray, values: np.ndarray, limits: tuple[float, float], enlarged: int = _ENLARGED
) -> np.ndarray:
    """Lays a map over an image in grey as a heat map, each cell at its place in the image.

    Args:
        image: uint8 RGB [height, width, 3], of the size of the network's input.
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


def draw_pair(
    details: PairDetails,
    path: str | os.PathLike,
    names: tuple[str, str] = ("", ""),
    heading: str = "Similarity at several levels",
    limits: Mapping[int, tuple[float, float]] | None = None,
) -> None:
    """Draws attended regions and all similarity maps of one pair into one PNG.

    Every level has a row. Beside a heat map is a small copy of the image that its part was cut
    from. After Figure 4 of Guo and Cheung 2018.

    Args:
        details: What the network sees in the pair.
        path: PNG file; its folder is created if it is missing.
        names: Names of the images A and B.
        heading: Title of the picture.
        limits: Level -> values of the darkest and the brightest colour, for pictures that are to be
            compared. Defaults to the range of the pair's own values.
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
             "maps are summed. Bright where the other image strongly shows the features of the "
             f"part. The heat maps of a level share one scale{shared}"),
    )


def _level(details, level, limits):
    """Returns the heat maps of a level in both directions, and their scale."""
    halves = [row(*(_map(details, level, half, part, limits)
                    for part in range(len(details.part_names)))) for half in (0, 1)]
    fitted = fit_image(details.images[0], _HEIGHT, _WIDTH)
    bar = column(text(f"sum of {details.channels}\nchannels (root scale)", 7.5),
                 scale(heat_scale(limits), HEAT_COLORS, fitted.shape[0]))
    return row(*halves, bar, gap=30)


def _map(details, level, half, part, limits):
    """Returns where a part was cut, and how similar the other image is to it."""
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
