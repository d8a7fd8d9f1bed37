"""Follows people through a film: boxes in, the same boxes with numbers out."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from tfrecords.errors import UserError
from tfreid.footage.crops import cut
from tfreid.footage.detections import Detection
from tfreid.footage.films import Film
from tfreid.tracking.tracker import Tracker, TrackingOptions

# A BGR frame, uint8 [h, w, 3], and boxes [n, 4], left, top, right and bottom -> embeddings [n, d].
Embed = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Followed(NamedTuple):
    """What became of a film's boxes.

    Attributes:
        people: Boxes with their track, in the order of the frames.
        missing: Number of boxes left out since the film has no frame for them, or a broken one.
        outside: Number of those left out since nothing of them is inside the frame.
        brief: Number of those left out since their tracks are too short.
    """

    people: list[Detection]
    missing: int
    outside: int
    brief: int


def follow_people(film: Film, frames: Mapping[int, list[Detection]], options: TrackingOptions,
                  embed: Embed | None = None, least_frames: int = 1,
                  advance: Callable[[int], object] = lambda _: None) -> Followed:
    """Numbers a film's people, from 1 on in the order in which they are first seen.

    Boxes keep place and size; the part inside the frame is what is looked at. Frames without boxes,
    and those that a folder of images lacks, are time that passes.

    Args:
        film: The film.
        frames: Frame, from 0 -> boxes; tracks that they have are ignored.
        options: How people are numbered.
        embed: Embeds the people of a frame; needed unless `options.distance` is None.
        least_frames: Tracks of fewer boxes are left out.
        advance: Called with 1 after each frame.

    Raises:
        UserError: If no box lies inside the film's frames.
    """
    tracker, seen, outside, last, size = Tracker(options), [], 0, -1, (0, 0)
    for number, image in film.frames(frames.__contains__):
        for _ in range(number - last - 1):
            tracker.update([])
        last, people = number, []
        if image is not None:
            size = image.shape[1::-1]
            people = [one for one in frames[number] if cut(image, one.box, 0.0) is not None]
            outside += len(frames[number]) - len(people)
        looks = people and options.distance is not None
        tracker.update(people, embed(image, _ends(people)) if looks else None)
        seen += people
        advance(1)
    boxes = sum(map(len, frames.values()))
    if not seen:
        frame = f" of {size[0]} x {size[1]} pixels" if outside else ""
        raise UserError(f"none of the {boxes:,} boxes lies inside one of the {last + 1:,} frames"
                        f"{frame} of {film.path}; give the detections of this film, in its size "
                        "(--first-frame, if they count frames from another number).")
    kept = _renumbered([one._replace(track=track) for one, track in zip(seen, tracker.numbers())],
                       least_frames)
    return Followed(kept, boxes - outside - len(seen), outside, len(seen) - len(kept))


def _ends(people: list[Detection]) -> np.ndarray:
    """Returns left, top, right and bottom of boxes, [n, 4]."""
    boxes = np.array([one.box for one in people])
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _renumbered(people: list[Detection], least_frames: int) -> list[Detection]:
    """Leaves out tracks of few boxes and numbers the others from 1, in their order."""
    counts = collections.Counter(one.track for one in people)
    numbers: dict[int, int] = {}
    return [one._replace(track=numbers.setdefault(one.track, len(numbers) + 1))
            for one in people if counts[one.track] >= least_frames]


def mot_text(people: list[Detection]) -> bytes:
    """Returns boxes as MOTChallenge text: frame from 1, track, box, confidence, and three -1."""
    return "".join(
        f"{one.frame + 1},{one.track},{','.join(f'{side:.10g}' for side in one.box)},"
        f"{1 if one.confidence is None else one.confidence:.10g},-1,-1,-1\n"
        for one in people).encode()
