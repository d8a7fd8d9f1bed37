"""Properties of a camera: light, colour cast, blur, noise, size of crops and JPEG quality."""

from __future__ import annotations

import dataclasses
import functools
import math

import cv2
import numpy as np

from tfrecords.synthetic.scene import OBSTACLES
from tfrecords.synthetic.streams import Stream, generator

_GRAIN_SIZE = 512
_GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))  # spreads hues evenly for any number of cameras


@dataclasses.dataclass(frozen=True)
class Camera:
    """The constant properties of a camera."""

    gain: float
    gamma: float
    cast: tuple  # factors of red, green and blue
    saturation: float
    light: float  # the side that the light comes from, -1 to 1
    falloff: float  # how much darker the far side of a crop is
    blur: float  # sigma in pixels
    noise: float  # sigma in grey levels
    pitch: float  # how far the camera looks down, radians
    path: float  # yaw of people who walk along the camera's main path, radians
    crop_height: float  # pixels
    quality: int
    obstacle: str


@functools.lru_cache(maxsize=64)
def camera_of(seed: int, number: int) -> Camera:
    """Returns camera `number` of a seed, from 1."""
    rng = generator(seed, Stream.CAMERA, number)
    world = generator(seed, Stream.CAMERA, 0)
    hue = world.uniform(0, 2 * math.pi) + number * _GOLDEN_ANGLE
    strength = rng.uniform(0.07, 0.17)
    cast = tuple(math.exp(strength * math.cos(hue - shift))
                 for shift in (0.0, 2 * math.pi / 3, 4 * math.pi / 3))
    bright = (number % 2) * 2 - 1
    size = (world.uniform() + number * 0.618034) % 1.0
    return Camera(
        gain=math.exp(bright * rng.uniform(0.0, 0.22)),
        gamma=math.exp(rng.uniform(-0.2, 0.2)),
        cast=cast,
        saturation=rng.uniform(0.7, 1.05),
        light=rng.uniform(-1, 1),
        falloff=rng.uniform(0.1, 0.4),
        blur=rng.uniform(0.0, 0.9),
        noise=rng.uniform(2.0, 7.0),
        pitch=rng.uniform(0.04, 0.3),
        path=world.uniform(0, math.pi) + number * 0.7,
        crop_height=82.0 + 80.0 * size,
        quality=int(rng.integers(55, 93)),
        obstacle=OBSTACLES[(number + int(world.integers(len(OBSTACLES)))) % len(OBSTACLES)],
    )


def expose(picture: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Turns a clean crop into what the camera records, both uint8 RGB [height, width, 3]."""
    return add_grain(light(picture, camera, rng, picture.shape[0]), camera, rng)


def light(picture: np.ndarray, camera: Camera, rng: np.random.Generator,
          person: float) -> np.ndarray:
    """Gives a clean picture the camera's light, colours and blur.

    Args:
        picture: uint8 RGB [height, width, 3].
        camera: The camera.
        rng: Draws the exposure; the same draws give the same exposure.
        person: Height of people in the picture, in pixels, which the blur is relative to.

    Returns:
        uint8 RGB [height, width, 3].
    """
    height, width = picture.shape[:2]
    jitter = np.exp(rng.standard_normal(4) * (0.1, 0.045, 0.045, 0.045))
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    down = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    slope = camera.falloff * rng.uniform(0.4, 1.2)
    tilt = rng.uniform(-0.5, 0.5)
    field = 1.0 + np.float32(slope * np.sign(camera.light)) * across + np.float32(
        slope * tilt) * down
    lit = np.clip(picture * field[..., None], 0, 255).astype(np.uint8)
    grey = np.full((3, 3), 1.0 / 3.0) * (1.0 - camera.saturation)
    lit = cv2.transform(lit, grey + np.eye(3) * camera.saturation)
    ramp = np.linspace(0.0, 1.0, 256)[:, None] ** (camera.gamma * np.exp(0.3 * (jitter[1:] - 1.0)))
    curve = 255.0 * ramp * camera.gain * jitter[0] * np.asarray(camera.cast) * jitter[1:]
    lit = cv2.LUT(lit, np.clip(curve, 0, 255).astype(np.uint8)[None])
    sigma = camera.blur * rng.uniform(0.6, 1.4) * person / 128.0
    return cv2.GaussianBlur(lit, (0, 0), sigma) if sigma > 0.25 else lit


def add_grain(picture: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Adds the camera's noise to a picture, uint8 RGB [height, width, 3]."""
    top, left = (int(start) for start in rng.integers(_GRAIN_SIZE - 256, size=2))
    rows, columns = (np.arange(start, start + length) % _GRAIN_SIZE
                     for start, length in zip((top, left), picture.shape))
    grain = _grain()[rows[:, None], columns]
    return np.clip(picture + np.float32(camera.noise) * grain, 0, 255).astype(np.uint8)


@functools.lru_cache(maxsize=1)
def _grain() -> np.ndarray:
    """Returns noise [512, 512, 3], of which every picture uses a random piece, repeated."""
    rng = generator(0, Stream.GRAIN)
    grey = rng.standard_normal((_GRAIN_SIZE, _GRAIN_SIZE, 1))
    coloured = rng.standard_normal((_GRAIN_SIZE, _GRAIN_SIZE, 3))
    return (0.8 * grey + 0.6 * coloured).astype(np.float32)
