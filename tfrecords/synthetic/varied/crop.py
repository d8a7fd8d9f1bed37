"""Renders a varied crop: a person walks through a place and a detector cuts a box."""

from __future__ import annotations

import math

import numpy as np

from tfrecords.synthetic.pose import Pose
from tfrecords.synthetic.streams import Stream, generator, pick
from tfrecords.synthetic.varied.cloth import UPPER, dye
from tfrecords.synthetic.varied.figure import Canvas, draw_person
from tfrecords.synthetic.varied.lens import Lens, lens_of, record
from tfrecords.synthetic.varied.place import VIEWS, draw_bicycle, draw_thing, place_of, window
from tfrecords.synthetic.varied.wardrobe import look_of, stranger_look

_HEIGHT = 160
_PASSER_BY_RATE, _THING_RATE, _BICYCLE_RATE = 0.25, 0.12, 0.08


def render_varied(seed: int, identity: int, camera: int, index: int) -> np.ndarray:
    """Renders a crop; see `tfrecords.synthetic.crop.render_crop`. It has 128 x 64 pixels."""
    track = index if identity < 1 else 0
    walk = generator(seed, Stream.TRACK, identity + 1, camera, track)
    rng = generator(seed, Stream.CROP, identity + 1, camera, index)
    lens = lens_of(seed, camera, walk)
    place, horizon = place_of(seed, camera, int(walk.integers(VIEWS)))
    # People in boxes of their own shape, which the crop's fixed shape makes broader.
    width = int(rng.integers(58, 77))
    canvas = Canvas(window(place, horizon, (_HEIGHT, width), rng), 0.22 * lens.light,
                    lens.shading, rng)
    if identity < 0:
        _draw_junk(canvas, seed, camera, index, lens, rng)
    else:
        _draw_scene(canvas, seed, identity, camera, index, lens, walk, rng)
    return record(canvas.pixels, lens, rng)


def _draw_scene(canvas: Canvas, seed: int, identity: int, camera: int, index: int, lens: Lens,
                walk: np.random.Generator, rng: np.random.Generator) -> None:
    course = walk.uniform(0, 2 * math.pi)
    habit = _habit(walk)
    cycles = walk.random() < _BICYCLE_RATE
    bicycle = tuple(dye(walk, UPPER).tolist())
    look = look_of(seed, identity) if identity else stranger_look(seed, camera, index)
    passes, in_front = rng.random() < _PASSER_BY_RATE, rng.random() < 0.35
    if passes and not in_front:
        _draw_passer_by(canvas, seed, camera, lens, rng, in_front=False)
    # A detector's box: loose or tight, shifted, sometimes without the feet or the crown.
    tall = _HEIGHT * rng.uniform(0.9, 1.03)
    ground = _HEIGHT * (0.975 + 0.025 * rng.standard_normal())
    fault = rng.random()
    if fault < 0.08:
        tall, ground = tall * rng.uniform(1.05, 1.25), ground + _HEIGHT * rng.uniform(0.05, 0.25)
    elif fault < 0.12:
        tall, ground = tall * rng.uniform(0.7, 0.9), ground - _HEIGHT * rng.uniform(0.0, 0.12)
    x = canvas.width * (0.5 + 0.055 * rng.standard_normal())
    pose = _pose(course + 0.35 * rng.standard_normal(), habit, lens, rng)
    draw_person(canvas, look, pose, x, ground, tall)
    if cycles:
        draw_bicycle(canvas.pixels, x + rng.normal(0, 0.1) * canvas.width, ground, tall * 0.36,
                     course + math.pi / 2, bicycle)
    if passes and in_front:
        _draw_passer_by(canvas, seed, camera, lens, rng, in_front=True)
    elif rng.random() < _THING_RATE:
        side = 1 if rng.random() < 0.5 else -1
        draw_thing(canvas.pixels, canvas.width * (0.5 + side * rng.uniform(0.2, 0.6)),
                   _HEIGHT * rng.uniform(0.95, 1.1), _HEIGHT * rng.uniform(0.4, 0.8), rng)


def _draw_passer_by(canvas: Canvas, seed: int, camera: int, lens: Lens, rng: np.random.Generator,
                    in_front: bool) -> None:
    side = 1 if rng.random() < 0.5 else -1
    apart = rng.uniform(0.38, 0.6) if in_front else rng.uniform(0.2, 0.55)
    size = rng.uniform(0.9, 1.1) if in_front else rng.uniform(0.55, 0.95)
    other = stranger_look(seed, camera, int(rng.integers(1 << 30)))
    draw_person(canvas, other, _pose(rng.uniform(0, 2 * math.pi), _habit(rng), lens, rng),
                canvas.width * (0.5 + side * apart),
                _HEIGHT * (rng.uniform(0.97, 1.1) if in_front else 0.55 + 0.45 * size),
                _HEIGHT * size)


def _draw_junk(canvas: Canvas, seed: int, camera: int, index: int, lens: Lens,
               rng: np.random.Generator) -> None:
    kind = pick(rng, ("background", "part", "edge"), (3, 4, 3))
    pose = _pose(rng.uniform(0, 2 * math.pi), _habit(rng), lens, rng)
    look = stranger_look(seed, camera, (1 << 31) + index)
    side = 1 if rng.random() < 0.5 else -1
    if kind == "part":
        draw_person(canvas, look, pose, canvas.width * rng.uniform(0.2, 0.8),
                    _HEIGHT * rng.uniform(0.9, 2.3), _HEIGHT * rng.uniform(1.9, 2.8))
    elif kind == "edge":
        draw_person(canvas, look, pose, canvas.width * (0.5 + side * rng.uniform(0.5, 0.62)),
                    _HEIGHT * rng.uniform(1.0, 1.5), _HEIGHT * rng.uniform(0.9, 1.3))
    else:
        draw_thing(canvas.pixels, canvas.width * rng.uniform(0, 1), _HEIGHT, _HEIGHT * 0.7, rng)


def _habit(rng: np.random.Generator) -> tuple[float, float]:
    """Returns how far both elbows are bent during a walk: hanging, at a strap or at a phone."""
    bends = [rng.uniform(0.1, 0.5) if rng.random() < 0.8 else rng.uniform(0.9, 2.3)
             for _ in range(2)]
    return tuple(bends)


def _pose(yaw: float, habit: tuple[float, float], lens: Lens, rng: np.random.Generator) -> Pose:
    standing = rng.random() < 0.2
    return Pose(yaw=yaw, pitch=lens.pitch, phase=rng.uniform(0, 2 * math.pi),
                stride=rng.uniform(0.02, 0.12) if standing else rng.uniform(0.2, 0.48),
                lean=rng.uniform(-0.02, 0.12),
                elbows=tuple(max(0.05, bend + 0.1 * rng.standard_normal()) for bend in habit))
