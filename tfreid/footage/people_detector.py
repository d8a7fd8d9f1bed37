"""OpenCV's built-in detector of people, for films without detections."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from tfrecords.errors import UserError
from tfreid.footage.detections import Detection
from tfreid.footage.films import Film

_STRIDE, _SCALE, _PADDING = (8, 8), 1.05, (8, 8)
# Boxes nearer to the classifier's plane are mostly pieces of people and of the ground.
_LEAST_CONFIDENCE = 0.3
_OVERLAP = 0.5
# The detector's window shows a person with a frame around, of these parts of its sides.
_BORDER = (0.15, 0.07)


def detect_people(film: Film, every: int, advance: Callable[[int], object] = lambda _: None,
                  ) -> dict[int, list[Detection]]:
    """Finds people in every so many frames: frame -> detections without tracks.

    Histograms of oriented gradients and a linear classifier (Dalal and Triggs, CVPR 2005), for
    upright people of at least 100 pixels; it misses many and takes furniture for people. Use a
    better detector's file where you have one. The confidence is the distance to the classifier's
    plane.

    Raises:
        UserError: If this OpenCV has no such detector, as from version 5 on.
    """
    if not hasattr(cv2, "HOGDescriptor"):
        raise UserError(f"OpenCV {cv2.__version__} has no detector of people any more; run `pip "
                        "install 'opencv-python-headless<5'`, or give --detections.")
    hog = cv2.HOGDescriptor()
    hog.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())
    found: dict[int, list[Detection]] = {}
    for number, image in film.frames(lambda number: number % every == 0):
        people = [] if image is None else _people(hog, image)
        if people:
            found[number] = [one._replace(frame=number) for one in people]
        advance(1)
    return found


def _people(hog: cv2.HOGDescriptor, image: np.ndarray) -> list[Detection]:
    if image.shape[0] < hog.winSize[1] or image.shape[1] < hog.winSize[0]:
        return []  # OpenCV would crash
    boxes, weights = hog.detectMultiScale(
        image, hitThreshold=_LEAST_CONFIDENCE, winStride=_STRIDE, padding=_PADDING, scale=_SCALE,
        groupThreshold=0)
    if not len(boxes):
        return []
    weights = np.asarray(weights, float).ravel()
    kept = np.asarray(cv2.dnn.NMSBoxes(
        np.asarray(boxes).tolist(), weights.tolist(), 0.0, _OVERLAP), int).ravel()
    return [Detection(0, _without_border(boxes[place]), None, float(weights[place]))
            for place in kept]


def _without_border(box) -> tuple[float, float, float, float]:
    left, top, width, height = map(float, box)
    beside, above = _BORDER[0] * width, _BORDER[1] * height
    return left + beside, top + above, width - 2 * beside, height - 2 * above
