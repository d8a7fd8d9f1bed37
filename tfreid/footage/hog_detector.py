"""OpenCV's built-in detector of people, for films without detections."""

from __future__ import annotations

import cv2
import numpy as np

from tfrecords.errors import UserError
from tfreid.footage.detections import Detection
from tfreid.footage.detectors import Detector, best_boxes

_STRIDE, _SCALE, _PADDING = (8, 8), 1.05, (8, 8)
# Boxes nearer to the classifier's plane are mostly pieces of people and of the ground.
_LEAST_CONFIDENCE = 0.3
# The detector's window shows a person with a frame around, of these parts of its sides.
_BORDER = np.array([0.15, 0.07])


def make_hog_detector() -> Detector:
    """Returns a detector by histograms of oriented gradients and a linear classifier.

    Dalal and Triggs, "Histograms of oriented gradients for human detection" (CVPR 2005), for
    upright people of at least 100 pixels; it misses many and takes furniture for people. Use a
    better detector where you have one. The confidence is the distance to the classifier's plane.

    Raises:
        UserError: If this OpenCV has no such detector, as from version 5 on.
    """
    if not hasattr(cv2, "HOGDescriptor"):
        raise UserError(f"OpenCV {cv2.__version__} has no detector of people any more; run `pip "
                        "install 'opencv-python-headless<5'`, or give --detections, or an ONNX "
                        "file as --detector.")
    hog = cv2.HOGDescriptor()
    hog.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())

    def detect(image: np.ndarray) -> list[Detection]:
        if image.shape[0] < hog.winSize[1] or image.shape[1] < hog.winSize[0]:
            return []  # OpenCV would crash
        windows, weights = hog.detectMultiScale(
            image, hitThreshold=_LEAST_CONFIDENCE, winStride=_STRIDE, padding=_PADDING,
            scale=_SCALE, groupThreshold=0)
        return [one._replace(box=_without_border(one.box)) for one in best_boxes(
            np.asarray(windows, float).reshape(-1, 4), np.asarray(weights, float).ravel())]

    return detect


def _without_border(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    corner, sides = np.split(np.array(box), 2)
    return (*(corner + _BORDER * sides).tolist(), *(sides - 2 * _BORDER * sides).tolist())
