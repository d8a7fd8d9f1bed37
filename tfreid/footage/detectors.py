"""Detectors of people are functions of an image; here they are run over a film."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from tfreid.footage.detections import Detection
from tfreid.footage.films import Film

# An image [h, w, 3], BGR -> the people in it: frame 0, without tracks.
Detector = Callable[[np.ndarray], "list[Detection]"]
_OVERLAP = 0.5


def detect_people(film: Film, detector: Detector, every: int,
                  advance: Callable[[int], object] = lambda _: None) -> dict[int, list[Detection]]:
    """Finds people in every so many frames.

    Args:
        film: The film.
        detector: Finds people in one image.
        every: Of so many frames only the first is looked at.
        advance: Called with 1 after each frame.

    Returns:
        Frame, from 0 -> its detections without tracks; frames without people are left out.
    """
    found: dict[int, list[Detection]] = {}
    for number, image in film.frames(lambda number: number % every == 0):
        people = [] if image is None else detector(image)
        if people:
            found[number] = [one._replace(frame=number) for one in people]
        advance(1)
    return found


def best_boxes(boxes: np.ndarray, scores: np.ndarray) -> list[Detection]:
    """Leaves out each box that a better one overlaps (non-maximum suppression).

    Args:
        boxes: Left, top, width and height [n, 4] in pixels.
        scores: Confidences [n], above 0.

    Returns:
        The boxes of which none overlaps a better one by more than half (intersection over union),
        the best first.
    """
    if not len(boxes):
        return []
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), 0.0, _OVERLAP)
    return [Detection(0, tuple(boxes[place].tolist()), None, float(scores[place]))
            for place in np.asarray(kept, int).ravel()]
