"""Frames with the numbers of the people in them: a film, or the picture of one frame."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from tfrecords.errors import UserError
from tfrecords.writing import whole_file
from tfreid.footage.detections import Detection
from tfreid.footage.films import Film

FILM_SUFFIXES, PICTURE_SUFFIXES = (".mp4",), (".jpg", ".png")
# Of neighbouring numbers the hues, of OpenCV's 180, are far apart.
_HUE_STEP = 67
_FONT, _LETTER_HEIGHT = cv2.FONT_HERSHEY_SIMPLEX, 22


def draw_tracks(film: Film, people: Sequence[Detection], path: Path,
                advance: Callable[[int], object] = lambda _: None) -> None:
    """Draws numbered boxes into a film, or into its frame with the most people.

    Args:
        film: The film.
        people: Boxes with their tracks.
        path: What is written, with one of `FILM_SUFFIXES` or `PICTURE_SUFFIXES`.
        advance: Called with 1 after each frame.

    Raises:
        UserError: If this OpenCV cannot write it.
    """
    frames = collections.defaultdict(list)
    for one in people:
        frames[one.frame].append(one)
    if path.suffix.lower() in FILM_SUFFIXES:
        _write_film(film, frames, path, advance)
        return
    fullest = max(frames, key=lambda number: len(frames[number]))
    for number, image in film.frames(lambda number: number == fullest):
        advance(1)
        if number == fullest:
            with whole_file(path) as temporary:
                _check(cv2.imwrite(str(temporary), draw_people(image, frames[number])), path)
            return


def draw_people(image: np.ndarray, people: Sequence[Detection]) -> np.ndarray:
    """Returns a BGR image [h, w, 3] with boxes and their numbers, in a colour for each number."""
    image, scale = image.copy(), max(image.shape[0] / 720, 0.5)
    thick = max(round(2 * scale), 1)
    for one in people:
        left, top, width, height = (round(side) for side in one.box)
        colour = cv2.cvtColor(np.uint8([[[one.track * _HUE_STEP % 180, 200, 255]]]),
                              cv2.COLOR_HSV2BGR)[0, 0].tolist()
        cv2.rectangle(image, (left, top), (left + width, top + height), colour, thick)
        place = max(left, 0), max(top - 2 * thick, round(_LETTER_HEIGHT * scale))
        for shade, extent in (((0, 0, 0), 3 * thick), (colour, thick)):
            cv2.putText(image, str(one.track), place, _FONT, 0.8 * scale, shade, extent,
                        cv2.LINE_AA)
    return image


def _write_film(film, frames, path, advance) -> None:
    with whole_file(path) as temporary:
        writer, image, last = None, None, -1
        try:
            for number, found in film.frames():
                if found is None and image is None:
                    continue  # broken frames show the one before
                if image is not None and found is not None and found.shape != image.shape:
                    raise UserError(
                        f"frame {number + 1} of {film.path} has {found.shape[1]} x "
                        f"{found.shape[0]} pixels, the frames before it {image.shape[1]} x "
                        f"{image.shape[0]}; a film has one size: draw a picture (.jpg) instead.")
                for _ in range(number - last - 1 if writer else 0):
                    writer.write(image)  # as long as the frames that a folder lacks
                image, last = image if found is None else found, number
                if writer is None:
                    writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter_fourcc(*"mp4v"),
                                             film.rate, image.shape[1::-1])
                    _check(writer.isOpened(), path)
                writer.write(draw_people(image, frames.get(number, ())))
                advance(1)
        finally:
            if writer is not None:
                writer.release()


def _check(written: bool, path: Path) -> None:
    if not written:
        raise UserError(f"{path} could not be written; free some space on its disk, and see that "
                        "this OpenCV can write such files.")
