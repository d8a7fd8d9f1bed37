"""Anti-aliased shapes on a uint8 RGB canvas [height, width, 3]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Callable

import cv2
import numpy as np

from tfrecords.synthetic.identity import Colour

# Takes the position along a tube (0 to 1) and across it (-1 to 1), each [h, w]; gives [h, w, 3].
Paint = Callable[[np.ndarray, np.ndarray], np.ndarray]
Point = Sequence[float]
_SHIFT = 4  # cv2 reads coordinates in sixteenths of a pixel


def tube(canvas: np.ndarray, start: Point, end: Point, radii: Sequence[float],
         paint: Colour | Paint, light: float = 0.0, rounded: bool = True,
         roundness: float = 0.34) -> None:
    """Draws a shaded tube from `start` to `end` with half-widths `radii`, evenly spaced along it.

    `light` (-1 to 1) is the side that shines, `rounded` adds half discs at both ends, and
    `roundness` is how much darker the rim is than the middle.
    """
    reach = max(radii) + 1.0
    x0, x1 = _span(start[0], end[0], reach, canvas.shape[1])
    y0, y1 = _span(start[1], end[1], reach, canvas.shape[0])
    length = math.hypot(end[0] - start[0], end[1] - start[1])
    if x0 >= x1 or y0 >= y1 or length < 1e-3:
        return
    ux, uy = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    dx = np.arange(x0, x1, dtype=np.float32)[None, :] + np.float32(0.5 - start[0])
    dy = np.arange(y0, y1, dtype=np.float32)[:, None] + np.float32(0.5 - start[1])
    along = dx * np.float32(ux / length) + dy * np.float32(uy / length)
    across = dx * np.float32(uy) - dy * np.float32(ux)
    inside = np.clip(along, 0.0, 1.0)
    radius = _profile(inside, radii)
    beyond = (along - inside) * np.float32(length)
    distance = np.sqrt(across * across + beyond * beyond) if rounded else np.abs(across)
    alpha = np.clip(radius - distance + 0.5, 0.0, 1.0)
    if not rounded:
        alpha *= np.clip(1.0 - np.abs(beyond), 0.0, 1.0)
    side = np.clip(across / radius, -1.0, 1.0)
    shade = 1.0 - roundness * side * side + np.float32(0.22 * light) * side
    colour = paint(inside, side) if callable(paint) else np.asarray(paint, np.float32)
    region = canvas[y0:y1, x0:x1]
    blend = region + alpha[..., None] * (colour * shade[..., None] - region)
    region[:] = np.clip(blend, 0.0, 255.0)


def polygon(canvas: np.ndarray, points: Sequence[Point], colour: Colour) -> None:
    """Fills a polygon."""
    corners = np.round(np.asarray(points, np.float64) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(canvas, [corners], _scalar(colour), cv2.LINE_AA, _SHIFT)


def rectangle(canvas: np.ndarray, left: float, top: float, right: float, bottom: float,
              colour: Colour) -> None:
    """Fills an upright rectangle."""
    polygon(canvas, ((left, top), (right, top), (right, bottom), (left, bottom)), colour)


def ellipse(canvas: np.ndarray, centre: Point, radii: Point, colour: Colour,
            angle: float = 0.0) -> None:
    """Fills an ellipse; `angle` in degrees, clockwise."""
    scale = 1 << _SHIFT
    cv2.ellipse(canvas, (round(centre[0] * scale), round(centre[1] * scale)),
                (max(1, round(radii[0] * scale)), max(1, round(radii[1] * scale))),
                angle, 0, 360, _scalar(colour), -1, cv2.LINE_AA, _SHIFT)


def darken(canvas: np.ndarray, centre: Point, radii: Point, strength: float) -> None:
    """Multiplies a soft elliptic spot, dark by `strength` in its middle: a shadow."""
    x0, x1 = _span(centre[0], centre[0], radii[0], canvas.shape[1])
    y0, y1 = _span(centre[1], centre[1], radii[1], canvas.shape[0])
    dx = (np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(centre[0])) / radii[0]
    dy = (np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(centre[1])) / radii[1]
    spot = np.clip(1.0 - dx * dx - dy * dy, 0.0, 1.0).astype(np.float32)
    region = canvas[y0:y1, x0:x1]
    region[:] = region * (1.0 - np.float32(strength) * spot[..., None])


def shaded(colour: Colour, factor: float) -> Colour:
    """Returns the colour `factor` times as bright."""
    return tuple(channel * factor for channel in colour)


def _scalar(colour: Colour) -> tuple:
    return tuple(min(255.0, max(0.0, float(channel))) for channel in colour)


def _span(first: float, second: float, reach: float, limit: int) -> tuple[int, int]:
    low = max(0, math.floor(min(first, second) - reach))
    return low, min(limit, math.ceil(max(first, second) + reach))


def _profile(position: np.ndarray, radii: Sequence[float]) -> np.ndarray:
    if len(radii) == 1:
        return np.float32(radii[0])
    if len(radii) == 2:
        return np.float32(radii[0]) + position * np.float32(radii[1] - radii[0])
    knots = np.linspace(0.0, 1.0, len(radii))
    return np.interp(position, knots, radii).astype(np.float32)
