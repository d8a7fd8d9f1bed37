"""The places behind varied pedestrians: walls, shops, trees, paving, and what stands about."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np

from tfrecords.synthetic.brush import darken, ellipse, polygon, rectangle, tube
from tfrecords.synthetic.streams import Stream, generator, pick
from tfrecords.synthetic.varied.cloth import UPPER, dye, noise

PLACE_HEIGHT, PLACE_WIDTH = 300, 900
VIEWS = 8  # places that a camera sees


@functools.lru_cache(maxsize=80)
def place_of(seed: int, camera: int, view: int) -> tuple[np.ndarray, int]:
    """Paints a place: uint8 RGB [PLACE_HEIGHT, PLACE_WIDTH, 3], and the row of its horizon."""
    rng = generator(seed, Stream.SCENE, camera, view, 1)
    canvas = np.zeros((PLACE_HEIGHT, PLACE_WIDTH, 3), np.uint8)
    horizon = int(rng.integers(70, 150))
    x = 0
    while x < PLACE_WIDTH:
        wide = int(rng.integers(150, 500))
        pick(rng, _BACKS, (4, 3, 4, 3, 3, 2))(canvas[:horizon, x:x + wide], rng)
        x += wide
    _floor(canvas[horizon:], rng)
    for _ in range(int(rng.integers(0, 3))):
        _row_of_things(canvas, horizon, rng)
    field = sum(strength * noise(rng, canvas.shape[:2], (grain, grain * 3))
                for strength, grain in ((0.1, 4), (0.05, 20), (0.05, 90)))
    return np.clip(canvas * (1 + field[..., None]), 0, 255).astype(np.uint8), horizon


def window(place: np.ndarray, horizon: int, shape: tuple[int, int],
           rng: np.random.Generator) -> np.ndarray:
    """Cuts the background of a crop, uint8 RGB of the shape (height, width)."""
    tall = rng.uniform(0.4, 0.7) * PLACE_HEIGHT
    wide = tall * shape[1] / shape[0]
    top = np.clip(horizon - tall * rng.uniform(-0.1, 0.75), 0, PLACE_HEIGHT - tall)
    left = rng.uniform(0, PLACE_WIDTH - wide)
    part = place[int(top):int(top + tall), int(left):int(left + wide)]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    return cv2.resize(part, shape[::-1], interpolation=cv2.INTER_LINEAR)


def draw_bicycle(canvas: np.ndarray, x: float, ground: float, size: float, turn: float,
                 colour: tuple) -> None:
    """Draws a bicycle whose wheels are `size` high, seen from a side by cos(`turn`)."""
    half, radius = size * 0.5, size * 0.5
    squeeze = max(0.15, abs(math.cos(turn)))
    thick = max(1, round(size * 0.04))
    hubs = [(x + side * size * 0.8 * squeeze, ground - half) for side in (-1, 1)]
    for hub in hubs:
        cv2.ellipse(canvas, _pixel(hub), (max(1, round(radius * squeeze)), round(radius)), 0, 0,
                    360, (30, 30, 32), thick, cv2.LINE_AA)
    seat, bar = ((x - 0.25 * size * squeeze, ground - 1.15 * size),
                 (x + 0.5 * size * squeeze, ground - 1.2 * size))
    pedal = (x - 0.1 * size * squeeze, ground - half)
    for first, second in ((hubs[0], seat), (hubs[0], pedal), (pedal, seat), (pedal, bar),
                          (hubs[1], bar), (seat, bar)):
        cv2.line(canvas, _pixel(first), _pixel(second), colour, thick, cv2.LINE_AA)
    cv2.line(canvas, _pixel((seat[0] - size * 0.15, seat[1])),
             _pixel((seat[0] + size * 0.15, seat[1])), (28, 26, 26), thick + 2, cv2.LINE_AA)


def draw_thing(canvas: np.ndarray, x: float, ground: float, size: float,
               rng: np.random.Generator) -> None:
    """Draws something that stands about, as high as `size` or less."""
    colour = _tuple(_faded(rng))
    kind = pick(rng, ("bicycle", "pole", "box", "bush", "sign", "car"), (6, 3, 2, 3, 1, 2))
    if kind == "bicycle":
        draw_bicycle(canvas, x, ground, size * rng.uniform(0.3, 0.45), rng.uniform(0, 1.4), colour)
    elif kind == "pole":
        half = size * rng.uniform(0.02, 0.07)
        tube(canvas, (x, -5), (x, ground), (half, half), colour, 0.4, rounded=False)
    elif kind == "box":
        half = size * rng.uniform(0.1, 0.35)
        rectangle(canvas, x - half, ground - size * rng.uniform(0.2, 0.7), x + half, ground, colour)
    elif kind == "bush":
        green = np.asarray((rng.uniform(40, 75), rng.uniform(55, 100), rng.uniform(35, 62)))
        for _ in range(14):
            spot = (x + size * rng.normal(0, 0.22), ground - size * rng.uniform(0, 0.3))
            ellipse(canvas, spot, (size * 0.1, size * 0.06), _tuple(green * rng.uniform(0.6, 1.3)))
    elif kind == "sign":
        tube(canvas, (x, ground - size * 0.8), (x, ground), (2, 2), (110, 112, 116), 0.3)
        rectangle(canvas, x - size * 0.12, ground - size, x + size * 0.12, ground - size * 0.7,
                  colour)
    else:
        long, tall = size * 0.9, size * 0.3
        darken(canvas, (x, ground), (long * 1.1, size * 0.1), 0.6)
        polygon(canvas, [(x - long, ground - tall), (x + long, ground - tall),
                         (x + long, ground - 3), (x - long, ground - 3)], colour)
        polygon(canvas, [(x - long * 0.6, ground - tall), (x - long * 0.4, ground - tall * 1.9),
                         (x + long * 0.4, ground - tall * 1.9), (x + long * 0.65, ground - tall)],
                (58, 66, 74))
        for side in (-0.6, 0.6):
            ellipse(canvas, (x + side * long, ground - 4), (size * 0.11,) * 2, (26, 26, 28))


def _row_of_things(canvas: np.ndarray, horizon: int, rng: np.random.Generator) -> None:
    """Draws a row of the same or of mixed things along the horizon."""
    ground = horizon + rng.uniform(4, 60)
    size = rng.uniform(40, 110)
    same = int(rng.integers(1 << 30)) if rng.random() < 0.5 else None
    for x in np.arange(0, PLACE_WIDTH, size * rng.uniform(0.3, 1.5)):
        source = rng if same is None else np.random.Generator(np.random.PCG64(same))
        draw_thing(canvas, x + rng.normal(0, 6), ground, size, source)


def _wall(area: np.ndarray, rng: np.random.Generator) -> None:
    area[:] = _muted(rng)
    height, width = area.shape[:2]
    if rng.random() < 0.6:
        step, line = int(rng.integers(6, 40)), area[0, 0] * rng.uniform(0.6, 1.2)
        area[::step] = np.clip(line, 0, 255)
        if rng.random() < 0.6:
            area[:, ::int(step * rng.uniform(1, 3))] = np.clip(line, 0, 255)


def _windows(area: np.ndarray, rng: np.random.Generator) -> None:
    area[:] = _muted(rng)
    wide, tall, gap = rng.integers(14, 90), rng.integers(20, 110), rng.integers(3, 24)
    glass = np.asarray(rng.uniform(15, 110)) + rng.uniform(-8, 14, 3)
    for left in range(int(gap), area.shape[1], int(wide + gap)):
        for top in range(int(gap) // 2, area.shape[0], int(tall + gap)):
            area[top:top + tall, left:left + wide] = np.clip(glass * rng.uniform(0.6, 1.5), 0, 255)


def _trees(area: np.ndarray, rng: np.random.Generator) -> None:
    green = np.asarray((rng.uniform(45, 85), rng.uniform(58, 105), rng.uniform(40, 72)))
    area[:] = np.clip(green * rng.uniform(0.3, 1.4), 0, 255)
    _leaves(area, rng, 160, lambda: green * rng.uniform(0.4, 1.5), (3, 16))
    for x in rng.uniform(0, area.shape[1], int(rng.integers(0, 4))):
        half = rng.uniform(3, 9)
        tube(area, (x, 0), (x, area.shape[0]), (half * 0.8, half), (78, 62, 50), 0.4)


def _shelves(area: np.ndarray, rng: np.random.Generator) -> None:
    area[:] = _muted(rng) * 0.6
    height, width = area.shape[:2]
    for _ in range(60):
        left, top = rng.uniform(0, width), rng.uniform(0, height)
        rectangle(area, left, top, left + rng.uniform(5, 50), top + rng.uniform(4, 40),
                  _tuple(_faded(rng)))


def _dark(area: np.ndarray, rng: np.random.Generator) -> None:
    area[:] = rng.uniform(8, 50) + rng.uniform(-6, 6, 3).clip(-8, 8)
    _leaves(area, rng, 25, lambda: rng.uniform(5, 90) + rng.uniform(-5, 5, 3), (4, 30))


def _crowd(area: np.ndarray, rng: np.random.Generator) -> None:
    """Shapes of all colours and sizes that cover each other, as leaves that fell do."""
    area[:] = _muted(rng)
    _leaves(area, rng, 130, lambda: _faded(rng), (3, 40))


_BACKS = (_wall, _windows, _trees, _shelves, _dark, _crowd)


def _leaves(area: np.ndarray, rng: np.random.Generator, count: int, colour, sizes: tuple) -> None:
    height, width = area.shape[:2]
    low, high = math.log(sizes[0]), math.log(sizes[1])
    for _ in range(count):
        size = math.exp(rng.uniform(low, high))
        ellipse(area, (rng.uniform(0, width), rng.uniform(0, height)),
                (size, size * rng.uniform(0.4, 1.2)), _tuple(colour()), rng.uniform(0, 180))


def _floor(area: np.ndarray, rng: np.random.Generator) -> None:
    base = _muted(rng)
    if rng.random() < 0.12:
        base = np.asarray((rng.uniform(70, 110), rng.uniform(82, 125), rng.uniform(58, 85)))
    height, width = area.shape[:2]
    share = np.linspace(0, 1, height)[:, None, None]
    area[:] = np.clip(base * (rng.uniform(0.7, 1.1) * (1 - share) + share), 0, 255)
    if rng.random() < 0.65:
        line = _tuple(base * rng.choice((0.75, 0.85, 1.15)))
        for part in np.linspace(0.02, 1.0, int(rng.integers(8, 30))) ** 1.7:
            rectangle(area, 0, height * part, width, height * part + 1 + part, line)
        slant = rng.uniform(-0.5, 0.5)
        for far in np.linspace(-0.5, 1.5, int(rng.integers(20, 90))) * width:
            near = width / 2 + (far - width / 2) * 1.8 + slant * height
            polygon(area, [(far, 0), (far + 1, 0), (near + 2, height), (near, height)], line)
    if rng.random() < 0.3:  # a kerb, a lane, a lawn
        top = rng.uniform(0, 0.6) * height
        tilt = rng.uniform(-30, 30)
        polygon(area, [(0, top), (width, top + tilt), (width, top + tilt + rng.uniform(8, 70)),
                       (0, top + rng.uniform(8, 70))], _tuple(_muted(rng)))


def _muted(rng: np.random.Generator) -> np.ndarray:
    return np.clip(rng.normal(112, 40), 25, 215) * (1 + rng.normal(0, 0.025, 3))


def _faded(rng: np.random.Generator) -> np.ndarray:
    colour = dye(rng, UPPER) * rng.uniform(0.4, 1.0)
    return colour + 0.5 * (colour.mean() - colour)


def _pixel(point: tuple) -> tuple[int, int]:
    return round(point[0]), round(point[1])


def _tuple(colour: np.ndarray) -> tuple:
    return tuple(float(channel) for channel in np.clip(colour, 0, 255))
