"""Rendered films: who walks where and when, and whether boxes and visibility are true."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfrecords.synthetic.dataset import MOST_CAMERAS, MOST_PEOPLE, SyntheticOptions, _check_options
from tfrecords.synthetic.film import film_frames
from tfrecords.synthetic.identity import identity_of
from tfrecords.synthetic.walks import FilmOptions, Walk, on_frame, plan_walks

OPTIONS = FilmOptions(people=6, cameras=3, seconds=80, rate=2, height=180, width=320, seed=5)
# Crosses from left to right, all of it as tall as 0.4 frames, in 4 seconds.
NEAR = Walk(1, 1, (-2.6, 3.85), (2.6, 3.85), 1.3, 0.35, 0.0, 0.05, (0.3, 0.3))
FAR = dataclasses.replace(NEAR, person=2, first=(3.5, 5.5), last=(-3.5, 5.5),
                          speed=1.75)
SHORT = dataclasses.replace(OPTIONS, seconds=4)


@pytest.fixture(scope="module")
def crossing():
    """Frames and boxes of two people who meet in the middle."""
    return list(film_frames(SHORT, 1, [NEAR, FAR]))


def test_everyone_crosses_every_view_and_is_in_one_place_at_a_time():
    plan = plan_walks(OPTIONS)
    assert list(plan) == [1, 2, 3]
    for camera, walks in plan.items():
        assert {walk.person for walk in walks} == set(range(1, 7))
        assert {walk.camera for walk in walks} == {camera}
        assert walks == sorted(walks, key=lambda walk: walk.start)
    everything = sorted(itertools.chain(*plan.values()), key=lambda walk: walk.start)
    assert len(everything) > 6 * 3  # some come twice
    for person in range(1, 7):
        own = [walk for walk in everything if walk.person == person]
        assert own[0].start >= 0 and own[-1].start + own[-1].seconds <= OPTIONS.seconds
        for before, after in zip(own, own[1:]):
            pause = 4.0 if before.camera != after.camera else 2.0
            assert after.start - before.start - before.seconds >= pause - 1e-9


def test_a_walk_begins_and_ends_outside_the_view():
    for walk in itertools.chain(*plan_walks(OPTIONS).values()):
        for place in (walk.first, walk.last):
            right, tall = on_frame(place)
            assert abs(right) > OPTIONS.width / OPTIONS.height / 2 + 0.3 * tall
            assert 0.22 <= tall <= 0.48
        assert walk.first[0] * walk.last[0] < 0


def test_the_pose_turns_to_where_the_walk_goes():
    assert NEAR.pose(2.0, 0.0).yaw == pytest.approx(np.pi / 2)
    assert FAR.pose(2.0, 0.0).yaw == pytest.approx(-np.pi / 2)
    towards = dataclasses.replace(NEAR, first=(0.0, 8.0), last=(0.0, 4.0))
    assert towards.pose(1.0, 0.0).yaw == pytest.approx(0.0)
    # Whoever passes on the right side is seen from the left of their way.
    assert NEAR.pose(3.0, 0.0).yaw == pytest.approx(np.pi / 2 + np.arctan2(1.3, 3.85))
    assert NEAR.place(-0.1) is None and NEAR.place(4.1) is None


def test_no_dataset_has_the_people_or_the_cameras():
    largest = SyntheticOptions(MOST_PEOPLE, MOST_PEOPLE, MOST_CAMERAS)
    _check_options(largest, 1)
    with pytest.raises(UserError):
        _check_options(dataclasses.replace(largest, train_identities=MOST_PEOPLE + 1), 1)
    with pytest.raises(UserError):
        _check_options(dataclasses.replace(largest, cameras=MOST_CAMERAS + 1), 1)
    assert identity_of(0, 2 * MOST_PEOPLE + 1) != identity_of(0, 1)


def test_the_same_options_give_the_same_frames(crossing):
    again = list(film_frames(SHORT, 1, [NEAR, FAR]))
    for (picture, boxes), (other, others) in zip(crossing, again):
        np.testing.assert_array_equal(picture, other)
        assert boxes == others
    assert crossing[0][0].shape == (180, 320, 3) and crossing[0][0].dtype == np.uint8
    other = next(film_frames(dataclasses.replace(SHORT, seed=6), 1, [NEAR, FAR]))[0]
    assert not np.array_equal(crossing[0][0], other)


def test_people_are_where_their_boxes_are(crossing):
    empty = [picture for picture, _ in film_frames(SHORT, 1, [])]
    for (picture, boxes), without in zip(crossing, empty):
        changed = np.abs(picture.astype(int) - without).max(axis=2) > 60
        inside = np.zeros_like(changed)
        for box in boxes:
            rows = slice(max(box.top, 0), box.top + box.height)
            columns = slice(max(box.left, 0), box.left + box.width)
            inside[rows, columns] = True
            assert changed[rows, columns].mean() > 0.05
        # Beside the boxes are shadows, blurred edges, and who is mostly outside the frame.
        assert changed[~inside].mean() < 0.01
    assert sum(len(boxes) for _, boxes in crossing) > 6


def test_the_nearer_person_hides_the_farther_one(crossing):
    middle = {box.track: box for box in next(
        boxes for picture, boxes in list(film_frames(SHORT, 1, [NEAR]))[4:5])}
    assert middle[1].visibility == 1.0
    boxes = {box.track: box for box in crossing[4][1]}  # both are in the middle
    assert boxes[1] == middle[1]
    assert 2 not in boxes or boxes[2].visibility < 0.8
    assert boxes[1].height == pytest.approx(0.4 * 180, rel=0.1)
    assert boxes[1].left + boxes[1].width / 2 == pytest.approx(160, abs=12)
    seen = {box.track: box for _, boxes in crossing for box in boxes}
    assert seen[2].height < seen[1].height


def test_feet_of_nearer_people_are_lower_in_the_frame():
    boxes = [next(box for box in boxes) for _, boxes in
             (list(film_frames(SHORT, 1, [walk]))[4] for walk in (NEAR, FAR))]
    near, far = (box.top + box.height for box in boxes)
    assert 180 * 190 / 512 < far < near < 180


@pytest.mark.parametrize(("changed", "words"), [
    ({"seconds": 12}, "12 seconds are too short .* 3 cameras; give --seconds [1-9][0-9]"),
    ({"width": 600}, "600 x 180 pixels show no scene; give a --width"),
    ({"width": 100}, "100 x 180"),
    ({"width": 321}, "even --height and --width, not 321 x 180"),
])
def test_impossible_films_are_refused(changed, words):
    with pytest.raises(UserError, match=words):
        plan_walks(dataclasses.replace(OPTIONS, **changed))
