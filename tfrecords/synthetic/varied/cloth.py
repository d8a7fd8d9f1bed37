"""Colours of real clothes and the textures of garments.

A texture is float32 RGB [height, ANGLES, 3], wrapped around a body part: rows run from its upper to
its lower end, columns around it, with the front in the middle and the back at both edges. Folds are
not part of it: they change with every step, and a network would know people by folds that stay.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from tfrecords.synthetic.streams import pick

ANGLES = 64
ROWS = 48

# Weight, then the middle of hue, saturation and value, and how far each of them spreads.
_Range = tuple[float, tuple[float, float, float], tuple[float, float, float]]
UPPER: tuple[_Range, ...] = (
    (20, (0.6, 0.1, 0.14), (0.5, 0.1, 0.07)), (20, (0.1, 0.04, 0.88), (0.5, 0.04, 0.08)),
    (14, (0.6, 0.05, 0.5), (0.5, 0.05, 0.2)), (7, (0.63, 0.5, 0.28), (0.04, 0.2, 0.1)),
    (8, (0.6, 0.5, 0.6), (0.05, 0.25, 0.2)), (5, (0.57, 0.25, 0.8), (0.05, 0.15, 0.1)),
    (6, (0.99, 0.75, 0.6), (0.02, 0.15, 0.2)), (5, (0.95, 0.4, 0.8), (0.05, 0.2, 0.12)),
    (4, (0.14, 0.65, 0.8), (0.03, 0.2, 0.12)), (4, (0.36, 0.5, 0.5), (0.1, 0.2, 0.2)),
    (3, (0.78, 0.45, 0.5), (0.05, 0.2, 0.2)), (5, (0.1, 0.3, 0.7), (0.03, 0.12, 0.15)),
    (3, (0.06, 0.5, 0.4), (0.03, 0.2, 0.15)), (2, (0.06, 0.75, 0.8), (0.02, 0.15, 0.1)),
    (2, (0.48, 0.5, 0.5), (0.05, 0.2, 0.2)), (3, (0.5, 0.5, 0.5), (0.5, 0.4, 0.4)),
)
LOWER: tuple[_Range, ...] = (
    (26, (0.6, 0.1, 0.14), (0.5, 0.1, 0.07)), (14, (0.6, 0.07, 0.34), (0.5, 0.06, 0.12)),
    (12, (0.61, 0.4, 0.3), (0.03, 0.15, 0.1)), (14, (0.59, 0.35, 0.5), (0.03, 0.15, 0.14)),
    (6, (0.58, 0.22, 0.72), (0.03, 0.1, 0.1)), (10, (0.1, 0.32, 0.6), (0.02, 0.12, 0.15)),
    (5, (0.08, 0.4, 0.4), (0.03, 0.15, 0.12)), (4, (0.1, 0.05, 0.82), (0.5, 0.05, 0.1)),
    (4, (0.2, 0.3, 0.38), (0.05, 0.15, 0.1)), (3, (0.98, 0.6, 0.5), (0.04, 0.2, 0.2)),
    (4, (0.5, 0.5, 0.5), (0.5, 0.4, 0.35)),
)
PATTERNS = {"plain": 40, "print": 22, "stripes": 8, "plaid": 6, "floral": 7, "blocks": 6,
            "open": 8, "pinstripes": 3}
LOWER_PATTERNS = {"plain": 84, "worn": 4, "plaid": 4, "side": 4, "floral": 4}


def dye(rng: np.random.Generator, ranges: Sequence[_Range]) -> np.ndarray:
    """Draws a colour, float32 RGB [3], 0-255."""
    _, middle, spread = pick(rng, ranges, [entry[0] for entry in ranges])
    hue, saturation, value = (centre + width * rng.uniform(-1, 1)
                              for centre, width in zip(middle, spread))
    return np.float32(255) * np.asarray(colorsys.hsv_to_rgb(
        hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.05), 0.97)), np.float32)


def noise(rng: np.random.Generator, shape: tuple[int, int], grains: tuple[int, int]) -> np.ndarray:
    """Draws smooth noise of about unit variance, float32 [height, width], in `grains` waves."""
    small = rng.standard_normal((grains[0] + 1, grains[1] + 1), dtype=np.float32)
    return cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)


def upper_texture(rng: np.random.Generator, colour: np.ndarray) -> np.ndarray:
    """Draws the texture of an upper garment whose main colour is given."""
    kind = pick(rng, list(PATTERNS), list(PATTERNS.values()))
    others = np.stack([dye(rng, UPPER) for _ in range(3)])
    texture = _patterned(rng, kind, colour, others)
    if rng.random() < 0.3:  # a collar, and often a row of buttons
        texture[:3, 18:46] = others[0] if rng.random() < 0.4 else texture[:3, 18:46] * 0.75
        if rng.random() < 0.6:
            texture[:rng.integers(12, ROWS), 31:33] *= 0.7
    if rng.random() < 0.2:
        texture[-3:] = others[1]
    return texture


def sleeve_texture(rng: np.random.Generator, upper: np.ndarray) -> np.ndarray:
    """Draws the texture of the sleeves that belong to the texture of an upper garment."""
    side = upper[4:28, 8:24].repeat(4, 1)
    if rng.random() < 0.12:
        side = np.broadcast_to(dye(rng, UPPER), side.shape).copy()
    elif rng.random() < 0.5:
        side = np.broadcast_to(np.median(side, (0, 1)), side.shape).copy()
    if rng.random() < 0.25:
        side[-3:] = dye(rng, UPPER)
    return side


def lower_texture(rng: np.random.Generator, colour: np.ndarray) -> np.ndarray:
    """Draws the texture of trousers or a skirt whose main colour is given."""
    kind = pick(rng, list(LOWER_PATTERNS), list(LOWER_PATTERNS.values()))
    if kind == "worn":
        fade = np.clip(noise(rng, (ROWS, ANGLES), (4, 4)), -1, 1.5)[..., None]
        return np.clip(colour + 16 * fade, 0, 255)
    others = np.stack([dye(rng, UPPER) for _ in range(3)])
    return _patterned(rng, kind, colour, others)


def _patterned(rng: np.random.Generator, kind: str, colour: np.ndarray,
               others: np.ndarray) -> np.ndarray:
    texture = np.empty((ROWS, ANGLES, 3), np.float32)
    texture[:] = colour
    if kind == "print":
        for middle in ((32,), (32, 0), (0,))[int(rng.integers(3))]:
            _add_print(rng, texture, middle, others)
    elif kind == "stripes":
        bands = np.repeat(rng.random(12) < 0.5, rng.integers(1, 6, 12))
        rows = np.resize(bands, ROWS)
        texture[rows] = others[0]
    elif kind == "pinstripes":
        texture[:, ::int(rng.integers(3, 7))] = others[0]
    elif kind == "plaid":
        step = int(rng.integers(4, 10))
        for axis in (0, 1):
            lines = (np.arange(texture.shape[axis]) % step) < rng.integers(1, step)
            share = np.float32(0.45) * np.expand_dims(lines, 1 - axis)[..., None]
            texture += share * (others[0] - texture)
    elif kind == "floral":
        grain = int(rng.integers(5, 18))
        field = noise(rng, (ROWS, ANGLES), (grain, int(grain * 1.3)))
        texture[field > 0.5] = others[0]
        texture[field < -0.9] = others[1]
    elif kind == "blocks":
        if rng.random() < 0.5:
            cut = int(rng.integers(8, 34))
            texture[:cut] = others[0]
        else:
            half = int(rng.integers(4, 9))
            for side in (16, 48):
                texture[:, side - half:side + half] = others[0]
    elif kind == "open":
        half, narrow = int(rng.integers(3, 8)), rng.uniform(0.3, 1.0)
        inner = _patterned(rng, pick(rng, ("plain", "print", "stripes")), others[0], others[::-1])
        for row in range(ROWS):
            width = max(1, round(half * (narrow + (1 - narrow) * row / ROWS)))
            texture[row, 32 - width:32 + width] = inner[row, 32 - width:32 + width]
    elif kind == "side":
        texture[:, 14:18] = texture[:, 46:50] = others[0]
    return texture


def _add_print(rng: np.random.Generator, texture: np.ndarray, middle: int,
               others: np.ndarray) -> None:
    """Prints a picture, letters or a badge around a column of a texture."""
    high, wide = int(rng.integers(4, 20)), int(rng.integers(4, 14)) * 2
    top = int(rng.integers(7, 18))
    kind = int(rng.integers(3))
    grains = ((max(1, high // 4), max(1, wide // 4)), (max(1, high // 4), wide // 2),
              (1, 1))[kind]
    field = noise(rng, (high, wide), grains)
    rows, columns = np.mgrid[-1:1:high * 1j, -1:1:wide * 1j]
    if rng.random() < 0.5:
        field = np.where(rows ** 2 + columns ** 2 < 1, field, -9)
    patch = np.where((field > -0.3)[..., None], others[0], np.float32(-1))
    patch = np.where((field > 0.6)[..., None], others[1], patch)
    turn = (np.arange(wide) + middle - wide // 2) % ANGLES
    old = texture[top:top + high, turn]
    texture[top:top + high, turn] = np.where(patch >= 0, patch, old)
