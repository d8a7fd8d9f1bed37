"""Boxes from the outputs of YOLOX and SSD, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tfreid.footage import detector_outputs

SIZE = 32, 64  # of the input: 4 x 8 cells of stride 8, 2 x 4 of 16, 1 x 2 of 32


def yolox(rows, classes=2):
    """An output of 42 cells with nobody in it but for some rows, given by their number."""
    output = np.zeros((1, 42, 5 + classes), np.float32)
    output[0, :, :2] = 0.5
    for number, row in rows.items():
        output[0, number] = row
    return {"output": output}


def test_yolox_of_the_grid():
    # Row 13 is the cell (5, 1) of stride 8, row 38 the cell (2, 1) of stride 16, row 41 the cell
    # (1, 0) of stride 32.
    outputs = yolox({13: [0.25, 0.5, math.log(2), math.log(3), 0.5, 0.8, 0.1],
                     38: [0.5, 0, 0, 0, 0.9, 0.9, 0.1], 41: [0, 0.5, 0, 0, 0.9, 0.1, 0.9]})
    found = detector_outputs.read_yolox(outputs, SIZE, 0, 0.3)
    # Centre (5.25, 1.5) * 8 and sides (2, 3) * 8; centre (2.5, 1) * 16 and sides 16.
    np.testing.assert_allclose(found.ends, [[34, 0, 50, 24], [32, 8, 48, 24]], atol=1e-5)
    np.testing.assert_allclose(found.scores, [0.4, 0.81], rtol=1e-6)
    found = detector_outputs.read_yolox(outputs, SIZE, 1, 0.3)
    np.testing.assert_allclose(found.ends, [[16, 0, 48, 32]], atol=1e-5)


def test_yolox_decoded():
    outputs = yolox({13: [42, 12, 16, 24, 0.5, 0.8, 0.1]})
    outputs["output"][0, :, :2] += 30  # centres are all over the image
    found = detector_outputs.read_yolox(outputs, SIZE, 0, 0.3)
    np.testing.assert_allclose(found.ends, [[64, 30, 80, 54]])


def test_a_person_of_infinite_size_or_unknown_confidence_is_left_out():
    outputs = yolox({0: [np.nan, 0, 0, 0, 1, 1, 0], 1: [0, 0, 0, 0, np.nan, 1, 0],
                     2: [0, 0, np.inf, 0, 1, 1, 0]})
    found = detector_outputs.read_yolox(outputs, SIZE, 0, 0.3)
    assert len(found.ends) == 1 and np.isfinite(found.ends).all()


def test_is_yolox():
    assert detector_outputs.is_yolox(yolox({}), SIZE)
    assert not detector_outputs.is_yolox(yolox({}), (64, 64))
    assert not detector_outputs.is_yolox(yolox({}, classes=0), SIZE)
    assert not detector_outputs.is_yolox({**yolox({}), "other": np.zeros(3)}, SIZE)


# Two people, a car of the same confidence, and a person of a low one, as each export has them.
PARTS = np.array([[0.25, 0.5, 0.5, 1], [0, 0, 0.125, 0.25], [0, 0, 1, 1], [0, 0, 0.5, 0.5]])
SCORES, LABELS = np.array([0.9, 0.5, 0.9, 0.2]), np.array([1, 1, 3, 1])
PER_CLASS = np.array([[0.1, 0.9, 0, 0], [0.5, 0.5, 0, 0], [0, 0.1, 0, 0.9], [0.8, 0.2, 0, 0]])
ROWS = np.column_stack([0 * SCORES, LABELS, SCORES, PARTS])


@pytest.mark.parametrize("outputs", [
    {"detections": ROWS[None, None]},
    {"detections": np.vstack([ROWS, [-1, 1, 0.9, 0, 0, 1, 1]])[None, None]},
    {"boxes": PARTS[None], "scores": SCORES[None], "labels": LABELS[None]},
    {"boxes": PARTS * [64, 32, 64, 32], "labels": LABELS[:, None], "scores": SCORES[:, None]},
    {"scores": PER_CLASS[None], "boxes": PARTS[None]},
    {"model/box_locations:0": PARTS[None], "model/box_scores:0": PER_CLASS[None]},
    {"num_detections": np.array([4.0]), "detection_boxes": PARTS[None][..., [1, 0, 3, 2]],
     "detection_scores": SCORES[None], "detection_classes": LABELS[None],
     "raw_detection_boxes": np.ones((1, 9, 4)), "raw_detection_scores": np.ones((1, 9, 4)),
     "detection_multiclass_scores": PER_CLASS[None]},
])
def test_ssd(outputs):
    assert detector_outputs.is_ssd(outputs) and not detector_outputs.is_yolox(outputs, SIZE)
    found = detector_outputs.read_ssd(outputs, SIZE, 1, 0.3)
    np.testing.assert_allclose(found.ends, PARTS[:2])
    np.testing.assert_allclose(found.scores, SCORES[:2])
    nobody = detector_outputs.read_ssd(outputs, SIZE, 2, 0.3)
    assert nobody.ends.shape == (0, 4)


@pytest.mark.parametrize("outputs", [
    {"boxes": PARTS[None]},
    {"boxes": PARTS[None], "scores": SCORES[None, :3], "labels": LABELS[None]},
    {"boxes": PARTS[None], "scores": SCORES[None]},
    {"boxes": ROWS[None], "scores": SCORES[None], "labels": LABELS[None]},
    {"detections": ROWS[None]},
    {"logits": np.zeros((1, 1000))},
])
def test_what_is_not_ssd(outputs):
    assert not detector_outputs.is_ssd(outputs)
    assert not detector_outputs.is_yolox(outputs, SIZE)


def test_classes_are_counted_where_each_has_a_column():
    assert detector_outputs.class_count(yolox({}, classes=80)) == 80
    assert detector_outputs.class_count({"boxes": PARTS[None], "scores": PER_CLASS[None]}) == 4
    assert detector_outputs.class_count({"detections": ROWS[None, None]}) is None
