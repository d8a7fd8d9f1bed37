"""The place that a camera sees: a wide background picture, and obstacles in front of people."""

from __future__ import annotations

import functools
from typing import Callable

import cv2
import numpy as np

from tfrecords.synthetic.brush import darken, ellipse, polygon, rectangle, shaded, tube
from tfrecords.synthetic.streams import Stream, generator, pick

SCENE_HEIGHT, SCENE_WIDTH, HORIZON = 512, 1536, 190
SCENES = ("street", "park", "plaza", "road", "corridor", "shops")
OBSTACLES = ("pole", "bench", "car", "hedge", "sign")


@functools.lru_cache(maxsize=16)
def scene_of(seed: int, camera: int) -> np.ndarray:
    """Paints a camera's view without people: uint8 RGB [512, 1536, 3]."""
    rng = generator(seed, Stream.SCENE, camera)
    start = int(generator(seed, Stream.SCENE, 0).integers(len(SCENES)))
    kind = SCENES[(start + camera) % len(SCENES)]
    canvas = np.zeros((SCENE_HEIGHT, SCENE_WIDTH, 3), np.uint8)
    _PAINTERS[kind](canvas, rng)
    texture = _clouds(rng, 6) * 0.09 + _clouds(rng, 60) * 0.06 + _clouds(rng, 256) * 0.06
    texture[:HORIZON // 2] *= 0.3
    return np.clip(canvas * (1.0 + texture[..., None]), 0, 255).astype(np.uint8)


def draw_obstacle(canvas: np.ndarray, kind: str, rng: np.random.Generator) -> None:
    """Draws one of `OBSTACLES` over part of a crop, uint8 RGB [height, width, 3]."""
    height, width = canvas.shape[:2]
    tint = np.asarray(pick(rng, ((70, 74, 80), (120, 120, 116), (90, 62, 42), (52, 84, 60),
                                 (150, 40, 40), (190, 192, 196), (40, 58, 98))), np.float64)
    tint = tuple(tint * rng.uniform(0.8, 1.15))
    side = 1 if rng.random() < 0.5 else -1
    if kind == "pole":
        x, half = width * (0.5 + side * rng.uniform(0.12, 0.4)), width * rng.uniform(0.03, 0.065)
        tube(canvas, (x, -5), (x, height + 5), (half, half), tint, 0.5 * side, rounded=False)
    elif kind == "sign":
        x, y = width * (0.5 + side * rng.uniform(0.25, 0.42)), height * rng.uniform(0.25, 0.5)
        tube(canvas, (x, y), (x, height + 5), (3, 3), (110, 112, 116), 0.4)
        size = width * rng.uniform(0.12, 0.18)
        rectangle(canvas, x - size, y - size, x + size, y + size, tint)
        rectangle(canvas, x - size * 0.7, y - size * 0.4, x + size * 0.7, y + size * 0.2,
                  (225, 225, 220))
    elif kind == "bench":
        top = height * rng.uniform(0.7, 0.84)
        ends = (width * (0.5 + side * 0.6), width * (0.5 - side * rng.uniform(0.0, 0.3)))
        left, right = min(ends), max(ends)
        for row in range(3):
            y = top + row * height * 0.05
            rectangle(canvas, left, y, right, y + height * 0.032, shaded(tint, 1.0 - 0.12 * row))
        for x in (left + width * 0.05, right - width * 0.05):
            tube(canvas, (x, top), (x, height + 4), (3, 3), (60, 60, 64))
    elif kind == "car":
        x, y = width * (0.5 + side * rng.uniform(0.45, 0.75)), height * rng.uniform(0.78, 0.9)
        _car(canvas, x, y, height * rng.uniform(0.3, 0.38), tint)
    else:
        for _ in range(26):
            x, y = width * (0.5 + side * rng.uniform(-0.05, 0.55)), height * rng.uniform(0.8, 1.02)
            ellipse(canvas, (x, y), (width * 0.09, height * 0.035),
                    (rng.uniform(30, 60), rng.uniform(70, 125), rng.uniform(28, 55)))


def _car(canvas: np.ndarray, x: float, y: float, size: float, colour: tuple) -> None:
    darken(canvas, (x, y + size * 0.3), (size * 1.3, size * 0.16), 0.6)
    polygon(canvas, [(x - size * 0.75, y - size * 0.1), (x - size * 0.45, y - size * 0.5),
                     (x + size * 0.45, y - size * 0.5), (x + size * 0.75, y - size * 0.1)], colour)
    polygon(canvas, [(x - size * 0.6, y - size * 0.12), (x - size * 0.4, y - size * 0.43),
                     (x + size * 0.4, y - size * 0.43), (x + size * 0.6, y - size * 0.12)],
            (62, 76, 88))
    tube(canvas, (x - size, y), (x + size, y), (size * 0.17, size * 0.2, size * 0.17), colour)
    for wheel in (-0.6, 0.6):
        ellipse(canvas, (x + wheel * size, y + size * 0.18), (size * 0.17,) * 2, (30, 30, 32))
        ellipse(canvas, (x + wheel * size, y + size * 0.18), (size * 0.08,) * 2, (150, 152, 155))


def _street(canvas: np.ndarray, rng: np.random.Generator) -> None:
    _ramp(canvas, 0, HORIZON, (168, 188, 210), (206, 212, 216))
    _houses(canvas, rng)
    _ramp(canvas, HORIZON, SCENE_HEIGHT, (132, 128, 124), (172, 166, 158))
    _tiles(canvas, (120, 116, 112), 46)
    rectangle(canvas, 0, HORIZON, SCENE_WIDTH, HORIZON + 26, (92, 94, 98))
    for _ in range(4):
        _car(canvas, rng.uniform(0, SCENE_WIDTH), HORIZON + 8, 62,
             tuple(rng.uniform(40, 210, size=3)))


def _park(canvas: np.ndarray, rng: np.random.Generator) -> None:
    _ramp(canvas, 0, HORIZON, (176, 202, 222), (196, 214, 200))
    _ramp(canvas, HORIZON, SCENE_HEIGHT, (86, 122, 62), (112, 146, 74))
    _crowns(canvas, rng, 46, (HORIZON - 130, HORIZON - 30))
    for x in np.arange(20, SCENE_WIDTH, 150) + rng.uniform(0, 70, size=11):
        tube(canvas, (x, 0), (x, HORIZON + 22), (11, 14), (86, 66, 48), 0.5)
    _crowns(canvas, rng, 40, (-20, 70))
    path = (186, 172, 144)
    polygon(canvas, [(0, 330), (SCENE_WIDTH, 300), (SCENE_WIDTH, 440), (0, 470)], path)
    polygon(canvas, [(0, 466), (SCENE_WIDTH, 436), (SCENE_WIDTH, 444), (0, 474)],
            shaded(path, 0.7))


def _plaza(canvas: np.ndarray, rng: np.random.Generator) -> None:
    _ramp(canvas, 0, HORIZON, (150, 140, 128), (172, 160, 146))
    for x in range(0, SCENE_WIDTH, 128):
        rectangle(canvas, x + 18, 0, x + 108, HORIZON - 18, (94, 104, 112))
        rectangle(canvas, x + 60, 0, x + 66, HORIZON - 18, (168, 158, 146))
        tube(canvas, (x, 0), (x, HORIZON + 4), (9, 9), (190, 180, 164), 0.4, rounded=False)
    _ramp(canvas, HORIZON, SCENE_HEIGHT, (176, 164, 150), (204, 192, 176))
    _tiles(canvas, (150, 132, 118), 30)
    for x in rng.uniform(0, SCENE_WIDTH, size=5):
        tube(canvas, (x, HORIZON + 10), (x, HORIZON + 44), (30, 24), (120, 84, 66), 0.4, False)
        for _ in range(9):
            ellipse(canvas, (x + rng.uniform(-30, 30), HORIZON - rng.uniform(-8, 30)), (18, 14),
                    (rng.uniform(40, 70), rng.uniform(90, 130), 52))


def _road(canvas: np.ndarray, rng: np.random.Generator) -> None:
    _ramp(canvas, 0, HORIZON, (186, 192, 198), (210, 210, 206))
    _crowns(canvas, rng, 30, (HORIZON - 90, HORIZON - 30))
    rectangle(canvas, 0, HORIZON - 24, SCENE_WIDTH, HORIZON, (124, 122, 118))
    _ramp(canvas, HORIZON, SCENE_HEIGHT, (84, 86, 90), (112, 112, 114))
    for x in range(0, SCENE_WIDTH, 160):
        polygon(canvas, [(x, 236), (x + 84, 236), (x + 80, 244), (x - 6, 244)], (206, 204, 196))
    for x in range(30, SCENE_WIDTH, 72):
        slope = (x - SCENE_WIDTH / 2) * 0.12
        polygon(canvas, [(x, 322), (x + 34, 322), (x + 38 + slope, 452), (x - 4 + slope, 452)],
                (204, 204, 200))
    for x in rng.uniform(0, SCENE_WIDTH, size=3):
        _car(canvas, x, HORIZON + 22, 78, tuple(rng.uniform(40, 210, size=3)))


def _corridor(canvas: np.ndarray, rng: np.random.Generator) -> None:
    _ramp(canvas, 0, HORIZON + 30, (206, 204, 190), (184, 182, 170))
    for x in range(0, SCENE_WIDTH, 210):
        rectangle(canvas, x + 30, 36, x + 116, HORIZON + 30, (136, 104, 76))
        rectangle(canvas, x + 46, 56, x + 100, 110, (160, 176, 180))
        rectangle(canvas, x + 140, 60, x + 186, 122, tuple(rng.uniform(70, 220, size=3)))
    rectangle(canvas, 0, HORIZON + 18, SCENE_WIDTH, HORIZON + 30, (92, 84, 78))
    _ramp(canvas, HORIZON + 30, SCENE_HEIGHT, (150, 156, 152), (188, 192, 186))
    _tiles(canvas, (134, 140, 138), 58)


def _shops(canvas: np.ndarray, rng: np.random.Generator) -> None:
    _ramp(canvas, 0, HORIZON + 40, (132, 88, 72), (118, 80, 66))
    for y in range(0, HORIZON + 40, 9):
        rectangle(canvas, 0, y, SCENE_WIDTH, y + 1.5, (152, 116, 100))
    for x in range(0, SCENE_WIDTH, 256):
        sign = tuple(rng.uniform(50, 220, size=3))
        rectangle(canvas, x + 14, 10, x + 236, 44, sign)
        rectangle(canvas, x + 14, 50, x + 236, HORIZON + 26, (72, 86, 96))
        for _ in range(7):
            left = x + rng.uniform(20, 200)
            rectangle(canvas, left, rng.uniform(80, 150), left + 24, HORIZON + 20,
                      tuple(rng.uniform(60, 230, size=3)))
        rectangle(canvas, x + 122, 50, x + 128, HORIZON + 26, (200, 200, 196))
    _ramp(canvas, HORIZON + 40, SCENE_HEIGHT, (140, 136, 138), (164, 158, 156))
    _tiles(canvas, (118, 114, 116), 40)


def _houses(canvas: np.ndarray, rng: np.random.Generator) -> None:
    x = 0.0
    while x < SCENE_WIDTH:
        wide, top = rng.uniform(120, 230), rng.uniform(-40, 60)
        wall = tuple(np.array((176, 160, 142)) * rng.uniform(0.6, 1.1) + rng.uniform(-18, 18, 3))
        rectangle(canvas, x, top, x + wide, HORIZON, wall)
        for left in np.arange(x + 14, x + wide - 22, 36):
            for y in np.arange(top + 14, HORIZON - 30, 44):
                rectangle(canvas, left, y, left + 18, y + 27, (66, 76, 90))
                rectangle(canvas, left - 2, y + 27, left + 20, y + 30, (206, 200, 190))
        x += wide


def _crowns(canvas: np.ndarray, rng: np.random.Generator, count: int, rows: tuple) -> None:
    for _ in range(count):
        spot = (rng.uniform(0, SCENE_WIDTH), rng.uniform(*rows))
        green = np.array((54, 98, 44)) * rng.uniform(0.6, 1.3)
        for _ in range(6):
            ellipse(canvas, spot + rng.uniform(-26, 26, size=2), rng.uniform(12, 30, size=2),
                    tuple(green * rng.uniform(0.8, 1.2)))


def _tiles(canvas: np.ndarray, line: tuple, count: int) -> None:
    """Draws the joints of a tiled floor in perspective."""
    depth = SCENE_HEIGHT - HORIZON
    for share in np.linspace(0.05, 1.0, 14) ** 1.7:
        y = HORIZON + depth * share
        rectangle(canvas, 0, y, SCENE_WIDTH, y + 1.0 + 1.5 * share, line)
    middle = SCENE_WIDTH / 2
    for far in np.linspace(-0.2, 1.2, count) * SCENE_WIDTH:
        near = middle + (far - middle) * 1.9
        polygon(canvas, [(far, HORIZON), (far + 1, HORIZON), (near + 3, SCENE_HEIGHT),
                         (near, SCENE_HEIGHT)], line)


def _ramp(canvas: np.ndarray, top: int, bottom: int, first: tuple, last: tuple) -> None:
    share = np.linspace(0.0, 1.0, bottom - top)[:, None, None]
    canvas[top:bottom] = np.asarray(first) * (1.0 - share) + np.asarray(last) * share


def _clouds(rng: np.random.Generator, grain: int) -> np.ndarray:
    small = rng.standard_normal((grain, grain * 3)).astype(np.float32)
    return cv2.resize(small, (SCENE_WIDTH, SCENE_HEIGHT), interpolation=cv2.INTER_CUBIC)


_PAINTERS: dict[str, Callable[[np.ndarray, np.random.Generator], None]] = {
    "street": _street, "park": _park, "plaza": _plaza, "road": _road, "corridor": _corridor,
    "shops": _shops,
}
