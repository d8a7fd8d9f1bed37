"""Renders a film: people walk through a camera's view, and the truth about their boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from tfrecords.errors import UserError
from tfrecords.synthetic.body import draw_figure, draw_shadow
from tfrecords.synthetic.camera import Camera, add_grain, camera_of, light
from tfrecords.synthetic.dataset import MOST_CAMERAS, MOST_PEOPLE
from tfrecords.synthetic.identity import Identity, identity_of
from tfrecords.synthetic.pose import Pose
from tfrecords.synthetic.scene import HORIZON, SCENE_HEIGHT, SCENE_WIDTH, scene_of
from tfrecords.synthetic.streams import Stream, generator
from tfrecords.synthetic.walks import FilmOptions, Walk, on_frame
from tfrecords.writing import whole_file, write_whole

# Height of the camera in body heights.
_CAMERA_HEIGHT = 1.27
_BESIDE, _BELOW = 0.3, 0.1  # what is drawn around the frame, in frame heights
_USUAL_PERSON = 0.35  # height in frame heights that the camera's blur is relative to
# People of whom less is visible get no box.
_LEAST_VISIBLE = 0.25


class Box(NamedTuple):
    """The silhouette's extent of a person, also where it is hidden or outside the frame.

    Attributes:
        track: Number of the walk in its film, from 1.
        left: In pixels, like the others.
        top: From the frame's upper edge.
        width: Of the silhouette.
        height: Of the silhouette.
        visibility: Part of the silhouette that the frame shows, 0 to 1.
    """

    track: int
    left: int
    top: int
    width: int
    height: int
    visibility: float


class _Person(NamedTuple):
    """A pedestrian at one moment, in pixels of the canvas."""

    track: int
    identity: Identity
    pose: Pose
    x: float
    ground: float
    tall: float


def write_film(path: Path, options: FilmOptions, camera: int, walks: Sequence[Walk],
               advance: Callable[[int], object] = lambda _: None) -> None:
    """Writes a camera's film, and beside it, as `.txt`, the boxes as MOTChallenge's ground truth.

    Args:
        path: The film, `.mp4`.
        options: What to film.
        camera: Its number, from 1.
        walks: Those of this camera; their places in this list, from 1, are the tracks.
        advance: Called with 1 after each frame.

    Raises:
        UserError: If this OpenCV cannot write films, or the disk is full.
    """
    lines = []
    with whole_file(path) as temporary:
        writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter_fourcc(*"mp4v"), options.rate,
                                 (options.width, options.height))
        try:
            for number, (picture, boxes) in enumerate(film_frames(options, camera, walks), 1):
                writer.write(picture[..., ::-1].copy())
                lines += [f"{number},{','.join(map(str, box[:5]))},1,1,{box.visibility:.3f}\n"
                          for box in boxes]
                advance(1)
        finally:
            writer.release()
        written = cv2.VideoCapture(str(temporary))
        if written.get(cv2.CAP_PROP_FRAME_COUNT) != options.frames:
            raise UserError(f"{path} could not be written whole; free some space on its disk, and "
                            "see that this OpenCV can write MPEG-4.")
        written.release()
        write_whole(path.with_suffix(".txt"), "".join(lines).encode())


def film_frames(options: FilmOptions, camera: int,
                walks: Sequence[Walk]) -> Iterator[tuple[np.ndarray, list[Box]]]:
    """Yields the frames of a film, uint8 RGB [height, width, 3], and the boxes of their people."""
    number = MOST_CAMERAS + camera  # of which no dataset has images
    look, canvas = camera_of(options.seed, number), _empty_view(options, number)
    beside = _around(options)[0]
    for frame in range(options.frames):
        people = sorted(_present(options, look, walks, frame / options.rate),
                        key=lambda person: person.tall)
        drawn = canvas.copy()
        boxes = _draw(drawn, people, look.light, beside, options)
        exposure = generator(options.seed, Stream.FILM, number)
        seen = light(drawn[:options.height, beside:beside + options.width], look, exposure,
                     _USUAL_PERSON * options.height)
        yield add_grain(seen, look, generator(options.seed, Stream.FILM, number, frame + 1)), boxes


def _around(options: FilmOptions) -> tuple[int, int]:
    """Returns the pixels beside and below the frame that are drawn as well."""
    return round(_BESIDE * options.height), round(_BELOW * options.height)


def _empty_view(options: FilmOptions, number: int) -> np.ndarray:
    scene = scene_of(options.seed, number)
    wide = SCENE_HEIGHT * options.width // options.height
    left = int(generator(options.seed, Stream.FILM, number).integers(SCENE_WIDTH - wide + 1))
    view = cv2.resize(scene[:, left:left + wide], (options.width, options.height),
                      interpolation=cv2.INTER_LINEAR)
    beside, below = _around(options)
    return cv2.copyMakeBorder(view, 0, below, beside, beside, cv2.BORDER_REPLICATE)


def _present(options: FilmOptions, look: Camera, walks: Sequence[Walk],
             time: float) -> Iterator[_Person]:
    for track, walk in enumerate(walks, 1):
        place = walk.place(time)
        if place is None:
            continue
        right, tall = (options.height * length for length in on_frame(place))
        # A dataset has at most so many training identities and as many test identities.
        who = identity_of(options.seed, 2 * MOST_PEOPLE + walk.person)
        yield _Person(track, who, walk.pose(time, look.pitch),
                      _around(options)[0] + options.width / 2 + right,
                      options.height * HORIZON / SCENE_HEIGHT + _CAMERA_HEIGHT * tall, tall)


def _draw(canvas: np.ndarray, people: Sequence[_Person], side: float, beside: int,
          options: FilmOptions) -> list[Box]:
    """Draws people, the farthest first, and returns the boxes of those who can be seen."""
    for person in people:
        draw_shadow(canvas, person.x, person.ground, person.tall, side)
    owners = np.zeros(canvas.shape[:2], np.uint16)
    extents = {}
    for person in people:
        mask, left, top = _silhouette(canvas, person, side)
        owners[top:top + mask.shape[0], left:left + mask.shape[1]][mask] = person.track
        columns, rows = (np.flatnonzero(mask.any(axis)) for axis in (0, 1))
        extents[person.track] = (left + int(columns[0]) - beside, top + int(rows[0]),
                                 int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1), mask.sum()
    visible = np.bincount(owners[:options.height, beside:beside + options.width].ravel(),
                          minlength=max(extents, default=0) + 1)
    boxes = [Box(track, *box, float(visible[track] / area))
             for track, (box, area) in sorted(extents.items())]
    return [box for box in boxes if box.visibility >= _LEAST_VISIBLE]


def _silhouette(canvas: np.ndarray, person: _Person,
                side: float) -> tuple[np.ndarray, int, int]:
    """Draws a person and returns which pixels of a window changed, and the window's corner."""
    left, top = (max(0, int(edge)) for edge in (person.x - 0.5 * person.tall,
                                                person.ground - 1.2 * person.tall))
    window = canvas[top:int(person.ground + 0.1 * person.tall),
                    left:int(person.x + 0.5 * person.tall)]
    before = window.copy()
    draw_figure(canvas, person.identity, person.pose, person.x, person.ground, person.tall, side)
    return (window != before).any(axis=2), left, top
