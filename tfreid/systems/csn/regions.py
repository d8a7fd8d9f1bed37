"""Draws the regions that a spatial transformer attends to."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from tfreid.layers.spatial_transformer import stripe_rows

# Colours of the parts of an image, from the top down, and the share of white at each level.
_COLORS = ((230, 40, 40), (20, 180, 70), (40, 90, 240))
_PALENESS = {2: 0.0, 3: 0.35, 4: 0.6}
_ENLARGED = 4
_LINE = 0.75


def cell_sides(map_shape: tuple[int, int], image_shape: tuple[int, int]) -> tuple[int, int]:
    """Computes the height and width in pixels of the network's input that a map's cell covers.

    Every pooling halves a map and rounds up, so cells are powers of two, and those at the right and
    the bottom may reach beyond the border: 8 cells of 8 pixels cover 60 pixels.

    Args:
        map_shape: Height and width of the map, in cells.
        image_shape: Height and width of the network's input, in pixels.
    """
    return tuple(2 ** max(0, int(np.ceil(np.log2(pixels / cells))))
                 for pixels, cells in zip(image_shape, map_shape))


def region_corners(
    regions: np.ndarray, map_shape: tuple[int, int], image_shape: tuple[int, int]
) -> np.ndarray:
    """Computes where regions lie in the image.

    Args:
        regions: [p, 6], one in each of p stripes; see
            `tfreid.layers.spatial_transformer.affine_grid`.
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


def draw_regions(
    image: np.ndarray,
    regions: Mapping[int, np.ndarray],
    map_shapes: Mapping[int, tuple[int, int]],
    scale: int = _ENLARGED,
    part: int | None = None,
    line: float = _LINE,
) -> np.ndarray:
    """Draws regions on an image, in the colours of `region_color`.

    Args:
        image: uint8 RGB [h, w, 3], of the size of the network's input.
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
