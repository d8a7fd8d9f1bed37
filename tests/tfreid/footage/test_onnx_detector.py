"""Detectors in ONNX files whose outputs are known, in OpenCV."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.onnx_files import write_model
from tfrecords.errors import UserError
from tfreid.footage.detections import Detection
from tfreid.footage.detectors import best_boxes
from tfreid.footage.onnx_detector import letterbox, load_onnx_detector, make_batch

IMAGE = np.full((48, 96, 3), 51, np.uint8)  # in an input of 32 x 32, its scale is 1/3


def yolox():
    """21 cells, of which two overlap on one person and one has another, who leaves the image."""
    rows = np.zeros((1, 21, 7))
    rows[0, :, :2] = 0.5
    rows[0, 5] = [0.5, 0.5, math.log(1.5), math.log(2), 0.5, 1, 0]  # cell (1, 1) of stride 8
    rows[0, 6] = [-0.4, 0.5, math.log(1.5), math.log(2), 0.9, 1, 0]  # cell (2, 1) of stride 8
    rows[0, 19] = [1, 0, 0, 0, 0.8, 1, 0]  # cell (1, 1) of stride 16
    return rows


def test_yolox_sees_the_image_in_the_upper_left(tmp_path):
    path = write_model(tmp_path / "a.onnx", {"output": (yolox(), 0)}, (1, 3, 32, 32))
    first, second = load_onnx_detector(path, 0.3)(IMAGE)
    # Centre (1.6, 1.5) * 8, sides (1.5, 2) * 8, all three times: the better of two that overlap.
    np.testing.assert_allclose(first.box, (20.4, 12, 36, 48 - 12), atol=1e-4)
    assert first.confidence == pytest.approx(0.9) and first.track is None
    # Centre (2, 1) * 16, sides 16: clipped at the right and at the lower end.
    np.testing.assert_allclose(second.box, (72, 24, 24, 24), atol=1e-4)
    assert len(load_onnx_detector(path, 0.85)(IMAGE)) == 1
    assert load_onnx_detector(path, 0.3, person=1)(IMAGE) == []


@pytest.mark.parametrize(("outputs", "shape"), [
    ({"detections": ([[[[0, 1, 0.9, 0.25, 0.5, 0.5, 1], [0, 2, 0.9, 0, 0, 1, 1]]]], 0)},
     (1, 3, 16, 16)),
    ({"boxes": ([[[4, 8, 8, 16], [0, 0, 16, 16]]], 0), "scores": ([[0.9, 0.9]], 0),
      "labels": ([[1, 2]], 0)}, (0, 3, 16, 16)),
    ({"boxes": ([[[0.25, 0.5, 0.5, 1], [0, 0, 1, 1]]], 0),
      "scores": ([[[0.1, 0.9, 0], [0.1, 0, 0.9]]], 0)}, (1, 16, 16, 3)),
    ({"detection_boxes": ([[[0.5, 0.25, 1, 0.5], [0, 0, 1, 1]]], 0),
      "detection_scores": ([[0.9, 0.9]], 0), "detection_classes": ([[1, 2]], 0)}, (1, 16, 16, 3)),
])
def test_ssd_sees_the_image_stretched(tmp_path, outputs, shape):
    path = write_model(tmp_path / "a.onnx", outputs, shape, is_bytes=shape[3] == 3)
    found, = load_onnx_detector(path, 0.3)(IMAGE)
    np.testing.assert_allclose(found.box, (24, 24, 24, 24), atol=1e-4)
    assert found.confidence == pytest.approx(0.9)


@pytest.mark.parametrize(("shape", "is_bytes", "pixels", "mean"), [
    ((1, 3, 16, 16), False, None, 0.2), ((1, 16, 16, 3), False, None, 51),
    ((1, 16, 16, 3), True, None, 51), ((1, 3, 16, 16), False, "rgb-signed", -0.6)])
def test_colours_arrive_as_the_model_takes_them(tmp_path, shape, is_bytes, pixels, mean):
    outputs = {"boxes": ([[[0, 0, 1, 1]]], 0), "scores": ([[0.5]], 0.001), "labels": ([[1]], 0)}
    path = write_model(tmp_path / "a.onnx", outputs, shape, is_bytes)
    found, = load_onnx_detector(path, 0.3, pixels=pixels)(IMAGE)
    assert found.confidence == pytest.approx(0.5 + 0.001 * mean, abs=1e-6)


def test_colours():
    image = np.array([[[255, 0, 51]]], np.uint8)  # blue, green, red
    np.testing.assert_array_equal(make_batch(image, "bgr-255", False, False),
                                  [[[[255]], [[0]], [[51]]]])
    np.testing.assert_allclose(make_batch(image, "rgb-1", True, False), [[[[0.2, 0, 1]]]])
    np.testing.assert_allclose(  # mean and deviation of ImageNet
        make_batch(image, "rgb-imagenet", True, False)[0, 0, 0],
        [(0.2 - 0.485) / 0.229, -0.456 / 0.224, (1 - 0.406) / 0.225], rtol=1e-5)
    found = make_batch(image, "rgb-255", True, True)
    assert found.dtype == np.uint8 and found.tolist() == [[[[51, 0, 255]]]]


def test_letterbox():
    whole, scale = letterbox(np.full((20, 10, 3), 7, np.uint8), (30, 40))
    assert scale == 1.5 and whole.shape == (30, 40, 3)
    assert (whole[:, :15] == 7).all() and (whole[:, 15:] == 114).all()
    whole, scale = letterbox(np.full((1, 4000, 3), 7, np.uint8), (32, 32))
    assert (whole[:1] == 7).all() and (whole[1:] == 114).all()


def test_best_boxes():
    # The second overlaps the first by 80 of 120, the third by 50 of 150.
    boxes = np.array([[0, 0, 10, 10], [2, 0, 10, 10], [5, 0, 10, 10]], float)
    assert best_boxes(boxes, np.array([0.5, 0.4, 0.9])) == [
        Detection(0, (5, 0, 10, 10), None, 0.9), Detection(0, (0, 0, 10, 10), None, 0.5)]
    assert best_boxes(boxes[:0], np.zeros(0)) == []


@pytest.mark.parametrize(("outputs", "shape", "inputs", "words"), [
    ({"logits": ([[1, 2]], 0)}, (1, 3, 32, 32), 1,
     r"gives logits \[1, 2\]; what can be read is YOLOX"),
    ({"output": (yolox(), 0)}, (1, 3, 0, 0), 1, r"takes image \[1, 3, 0, 0\] \(0: not fixed\)"),
    ({"output": (yolox(), 0)}, (2, 3, 32, 32), 1, r"takes image \[2, 3, 32, 32\]"),
    ({"output": (yolox(), 0)}, (1, 1, 32, 32), 1, r"takes image \[1, 1, 32, 32\]"),
    ({"output": (yolox(), 0)}, (32, 32, 3), 1, r"takes image \[32, 32, 3\]"),
    ({"output": (yolox(), 0)}, (1, 3, 32, 32), 2, r"takes image .*, second "),
    ({"output": (yolox(), 0)}, (1, 3, 32, 32), 1, "has 2 classes"),
])
def test_unsuitable_models_get_one_sentence(tmp_path, outputs, shape, inputs, words):
    path = write_model(tmp_path / "a.onnx", outputs, shape, inputs=inputs)
    with pytest.raises(UserError, match=words):
        load_onnx_detector(path, 0.3, person=2)


def test_a_model_that_opencv_cannot_run_gets_one_sentence(tmp_path):
    path = write_model(tmp_path / "a.onnx", {"output": (yolox(), 0)}, (1, 3, 32, 32))
    path.write_bytes(path.read_bytes().replace(b"ReduceMean", b"NoSuchNode"))
    with pytest.raises(UserError, match=r"OpenCV .* cannot run .*a.onnx \(.*NoSuchNode"):
        load_onnx_detector(path, 0.3)
