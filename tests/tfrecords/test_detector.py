"""What a detector finds in rendered films: the documented rates and errors, and the same again."""

from __future__ import annotations

import numpy as np
import pytest

from tfrecords.synthetic.detector import detections_of, read_boxes
from tfrecords.synthetic.film import Box
from tfrecords.synthetic.walks import FilmOptions

OPTIONS = FilmOptions(seconds=400, rate=10, height=540, width=960)


def found_of(visibility, options=OPTIONS):
    """Returns the lines of a person of 80 x 200 pixels at (400, 100), float [n, 7]."""
    box = Box(1, 400, 100, 80, 200, visibility)
    text = detections_of({frame: [box] for frame in range(1, options.frames + 1)}, options, 1)
    lines = np.array([line.split(b",") for line in text.splitlines()], float)
    near = np.abs(lines[:, 2:6] - box[1:5]).max(1) < 27
    return lines[near], lines[~near]


@pytest.mark.parametrize("visibility, rate", [(1.0, 0.97), (0.7, 0.97), (0.45, 0.485), (0.2, 0.0)])
def test_the_rate_at_which_people_are_found(visibility, rate):
    found, _ = found_of(visibility)
    assert len(found) / OPTIONS.frames == pytest.approx(rate, abs=0.02)


def test_errors_of_boxes_and_confidences():
    found, false = found_of(0.8)
    centres = found[:, 2:4] + found[:, 4:6] / 2 - [440, 200]
    np.testing.assert_allclose(centres.mean(0), 0, atol=0.3)
    np.testing.assert_allclose(centres.std(0), [0.03 * 80, 0.03 * 200], rtol=0.1)
    np.testing.assert_allclose(found[:, 4:6].std(0), [0.03 * 80, 0.03 * 200], rtol=0.1)
    assert found[:, 6].mean() == pytest.approx(0.5 + 0.45 * 0.8, abs=0.01)
    assert len(false) / OPTIONS.frames == pytest.approx(0.1, abs=0.02)
    assert (false[:, 6] >= 0.3).all() and (false[:, 6] <= 0.6).all()
    ends = false[:, 2:4] + false[:, 4:6]
    assert (false[:, 2:4] >= 0).all() and (ends <= [960 + 1e-9, 540 + 1e-9]).all()
    assert set(found[:, 1]) | set(false[:, 1]) == {-1}


def test_boxes_end_at_the_frame_and_those_outside_are_none():
    options = FilmOptions(seconds=10, rate=1)
    boxes = {frame: [Box(1, -60, 400, 80, 200, 1.0), Box(2, 2000, 0, 80, 200, 1.0)]
             for frame in range(1, 11)}
    lines = np.array([line.split(b",") for line in detections_of(boxes, options, 1).splitlines()],
                     float)
    assert len(lines) >= 8
    assert (lines[:, 2] >= 0).all() and (lines[:, 3] + lines[:, 5] <= 540 + 1e-9).all()


def test_the_same_seed_finds_the_same_and_another_camera_something_else():
    boxes = {1: [Box(1, 400, 100, 80, 200, 1.0)]}
    options = FilmOptions(seconds=10)
    assert detections_of(boxes, options, 1) == detections_of(boxes, options, 1)
    assert detections_of(boxes, options, 1) != detections_of(boxes, options, 2)


def test_boxes_are_read_as_films_write_them():
    assert read_boxes("3,2,-4,5,6,7,1,1,0.250\n3,1,0,0,2,2,1,1,1.000\n") == {
        3: [Box(2, -4, 5, 6, 7, 0.25), Box(1, 0, 0, 2, 2, 1.0)]}
