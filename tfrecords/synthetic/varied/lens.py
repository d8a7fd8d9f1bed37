"""How a camera records a crop: light, colours, sharpness, noise and compression."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np

from tfrecords.synthetic.streams import Stream, generator

HEIGHT, WIDTH = 128, 64  # of a finished crop, as in Market-1501


@dataclasses.dataclass(frozen=True)
class Lens:
    """How one camera sees at one time of day."""

    gain: float
    gamma: float
    cast: np.ndarray  # factors of red, green and blue
    saturation: float
    contrast: float
    haze: float  # grey levels added to black
    light: float  # side that shines, -1 to 1
    shading: float  # how dark the rims of rounded parts are
    falloff: float
    pitch: float  # how far the camera looks down, radians
    detail: float  # height in pixels in which people are recorded
    blur: float  # sigma in recorded pixels
    sharpening: float
    noise: float  # sigma in grey levels
    quality: int  # of JPEG


def lens_of(seed: int, camera: int, walk: np.random.Generator) -> Lens:
    """Returns how a camera, from 1, sees during a walk, whose generator draws the hour."""
    rng = generator(seed, Stream.CAMERA, camera, 0, 1)

    def mixed(middle: float, between: float, within: float) -> float:
        return middle + between * rng.standard_normal() + within * walk.standard_normal()

    return Lens(
        gain=math.exp(mixed(0.06, 0.06, 0.08)), gamma=math.exp(mixed(0.08, 0.08, 0.1)),
        cast=np.exp([mixed(0.0, 0.025, 0.025) for _ in range(3)]),
        saturation=float(np.clip(mixed(0.68, 0.13, 0.09), 0.3, 1.2)),
        contrast=mixed(1.08, 0.07, 0.07), haze=max(0.0, mixed(0.0, 8.0, 5.0)),
        light=float(np.clip(mixed(0.0, 0.6, 0.5), -1, 1)),
        shading=float(np.clip(mixed(0.28, 0.05, 0.08), 0.08, 0.5)),
        falloff=abs(mixed(0.0, 0.1, 0.1)), pitch=float(np.clip(mixed(0.16, 0.08, 0.03), 0, 0.4)),
        detail=float(np.clip(mixed(122, 22, 18), 44, 170)),
        blur=float(np.clip(mixed(0.3, 0.2, 0.15), 0, 1.2)),
        sharpening=float(np.clip(mixed(1.0, 0.4, 0.2), 0, 2.2)),
        noise=float(np.clip(mixed(2.5, 1.5, 1.0), 0, 8)),
        quality=int(np.clip(mixed(72, 12, 8), 28, 95)))


def record(picture: np.ndarray, lens: Lens, rng: np.random.Generator) -> np.ndarray:
    """Turns a clean picture into a crop, both uint8 RGB; the crop has `HEIGHT` and `WIDTH`."""
    seen = _coloured(_lit(picture, lens, rng), lens, rng)
    tall = int(np.clip(lens.detail * math.exp(0.15 * rng.standard_normal()), 36, 180))
    small = cv2.resize(seen, (max(14, round(tall * WIDTH / HEIGHT)), tall),
                       interpolation=cv2.INTER_AREA)
    small = _blurred(small, lens, rng).astype(np.float32)
    small += lens.noise * rng.standard_normal(small.shape, dtype=np.float32)
    small = np.clip(small, 0, 255).astype(np.uint8)
    _, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, lens.quality])
    small = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    way = cv2.INTER_LINEAR if tall < HEIGHT else cv2.INTER_AREA
    return cv2.resize(small, (WIDTH, HEIGHT), interpolation=way)


def _lit(picture: np.ndarray, lens: Lens, rng: np.random.Generator) -> np.ndarray:
    """Darkens one side, and sometimes what lies in a shadow with a straight edge."""
    height, width = picture.shape[:2]
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    down = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    slope = np.float32(lens.falloff * rng.uniform(0.5, 1.5))
    field = 1 + slope * (np.float32(np.sign(lens.light)) * across + np.float32(
        rng.uniform(-1, 1)) * down)
    if rng.random() < 0.12:
        angle = rng.uniform(0, 2 * math.pi)
        edge = np.float32(math.cos(angle)) * across + np.float32(math.sin(angle)) * down
        dark = np.clip(0.5 + 12 * (edge - rng.uniform(-0.3, 0.3)), 0, 1)
        field = field * (1 - np.float32(rng.uniform(0.2, 0.5)) * dark)
    return np.clip(picture * field[..., None], 0, 255).astype(np.uint8)


def _coloured(picture: np.ndarray, lens: Lens, rng: np.random.Generator) -> np.ndarray:
    saturation = lens.saturation * math.exp(0.06 * rng.standard_normal())
    grey = np.full((3, 3), 1.0 / 3.0) * (1.0 - saturation)
    picture = cv2.transform(picture, grey + np.eye(3) * saturation)
    jitter = np.exp(rng.standard_normal(5) * (0.07, 0.05, 0.02, 0.02, 0.02))
    ramp = np.linspace(0.0, 1.0, 256)[:, None] ** (lens.gamma * jitter[1])
    ramp = 0.45 + (ramp - 0.45) * lens.contrast
    curve = lens.haze + (255.0 - lens.haze) * ramp * lens.gain * jitter[0] * (
        lens.cast * jitter[2:])
    return cv2.LUT(picture, np.clip(curve, 0, 255).astype(np.uint8)[None])


def _blurred(picture: np.ndarray, lens: Lens, rng: np.random.Generator) -> np.ndarray:
    sigma = lens.blur * rng.uniform(0.5, 1.5)
    if sigma > 0.25:
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    if rng.random() < 0.15:  # people move while the shutter is open
        long = int(rng.integers(2, 6))
        picture = cv2.blur(picture, (long, 1) if rng.random() < 0.7 else (1, long))
    if lens.sharpening > 0.1:
        soft = cv2.GaussianBlur(picture, (0, 0), 1.2)
        picture = cv2.addWeighted(picture, 1 + lens.sharpening, soft, -lens.sharpening, 0)
    return picture
