"""Renders a crop: a person walks through a camera's scene and a detector cuts a box."""

from __future__ import annotations

import math

import cv2
import numpy as np

from tfrecords.synthetic.body import draw_person
from tfrecords.synthetic.camera import Camera, camera_of, expose
from tfrecords.synthetic.identity import identity_of, stranger
from tfrecords.synthetic.pose import Pose
from tfrecords.synthetic.scene import (
    HORIZON,
    OBSTACLES,
    SCENE_HEIGHT,
    SCENE_WIDTH,
    draw_obstacle,
    scene_of,
)
from tfrecords.synthetic.streams import Stream, generator, pick
from tfrecords.synthetic.varied.crop import render_varied

# Market-1501's own numbers for people outside the test identities and for useless boxes.
DISTRACTOR, JUNK = 0, -1
STYLES = ("plain", "varied")
_CANVAS_HEIGHT = 288
_OBSTACLE_RATE, _PASSER_BY_RATE = 0.1, 0.1


def render_crop(seed: int, identity: int, camera: int, index: int,
                style: str = "plain") -> np.ndarray:
    """Renders crop `index` of an identity by a camera; the four numbers determine every pixel.

    Args:
        seed: Seed of people and cameras.
        identity: From 1; `DISTRACTOR` (0) is a different stranger for each `camera` and `index`,
            and `JUNK` (-1) a box of background or a part of a body.
        camera: From 1.
        index: From 0.
        style: One of `STYLES`: `plain` figures in bold clothes, or `varied` ones in muted clothes
            with prints and folds, in cluttered places, by cameras whose light changes.

    Returns:
        uint8 RGB [height, width, 3]: of `plain` about 70 to 190 pixels high and half as wide, of
        `varied` 128 x 64.

    Raises:
        ValueError: If a number is out of range, or there is no such style.
    """
    if seed < 0 or identity < JUNK or camera < 1 or index < 0:
        raise ValueError("render_crop needs seed >= 0, identity >= -1, camera >= 1 and index >= 0; "
                         f"received {seed}, {identity}, {camera}, {index}.")
    if style not in STYLES:
        raise ValueError(f"render_crop knows no style {style!r}; give one of {STYLES}.")
    if style == "varied":
        return render_varied(seed, identity, camera, index)
    look = camera_of(seed, camera)
    rng = generator(seed, Stream.CROP, identity + 1, camera, index)
    width = int(round(_CANVAS_HEIGHT * 0.5 * rng.uniform(0.86, 1.16)))
    canvas = _background(scene_of(seed, camera), width, rng)
    if identity == JUNK:
        _draw_junk(canvas, seed, camera, index, look, rng)
    else:
        _draw_scene(canvas, seed, identity, camera, index, look, rng)
    height = int(np.clip(look.crop_height * math.exp(0.16 * rng.standard_normal()), 68, 192))
    size = (max(1, round(height * width / _CANVAS_HEIGHT)), height)
    return expose(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), look, rng)


def _draw_scene(canvas: np.ndarray, seed: int, identity: int, camera: int, index: int,
                look: Camera, rng: np.random.Generator) -> None:
    track = index if identity == DISTRACTOR else 0
    walk = generator(seed, Stream.TRACK, identity + 1, camera, track)
    course = look.path + (math.pi if walk.random() < 0.5 else 0.0) + 0.45 * walk.standard_normal()
    who = identity_of(seed, identity) if identity > 0 else stranger(seed, camera, index)
    height, width = canvas.shape[:2]
    passer_by = rng.random() < _PASSER_BY_RATE
    in_front = passer_by and rng.random() < 0.4
    if passer_by and not in_front:
        _draw_passer_by(canvas, seed, camera, look, rng, in_front=False)
    # A detector's box: loose or tight, shifted, sometimes without the feet or the crown.
    tall = height * rng.uniform(0.84, 0.97)
    ground = height * (0.965 + 0.03 * rng.standard_normal())
    fault = rng.random()
    if fault < 0.08:
        tall, ground = tall * 1.12, ground + height * rng.uniform(0.07, 0.16)
    elif fault < 0.13:
        ground -= height * rng.uniform(0.02, 0.08)
    x = width * (0.5 + 0.05 * rng.standard_normal())
    draw_person(canvas, who, _pose(course + 0.28 * rng.standard_normal(), look, rng), x, ground,
                tall, look.light)
    if in_front:
        _draw_passer_by(canvas, seed, camera, look, rng, in_front=True)
    elif rng.random() < _OBSTACLE_RATE:
        kind = look.obstacle if rng.random() < 0.6 else pick(rng, OBSTACLES)
        draw_obstacle(canvas, kind, rng)


def _draw_passer_by(canvas: np.ndarray, seed: int, camera: int, look: Camera,
                    rng: np.random.Generator, in_front: bool) -> None:
    height, width = canvas.shape[:2]
    side = 1 if rng.random() < 0.5 else -1
    apart = rng.uniform(0.42, 0.55) if in_front else rng.uniform(0.28, 0.5)
    size = rng.uniform(0.9, 1.02) if in_front else rng.uniform(0.6, 0.85)
    other = stranger(seed, camera, int(rng.integers(1 << 30)))
    draw_person(canvas, other, _pose(rng.uniform(0, 2 * math.pi), look, rng),
                width * (0.5 + side * apart), height * (1.0 if in_front else 0.85), height * size,
                look.light)


def _draw_junk(canvas: np.ndarray, seed: int, camera: int, index: int, look: Camera,
               rng: np.random.Generator) -> None:
    height, width = canvas.shape[:2]
    kind = pick(rng, ("background", "part", "edge"), (3, 4, 3))
    pose = _pose(rng.uniform(0, 2 * math.pi), look, rng)
    who = stranger(seed, camera, (1 << 31) + index)
    side = 1 if rng.random() < 0.5 else -1
    if kind == "part":
        tall = height * rng.uniform(1.9, 2.8)
        draw_person(canvas, who, pose, width * rng.uniform(0.2, 0.8),
                    height * rng.uniform(0.9, 2.3), tall, look.light)
    elif kind == "edge":
        draw_person(canvas, who, pose, width * (0.5 + side * rng.uniform(0.5, 0.62)),
                    height * rng.uniform(1.0, 1.5), height * rng.uniform(0.9, 1.3), look.light)
    elif rng.random() < 0.5:
        draw_obstacle(canvas, pick(rng, OBSTACLES), rng)


def _pose(yaw: float, look: Camera, rng: np.random.Generator) -> Pose:
    standing = rng.random() < 0.15
    bend = rng.uniform(0.15, 0.5, size=2)
    if rng.random() < 0.12:
        bend[int(rng.integers(2))] = rng.uniform(1.3, 2.0)  # a phone in one hand
    return Pose(yaw=yaw, pitch=look.pitch, phase=rng.uniform(0, 2 * math.pi),
                stride=rng.uniform(0.03, 0.12) if standing else rng.uniform(0.26, 0.5),
                lean=rng.uniform(0.0, 0.09), elbows=tuple(bend))


def _background(scene: np.ndarray, width: int, rng: np.random.Generator) -> np.ndarray:
    tall = rng.uniform(0.52, 0.72) * SCENE_HEIGHT
    wide = tall * width / _CANVAS_HEIGHT
    top = np.clip(HORIZON - tall * rng.uniform(0.08, 0.55), 0, SCENE_HEIGHT - tall)
    left = rng.uniform(0, SCENE_WIDTH - wide)
    window = scene[int(top):int(top + tall), int(left):int(left + wide)]
    if rng.random() < 0.5:
        window = window[:, ::-1]
    return cv2.resize(window, (width, _CANVAS_HEIGHT), interpolation=cv2.INTER_LINEAR)
