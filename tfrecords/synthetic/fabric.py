"""Paints for tubes: garment patterns, hair and straps, wrapped around a turning body.

A paint sees a tube as a cylinder: `angle` is measured around it from the body's front towards its
left, `height` runs from 0 at the lower end to 1 at the upper end.
"""

from __future__ import annotations

import functools
from typing import Callable

import numpy as np

from tfrecords.synthetic.brush import Paint
from tfrecords.synthetic.identity import Colour, Garment, Identity

# The share of the second colour, [h, w], at an angle and a height, repeated `repeats` times.
Pattern = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def garment_paint(garment: Garment, yaw: float) -> Paint:
    """Returns the paint of a sleeve, a trouser leg or a skirt."""
    return functools.partial(_pattern_paint, garment, yaw)


def torso_paint(identity: Identity, yaw: float) -> Paint:
    """Returns the paint of the upper garment with the straps of the bag across it."""
    return functools.partial(_torso_paint, identity, yaw)


def head_paint(identity: Identity, yaw: float) -> Paint:
    """Returns the paint of a head: skin, hair, beard, eyes, and the crown of a hat."""
    return functools.partial(_head_paint, identity, yaw)


def _pattern_paint(garment: Garment, yaw: float, along: np.ndarray,
                   across: np.ndarray) -> np.ndarray:
    angle = np.arcsin(across) - np.float32(yaw)
    share = PATTERNS[garment.pattern](angle, 1.0 - along, garment.repeats)
    return _mix(np.asarray(garment.colour, np.float32), garment.second, share)


def _torso_paint(identity: Identity, yaw: float, along: np.ndarray,
                 across: np.ndarray) -> np.ndarray:
    colour = _pattern_paint(identity.upper, yaw, along, across)
    if identity.bag not in ("backpack", "messenger"):
        return colour
    angle, height = np.arcsin(across) - np.float32(yaw), 1.0 - along
    left = np.sin(angle)
    if identity.bag == "backpack":
        strap = _soft(0.12 - np.abs(np.abs(left) - 0.55)) * (np.cos(angle) > 0) * (height > 0.4)
    else:
        strap = _soft(0.075 - np.abs(height - 0.52 + 0.5 * identity.bag_side * left))
    return _mix(colour, identity.bag_colour, strap)


def _head_paint(identity: Identity, yaw: float, along: np.ndarray,
                across: np.ndarray) -> np.ndarray:
    angle, height = np.arcsin(across) - np.float32(yaw), 1.0 - 2.0 * along
    front = np.cos(angle)
    skin = np.asarray(identity.skin, np.float32)
    eyes = (np.abs(height + 0.02) < 0.1) * (np.abs(np.sin(angle)) - 0.38 < 0.16) * (
        np.abs(np.sin(angle)) > 0.22) * (front > 0)
    colour = _mix(skin, (40, 30, 30), 0.75 * eyes)
    if identity.beard:
        colour = _mix(colour, identity.hair, _soft(front * 0.9 - 0.75 - height))
    if identity.hair_style != "bald":
        fringe = {"long": 0.1, "afro": 0.2}.get(identity.hair_style, 0.0)
        reach = -0.15 + 0.62 * front - fringe * (1.0 - front)
        colour = _mix(colour, identity.hair, _soft(height - reach))
    if identity.hat in ("cap", "beanie", "sun_hat"):
        colour = _mix(colour, identity.hat_colour, _soft(height - 0.22))
    elif identity.hat == "hood":
        colour = _mix(colour, identity.upper.colour, _soft(0.45 - front + 0.7 * height ** 2))
    return colour


def _mix(base: np.ndarray, other: Colour, share: np.ndarray) -> np.ndarray:
    return base + share[..., None] * (np.asarray(other, np.float32) - base)


def _soft(value: np.ndarray) -> np.ndarray:
    """Returns a steep ramp from 0 to 1 where `value` turns positive."""
    return np.clip(0.5 + 9.0 * value, 0.0, 1.0)


def _wave(phase: np.ndarray) -> np.ndarray:
    return np.clip(0.5 + 2.5 * np.sin(phase), 0.0, 1.0)


def _plain(angle: np.ndarray, height: np.ndarray, repeats: int) -> np.ndarray:
    return np.zeros(np.broadcast(angle, height).shape, np.float32)


def _rings(angle: np.ndarray, height: np.ndarray, repeats: int) -> np.ndarray:
    return _wave(height * np.float32(2.0 * np.pi * repeats)) + 0.0 * angle


def _pinstripes(angle: np.ndarray, height: np.ndarray, repeats: int) -> np.ndarray:
    return _wave(angle * np.float32(repeats + 3)) + 0.0 * height


def _checks(angle: np.ndarray, height: np.ndarray, repeats: int) -> np.ndarray:
    columns = np.sin(angle * np.float32(repeats + 1))
    return np.clip(0.5 + 4.0 * columns * np.sin(height * np.float32(np.pi * 1.6 * repeats)), 0, 1)


def _dots(angle: np.ndarray, height: np.ndarray, repeats: int) -> np.ndarray:
    columns = np.sin(angle * np.float32(repeats + 1))
    rows = np.sin(height * np.float32(np.pi * 1.6 * repeats))
    return _soft(columns * rows - 0.35)


def _two_tone(angle: np.ndarray, height: np.ndarray, repeats: int) -> np.ndarray:
    return _soft(height - 0.52) + 0.0 * angle


def _band(angle: np.ndarray, height: np.ndarray, repeats: int) -> np.ndarray:
    return _soft(0.11 - np.abs(height - 0.6)) + 0.0 * angle


def _logo(angle: np.ndarray, height: np.ndarray, repeats: int) -> np.ndarray:
    width = 0.55 + 0.05 * repeats  # on the chest, and a smaller block between the shoulder blades
    front = np.where(np.cos(angle) > 0, width, 0.35)
    return _soft(front - np.abs(np.sin(angle))) * _soft(0.13 - np.abs(height - 0.66))


def _open_jacket(angle: np.ndarray, height: np.ndarray, repeats: int) -> np.ndarray:
    return _soft(np.cos(angle) - 0.87 + 0.1 * (1.0 - height))


def _side_stripe(angle: np.ndarray, height: np.ndarray, repeats: int) -> np.ndarray:
    return _soft(np.abs(np.sin(angle)) - 0.72) + 0.0 * height


PATTERNS: dict[str, Pattern] = {
    "plain": _plain, "contrast_sleeves": _plain, "rings": _rings, "pinstripes": _pinstripes,
    "checks": _checks, "dots": _dots, "two_tone": _two_tone, "band": _band, "logo": _logo,
    "open_jacket": _open_jacket, "side_stripe": _side_stripe,
}
