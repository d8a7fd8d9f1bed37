"""Following people through films: what is counted, numbered, left out and refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.footage.detections import Detection, read_detections
from tfreid.footage.films import Film
from tfreid.tracking.follow import follow_people, mot_text
from tfreid.tracking.tracker import TrackingOptions
from tfreid.visualization.track_film import draw_people

pytest.importorskip("norfair")

WITHOUT = TrackingOptions(None)


@pytest.fixture
def film(tmp_path):
    """A folder of 9 frames of 200 x 120 pixels, without the fifth; each has a red figure."""
    for number in [1, 2, 3, 4, 6, 7, 8, 9, 10]:
        frame = np.zeros((120, 200, 3), np.uint8)
        frame[20:100, 40:80] = 0, 0, 255  # BGR
        cv2.imwrite(str(tmp_path / f"{number:06}.png"), frame)
    return Film(tmp_path)


def boxes(*lines):
    frames = {}
    for frame, *box in lines:
        frames.setdefault(frame, []).append(Detection(frame, tuple(map(float, box)), None, 0.5))
    return frames


def test_boxes_keep_their_place_and_get_numbers(film):
    frames = boxes(*((frame, 40.5, 20, 40, 80) for frame in range(10) if frame != 4))
    found = follow_people(film, frames, WITHOUT)
    assert [one.frame for one in found.people] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert {one.track for one in found.people} == {1}
    assert found[1:] == (0, 0, 0)
    assert mot_text(found.people[:1]) == b"1,1,40.5,20,40,80,0.5,-1,-1,-1\n"


def test_what_is_left_out_is_counted(film):
    frames = boxes(*((frame, 40, 20, 40, 80) for frame in range(10)),  # frame 4 is missing
                   (2, 500, 20, 40, 80), (3, -90, 0, 40, 80),  # outside
                   (99, 40, 20, 40, 80),  # behind the end
                   (6, 150, 20, 40, 80))  # one box is no track
    found = follow_people(film, frames, WITHOUT, least_frames=2)
    assert (len(found.people), *found[1:]) == (9, 2, 2, 1)


def test_embeddings_are_of_the_boxes_of_bgr_frames(film):
    asked = []

    def embed(frame, boxes):
        assert frame[60, 60].tolist() == [0, 0, 255]
        asked.append(boxes.tolist())
        return np.ones([len(boxes), 2])

    frames = boxes((0, -20, 20, 100, 80), (1, 40.5, -20, 40, 200), (1, 500, 20, 40, 80))
    follow_people(film, frames, TrackingOptions(0.1), embed)
    assert asked == [[[-20, 20, 80, 100]], [[40.5, -20, 80.5, 180]]]


def test_detections_of_another_size_are_refused(film):
    with pytest.raises(UserError, match=r"none of the 2 boxes .* 10 frames of 200 x 120 pixels .*"
                       r"--first-frame"):
        follow_people(film, boxes((0, 800, 500, 40, 80), (1, 810, 500, 40, 80)), WITHOUT)


def test_detections_of_other_frames_are_refused(film):
    with pytest.raises(UserError, match="none of the 1 boxes lies inside one of the 10 frames of"):
        follow_people(film, boxes((500, 40, 20, 40, 80)), WITHOUT)


def test_output_is_read_back(film, tmp_path):
    frames = boxes(*((frame, 40.123456, 20, 40, 80) for frame in range(4)))
    people = follow_people(film, frames, WITHOUT).people
    (tmp_path / "tracks.txt").write_bytes(mot_text(people))
    assert [one for found in read_detections(tmp_path / "tracks.txt").values()
            for one in found] == people


def test_numbers_are_drawn_beside_the_boxes():
    image = np.zeros((120, 200, 3), np.uint8)
    drawn = draw_people(image, [Detection(0, (40.0, 30.0, 40.0, 80.0), 7)])
    assert not image.any()
    assert drawn[70, 40].any() and drawn[70, 80].any() and drawn[110, 60].any()
    assert not drawn[70, 60].any() and not drawn[70, 150].any()
    assert (draw_people(image, [Detection(0, (40.0, 30.0, 40.0, 80.0), 8)])[70, 40]
            != drawn[70, 40]).any()
