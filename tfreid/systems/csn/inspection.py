"""What a CSN sees in one pair of images: attended regions, similarity maps and score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import keras
import numpy as np
import tensorflow as tf

from tfreid.config import Config
from tfreid.layers.preprocessing import resize_images
from tfreid.layers.spatial_transformer import stripe_rows
from tfreid.systems.csn.comparison import compare_pairs
from tfreid.systems.csn.network import csn_parts, map_shape
from tfreid.systems.csn.scores import simi_score

# Colours of the parts of an image, from the top down, and the share of white at each level.
_COLORS = ((230, 40, 40), (20, 180, 70), (40, 90, 240))
_PALENESS = {2: 0.0, 3: 0.35, 4: 0.6}
ENLARGED = 4
_STRIPE_NAMES = ("upper part", "middle part", "bottom part")


@dataclass(frozen=True, eq=False)
class LevelDetails:
    """What one level sees in a pair of images A and B, with p parts in each.

    Attributes:
        map_shape: Height h and width w of the level's maps.
        regions: Regions of A and of B, [p, 6] each; see `affine_grid`.
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
        images: Both images, uint8 RGB [height, width, 3], at the network's input size.
        levels: Level -> its details.
        probability: Probability of a positive pair.
        distance: Distance of the descriptors; None without ranking net.
        score: SimiScore.
        cosine: Whether the similarity is normalised, `csn.similarity`.
    """

    images: tuple[np.ndarray, np.ndarray]
    levels: Mapping[int, LevelDetails]
    probability: float
    distance: float | None
    score: float
    cosine: bool = False

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
                            {level: found.map_shape for level, found in levels}, ENLARGED)


def describe_pair(model: keras.Model, config: Config, first: np.ndarray,
                  second: np.ndarray) -> PairDetails:
    """Compares two images and keeps the intermediate results.

    A map of `LevelDetails.maps` is the sum over the channels of one group of similarity maps (Guo
    and Cheung 2018, Eq. 2), before pooling and batch normalisation.

    Args:
        model: What `build_csn` made.
        config: Its whole configuration.
        first: RGB [h, w, 3] in 0-255, of any size.
        second: Another, of any size.

    Returns:
        The details, with the score of `CsnScorer`.
    """
    shape = (config.model.height, config.model.width)
    images = tf.stack([resize_images(image, *shape) for image in (first, second)])
    parts = csn_parts(model)
    features = parts.extract(images, training=False)
    sides = [{name: value[row : row + 1] for name, value in features.items()} for row in (0, 1)]
    score = config.csn.score
    compared = compare_pairs(parts, *sides, score.both_orders)
    probability = compared["probability"]
    distance = compared.get("distance")
    shown = np.clip(np.rint(images.numpy()), 0, 255).astype(np.uint8)
    return PairDetails(
        images=(shown[0], shown[1]),
        levels={level: _level(level, shape, features, compared) for level in config.csn.levels},
        probability=float(probability[0]),
        distance=None if distance is None else float(distance[0]),
        score=float(simi_score(probability, distance, score)[0]),
        cosine=config.csn.similarity == "cosine",
    )


def cell_sides(map_shape: tuple[int, int], image_shape: tuple[int, int]) -> tuple[int, int]:
    """Returns the height and width in pixels of the network's input that a map's cell covers.

    Every pooling halves a map and rounds up, so cells are powers of two, and those at the right and
    the bottom may reach beyond the border: 8 cells of 8 pixels cover 60 pixels.

    Args:
        map_shape: Height and width of the map, in cells.
        image_shape: Height and width of the network's input, in pixels.
    """
    return tuple(2 ** max(0, int(np.ceil(np.log2(pixels / cells))))
                 for pixels, cells in zip(image_shape, map_shape))


def region_corners(regions: np.ndarray, map_shape: tuple[int, int],
                   image_shape: tuple[int, int]) -> np.ndarray:
    """Computes where regions lie in the image.

    Args:
        regions: [p, 6], one in each of p stripes; see `affine_grid`.
        map_shape: Height and width of the whole map, in cells.
        image_shape: Height and width of the network's input, in pixels.

    Returns:
        float64 [p, 4, 2]: x and y of the centres of the corner cells, in order around the region,
        in pixels from the image's upper left corner.
    """
    height, width = map_shape
    matrices = np.asarray(regions, np.float64).reshape(-1, 2, 3)
    corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], np.float64)
    across, down = np.moveaxis(corners @ matrices.transpose(0, 2, 1), -1, 0)
    rows = np.array(stripe_rows(height, len(matrices)), np.float64)
    first, size = rows[:, :1], rows[:, 1:] - rows[:, :1]
    columns = (across + 1) / 2 * (width - 1) + 0.5
    rows = first + (down + 1) / 2 * (size - 1) + 0.5
    cell_height, cell_width = cell_sides(map_shape, image_shape)
    return np.stack([columns * cell_width, rows * cell_height], -1)


def region_color(level: int, part: int) -> tuple[int, int, int]:
    """Returns a part's RGB colour: red, green, blue from the top down, paler at deeper levels."""
    white = _PALENESS[level]
    return tuple(int(round(x + white * (255 - x))) for x in _COLORS[part])


def draw_regions(image: np.ndarray, regions: Mapping[int, np.ndarray],
                 map_shapes: Mapping[int, tuple[int, int]], scale: int = ENLARGED,
                 part: int | None = None, line: float = 0.75) -> np.ndarray:
    """Draws regions on an image, in the colours of `region_color`.

    Args:
        image: uint8 RGB [h, w, 3], at the network's input size.
        regions: Level -> regions [p, 6].
        map_shapes: Level -> height and width of its map.
        scale: Factor by which both sides are enlarged.
        part: The only part to draw, from 0. Defaults to all.
        line: Width of the lines in pixels of `image`.

    Returns:
        uint8 RGB [scale * h, scale * w, 3].
    """
    height, width = image.shape[:2]
    canvas = cv2.resize(image, (scale * width, scale * height), interpolation=cv2.INTER_LINEAR)
    for level in sorted(regions):
        corners = region_corners(regions[level], map_shapes[level], (height, width))
        for place, outline in enumerate(scale * corners):
            if part in (None, place):
                # OpenCV counts from the centre of the first pixel.
                cv2.polylines(canvas, [np.rint(outline - 0.5).astype(np.int32)], True,
                              region_color(level, place), thickness=max(1, round(line * scale)),
                              lineType=cv2.LINE_AA)
    return canvas


def _level(level, image_shape, features, compared) -> LevelDetails:
    regions = features[f"regions_{level}"].numpy()
    similarity = tf.cast(compared[f"similarity_{level}"][0], tf.float32).numpy()
    count = regions.shape[1]
    # Both halves, their parts, and the channels of each.
    groups = similarity.reshape(*similarity.shape[:2], 2, count, -1)
    maps = np.moveaxis(groups.sum(-1), (2, 3), (0, 1))
    return LevelDetails(
        map_shape=map_shape(level, *image_shape),
        regions=(regions[0], regions[1]),
        maps=(maps[0], maps[1]),
        channels=groups.shape[-1],
    )
