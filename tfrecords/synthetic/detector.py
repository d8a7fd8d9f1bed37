"""What a detector would find in a rendered film: boxes that are off, missing and false."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tfrecords.synthetic.film import Box
from tfrecords.synthetic.streams import Stream, generator
from tfrecords.synthetic.walks import FilmOptions

# People of whom this part and more is visible are found at this rate; it falls to 0 in a line.
_CLEAR, _HIDDEN, _MOST_FOUND = 0.7, 0.2, 0.97
# Deviation of a box's centre and sides, in parts of its width and height.
_OFF = 0.03
_CONFIDENCE, _CONFIDENCE_VISIBLE, _CONFIDENCE_OFF = 0.5, 0.45, 0.05
# False boxes a frame, their least and greatest height in frame heights, their width in heights.
_FALSE, _FALSE_HEIGHTS, _FALSE_WIDTH = 0.1, (0.2, 0.5), 0.4
_FALSE_CONFIDENCE = (0.3, 0.6)


def read_boxes(text: str) -> dict[int, list[Box]]:
    """Reads the boxes of a film as `write_film` writes them: frame, from 1 -> boxes."""
    frames: dict[int, list[Box]] = {}
    for line in text.splitlines():
        frame, *sides, _, _, visibility = line.split(",")
        frames.setdefault(int(frame), []).append(Box(*map(int, sides), float(visibility)))
    return frames


def detections_of(frames: Mapping[int, Sequence[Box]], options: FilmOptions,
                  camera: int) -> bytes:
    """Returns what a detector finds, as MOTChallenge text without tracks.

    A person of whom the part v is visible is found with the probability 0.97 where v >= 0.7, 0
    where v <= 0.2, and in a line between. The centre of a box and its sides are off by a normal
    error of 3% of its width and height; its confidence is 0.5 + 0.45 v with a normal error of 0.05.
    False boxes, 0.1 a frame (Poisson), are of people's size and anywhere, with a confidence of 0.3
    to 0.6. Boxes are clipped to the frame.

    Args:
        frames: Frame, from 1 -> the true boxes.
        options: What was filmed; the seed is also that of the errors.
        camera: Number of the camera, from 1.
    """
    lines = []
    for frame in range(1, options.frames + 1):
        rng = generator(options.seed, Stream.DETECTION, camera, frame)
        found = [*_found(frames.get(frame, ()), rng), *_false(options, rng)]
        lines += [f"{frame},-1,{','.join(f'{side:.1f}' for side in box)},{confidence:.3f}\n"
                  for box, confidence in _clipped(found, options)]
    return "".join(lines).encode()


def _found(boxes: Iterable[Box], rng: np.random.Generator):
    for box in boxes:
        chance = _MOST_FOUND * np.clip((box.visibility - _HIDDEN) / (_CLEAR - _HIDDEN), 0, 1)
        is_found, errors, doubt = rng.random() < chance, rng.normal(size=4), rng.normal()
        if is_found:
            size = np.array([box.width, box.height])
            centre = np.array([box.left, box.top]) + size / 2 + _OFF * size * errors[:2]
            size = size * np.maximum(1 + _OFF * errors[2:], 0.5)
            confidence = _CONFIDENCE + _CONFIDENCE_VISIBLE * box.visibility
            yield np.hstack([centre - size / 2, size]), confidence + _CONFIDENCE_OFF * doubt


def _false(options: FilmOptions, rng: np.random.Generator):
    for _ in range(rng.poisson(_FALSE)):
        height = options.height * rng.uniform(*_FALSE_HEIGHTS)
        size = np.array([_FALSE_WIDTH * height, height])
        corner = rng.random(2) * (np.array([options.width, options.height]) - size)
        yield np.hstack([corner, size]), rng.uniform(*_FALSE_CONFIDENCE)


def _clipped(found, options: FilmOptions):
    limits = np.array([options.width, options.height])
    for box, confidence in found:
        # Corners as they are written, or else the sum of a rounded corner and size may be outside.
        start, end = np.round(np.clip([box[:2], box[:2] + box[2:]], 0, limits), 1)
        size = end - start
        if (size >= 1).all():
            yield (*start, *size), float(np.clip(confidence, 0.05, 0.99))
