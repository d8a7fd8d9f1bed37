"""Detectors of people in ONNX files, run by OpenCV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from tfrecords.errors import UserError, shortened
from tfreid.footage import detector_outputs
from tfreid.footage.detections import Detection
from tfreid.footage.detector_outputs import Found
from tfreid.footage.detectors import Detector, best_boxes
from tfreid.footage.onnx_header import read_inputs
from tfreid.footage.pixels import PIXELS

_GREY = 114  # around pictures that do not fill YOLOX's square


class _Input(NamedTuple):
    """What the input of a model looks like."""

    name: str
    size: tuple[int, int]
    channels_last: bool
    is_bytes: bool


class _Network:
    """A model of one image in OpenCV, which gives its outputs by name."""

    def __init__(self, path: str | Path):
        self.path, self.input = path, _read_input(path)
        # OpenCV prints what it also raises; 0 is silent, and version 5 has moved the function.
        (getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)(0)
        try:
            self._net = cv2.dnn.readNetFromONNX(str(path))
            self._names = self._net.getUnconnectedOutLayersNames()
        except cv2.error as error:
            raise _unfit(path, error) from None

    def run(self, image: np.ndarray, pixels: str) -> dict[str, np.ndarray]:
        """Returns name -> output for an image [h, w, 3] of the input's size, BGR bytes."""
        try:
            self._net.setInput(make_batch(
                image, pixels, self.input.channels_last, self.input.is_bytes), self.input.name)
            outputs = self._net.forward(self._names)
        except cv2.error as error:
            raise _unfit(self.path, error) from None
        return dict(zip(self._names, map(np.asarray, outputs)))


def load_onnx_detector(path: str | Path, least_confidence: float, person: int | None = None,
                       pixels: str | None = None) -> Detector:
    """Opens a detector of people in an ONNX file: YOLOX or SSD; see `detector_outputs`.

    Args:
        path: The file.
        least_confidence: Boxes of a lower confidence are left out.
        person: Which class is a person. Defaults to 0 of YOLOX and 1 of SSD, whose class 0 is the
            background.
        pixels: One of `PIXELS`: how the input has colours. Defaults to bgr-255 for YOLOX; for SSD
            to rgb-255 where the input is of bytes or has its channels last, else to rgb-1.

    Raises:
        UserError: If the file is no ONNX model, OpenCV cannot run it, or it is no such detector.
    """
    network = _Network(path)
    size = network.input.size
    outputs = network.run(np.full((*size, 3), _GREY, np.uint8), "bgr-255")
    is_yolox = detector_outputs.is_yolox(outputs, size)
    if not is_yolox and not detector_outputs.is_ssd(outputs):
        raise UserError(f"{path} gives {_described(outputs)}; what can be read is "
                        f"{detector_outputs.READ}: export it so, or give its boxes as "
                        "--detections.")
    if is_yolox:
        look, usual = _look_yolox, "bgr-255"
    else:
        as_bytes = network.input.is_bytes or network.input.channels_last
        look, usual = _look_ssd, "rgb-255" if as_bytes else "rgb-1"
    person = int(not is_yolox) if person is None else person
    count = detector_outputs.class_count(outputs)
    if count is not None and person >= count:
        raise UserError(f"{path} has {count} classes, numbered from 0; --person-class {person} is "
                        "not one of them.")

    def detect(image: np.ndarray) -> list[Detection]:
        limits = np.array([*image.shape[1::-1]] * 2)
        found = look(network, image, pixels or usual, person, least_confidence)
        ends = np.clip(found.ends, 0, limits)
        boxes = np.hstack([ends[:, :2], ends[:, 2:] - ends[:, :2]])
        seen = (boxes[:, 2:] > 0).all(1)
        return best_boxes(boxes[seen], found.scores[seen])

    return detect


def _look_yolox(network: _Network, image: np.ndarray, pixels: str, person: int,
                least: float) -> Found:
    """Shows the image with its proportions, in the upper left."""
    size = network.input.size
    whole, scale = letterbox(image, size)
    found = detector_outputs.read_yolox(network.run(whole, pixels), size, person, least)
    return found._replace(ends=found.ends / scale)


def _look_ssd(network: _Network, image: np.ndarray, pixels: str, person: int,
              least: float) -> Found:
    """Shows the image stretched."""
    size = network.input.size
    found = detector_outputs.read_ssd(
        network.run(cv2.resize(image, size[::-1]), pixels), size, person, least)
    return found._replace(ends=found.ends * np.array([*image.shape[1::-1]] * 2))


def letterbox(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """Scales an image [h, w, 3] into the upper left of a grey one, and returns that and the scale.

    Args:
        image: The image.
        size: Height and width of the grey one.
    """
    scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
    height, width = (max(int(side * scale), 1) for side in image.shape[:2])
    whole = np.full((*size, 3), _GREY, np.uint8)
    whole[:height, :width] = cv2.resize(image, (width, height))
    return whole, scale


def _read_input(path: str | Path) -> _Input:
    inputs = read_inputs(path)
    name, shape, is_bytes = inputs[0]
    places = {one: shape[one] for one in (1, 3) if len(shape) == 4 and shape[one] == 3}
    sides = tuple(side for place, side in enumerate(shape) if place and place not in places)
    if len(inputs) > 1 or len(places) != 1 or shape[0] > 1 or min(sides) < 1:
        what = ", ".join(f"{one.name} {list(one.shape)}" for one in inputs)
        raise UserError(f"{path} takes {shortened(what)} (0: not fixed); a detector takes one "
                        "image [1, 3, height, width] or [1, height, width, 3] of a fixed size: "
                        "export it with one.")
    return _Input(name, sides, 3 in places, is_bytes)


def make_batch(image: np.ndarray, pixels: str, channels_last: bool, is_bytes: bool) -> np.ndarray:
    """Turns an image [h, w, 3], BGR bytes, into what a model takes.

    Args:
        image: The image.
        pixels: One of `PIXELS`.
        channels_last: Whether the model takes [1, h, w, 3] and not [1, 3, h, w].
        is_bytes: Whether it takes uint8, of which nothing is subtracted, and not float32.
    """
    to_rgb, subtracted, divisors = PIXELS[pixels]
    image = image[:, :, ::-1] if to_rgb else image
    if not is_bytes:
        image = (image.astype(np.float32) - np.float32(subtracted)) / np.float32(divisors)
    return np.ascontiguousarray(image if channels_last else image.transpose(2, 0, 1))[None]


def _described(outputs: Mapping[str, np.ndarray]) -> str:
    return shortened(", ".join(f"{name} {list(output.shape)}" for name, output in outputs.items()),
                     200)


def _unfit(path: str | Path, error: cv2.error) -> UserError:
    reason = shortened(" ".join(str(error).split()), 250)
    return UserError(f"OpenCV {cv2.__version__} cannot run {path} ({reason}); simplify the model, "
                     "try another version of OpenCV, or give its boxes as --detections.")
