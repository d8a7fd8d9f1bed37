"""Who walks through which camera's view, when, and along which line."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from tfrecords.errors import UserError
from tfrecords.synthetic.pose import HIP, Pose
from tfrecords.synthetic.streams import Stream, generator

# Distance at which a body is as tall as the frame, and heights of the farthest and the nearest
# body in parts of the frame's.
_FOCAL = 1.54
_FAR, _NEAR = 0.22, 0.48
_OUTSIDE = 0.4  # how far outside the view a walk begins and ends
_PAUSE, _TRAVEL = 2.0, 4.0  # least seconds until the same camera, or another one, sees a person
_TWICE_RATE = 0.2


@dataclasses.dataclass(frozen=True)
class FilmOptions:
    """What to film.

    Attributes:
        people: Number of people, each of whom crosses the view of every camera.
        cameras: Number of cameras, each of which makes one film.
        seconds: Length of the films, which begin at the same time.
        rate: Frames a second.
        height: Of a frame in pixels, even.
        width: Of a frame in pixels, even, from 1 to 3 heights.
        seed: Seed of people, cameras and walks.
    """

    people: int = 20
    cameras: int = 2
    seconds: int = 60
    rate: int = 10
    height: int = 540
    width: int = 960
    seed: int = 0

    @property
    def frames(self) -> int:
        """Number of frames of a film."""
        return self.seconds * self.rate


@dataclasses.dataclass(frozen=True)
class Walk:
    """A person crosses a camera's view in a straight line, once.

    Places are (to the right of the camera, away from it), in body heights.

    Attributes:
        person: From 1.
        camera: From 1.
        first: Where it begins, outside the view.
        last: Where it ends, outside the view on the other side.
        speed: Body heights a second.
        stride: Swing of the legs, radians.
        phase: Of the gait at the beginning, radians.
        lean: Forward, radians.
        elbows: Their bend, left and right, radians.
        start: Seconds from the films' beginning.
    """

    person: int
    camera: int
    first: tuple[float, float]
    last: tuple[float, float]
    speed: float
    stride: float
    phase: float
    lean: float
    elbows: tuple[float, float]
    start: float = 0.0

    @property
    def length(self) -> float:
        """Body heights from its beginning to its end."""
        return math.dist(self.first, self.last)

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return self.length / self.speed

    def place(self, time: float) -> tuple[float, float] | None:
        """Returns where the person is at a time in seconds, or None before and after the walk."""
        part = (time - self.start) / self.seconds
        if not 0 <= part <= 1:
            return None
        return tuple(a + part * (b - a) for a, b in zip(self.first, self.last))

    def pose(self, time: float, pitch: float) -> Pose:
        """Returns the pose at a time, seen by a camera that looks down by `pitch` radians."""
        right, away = self.place(time)
        heading = math.atan2(self.last[0] - self.first[0], self.first[1] - self.last[1])
        walked = self.speed * (time - self.start)
        # In a cycle of the gait both legs step once.
        phase = self.phase + 2 * math.pi * walked / (4 * HIP * math.sin(self.stride))
        return Pose(heading + math.atan2(right, away), pitch, phase, self.stride, self.lean,
                    self.elbows)


def on_frame(place: tuple[float, float]) -> tuple[float, float]:
    """Returns where the feet are right of the middle, and a body's height, in frame heights."""
    right, away = place
    return _FOCAL * right / away, _FOCAL / away


def plan_walks(options: FilmOptions) -> dict[int, list[Walk]]:
    """Plans who walks where and when: camera, from 1 -> its walks in the order of their starts.

    Everyone crosses the view of every camera, some twice, and is never in two places at once.

    Raises:
        UserError: If the films are too short for it, or a frame has a size that none can have.
    """
    if not options.height <= options.width <= 3 * options.height:
        raise UserError(f"frames of {options.width} x {options.height} pixels show no scene; give "
                        "a --width of 1 to 3 heights.")
    if options.height % 2 or options.width % 2:
        raise UserError("films need an even --height and --width, not "
                        f"{options.width} x {options.height}.")
    walks = [walk for person in range(1, options.people + 1)
             for walk in _visits(options, person)]
    return {camera: sorted((walk for walk in walks if walk.camera == camera),
                           key=lambda walk: (walk.start, walk.person))
            for camera in range(1, options.cameras + 1)}


def _visits(options: FilmOptions, person: int) -> list[Walk]:
    rng = generator(options.seed, Stream.WALK, person)
    again = rng.random(options.cameras) < _TWICE_RATE
    walks = [_walk(options, person, int(camera) + 1, rng) for some in (
        np.arange(options.cameras), np.flatnonzero(again)) for camera in rng.permutation(some)]
    while _least_seconds(walks) > options.seconds and len(walks) > options.cameras:
        walks.pop()
    least = _least_seconds(walks)
    if least > options.seconds:
        raise UserError(f"{options.seconds} seconds are too short for a person to cross the views "
                        f"of {options.cameras} cameras; give --seconds {math.ceil(least)} or more.")
    waits = np.sort(rng.uniform(0, options.seconds - least, len(walks)))
    return [dataclasses.replace(walk, start=float(wait) + _least_seconds(walks[:place]) + (
        _gap(walks[place - 1], walk) if place else 0.0))
        for place, (walk, wait) in enumerate(zip(walks, waits))]


def _least_seconds(walks: Sequence[Walk]) -> float:
    return sum(walk.seconds for walk in walks) + sum(itertools.starmap(
        _gap, zip(walks, walks[1:])))


def _gap(before: Walk, after: Walk) -> float:
    return _PAUSE if before.camera == after.camera else _TRAVEL


def _walk(options: FilmOptions, person: int, camera: int, rng: np.random.Generator) -> Walk:
    side = 1 if rng.random() < 0.5 else -1
    ends = []
    for direction in (side, -side):
        away = _FOCAL / rng.uniform(_FAR, _NEAR)
        half = options.width / options.height / 2 * away / _FOCAL
        ends.append((direction * (half + _OUTSIDE), away))
    bend = rng.uniform(0.15, 0.5, size=2)
    if rng.random() < 0.12:
        bend[int(rng.integers(2))] = rng.uniform(1.3, 2.0)  # a phone in one hand
    return Walk(person, camera, *ends, speed=rng.uniform(0.65, 1.0), stride=rng.uniform(0.28, 0.45),
                phase=rng.uniform(0, 2 * math.pi), lean=rng.uniform(0.0, 0.09),
                elbows=tuple(bend.tolist()))
