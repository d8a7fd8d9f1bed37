"""The tracker: places, people who come back, and who cannot be one person."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.footage.detections import Detection
from tfreid.tracking.tracker import Tracker, TrackingOptions

RED, BLUE = np.eye(4)[0], np.eye(4)[1]


def person(left, frame=0):
    return Detection(frame, (left, 50.0, 40.0, 100.0))


def test_without_norfair_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "norfair", None)
    with pytest.raises(UserError, match=r"pip install 'tfreid\[tracking\]'"):
        Tracker(TrackingOptions(None))


class TestTracks:
    """Needs Norfair, which the test requirements have."""

    @pytest.fixture(autouse=True)
    def _norfair(self):
        pytest.importorskip("norfair")

    def followed(self, frames, distance, **options):
        """Returns the numbers of boxes: frames are lists of (left, feature)."""
        tracker = Tracker(TrackingOptions(distance, **options))
        for frame in frames:
            tracker.update([person(left) for left, _ in frame],
                           np.array([feature for _, feature in frame]) if frame else None)
        return tracker.numbers()

    def test_two_people_walk_past_each_other(self):
        frames = [[(10.0 + 6 * step, RED), (400.0 - 6 * step, BLUE)] for step in range(20)]
        first, second = (self.followed(frames, None)[place::2] for place in (0, 1))
        assert len(set(first)) == len(set(second)) == 1 and first[0] != second[0]

    @pytest.mark.parametrize("feature, distance, is_same", [
        (RED, 0.2, True), (BLUE, 0.2, False), (RED, None, False),
        (RED + 0.5 * BLUE, 0.2, True), (RED + 0.5 * BLUE, 0.1, False)])
    def test_who_comes_back_elsewhere_is_known_by_appearance(self, feature, distance, is_same):
        """The cosine of RED and RED + BLUE / 2 is 2 / sqrt(5), their distance 0.106."""
        frames = [[(10.0, RED)]] * 5 + [[]] * 50 + [[(500.0, feature)]] * 5
        numbers = self.followed(frames, distance)
        assert len(set(numbers[:5])) == len(set(numbers[5:])) == 1
        assert (numbers[0] == numbers[-1]) == is_same

    @pytest.mark.parametrize("seen, missing, is_same", [(3, 3, True), (3, 4, False),
                                                        (30, 10, True), (30, 11, False)])
    def test_the_longest_gap_is_no_longer_than_the_person_was_seen(self, seen, missing, is_same):
        frames = [[(10.0, RED)]] * seen + [[]] * missing + [[(10.0, RED)]] * 2
        assert len(set(self.followed(frames, None, longest_gap=10))) == (1 if is_same else 2)

    def test_memory_ends(self):
        frames = [[(10.0, RED)]] * 5 + [[]] * 50 + [[(500.0, RED)]] * 5
        assert len(set(self.followed(frames, 0.2, longest_gap=5, memory=20))) == 2

    def test_the_nearest_appearance_gets_the_number(self):
        frames = [[(10.0, RED), (300.0, RED + 0.4 * BLUE)]] * 5 + [[]] * 50 + [
            [(600.0, RED + 0.3 * BLUE)]] * 5
        numbers = self.followed(frames, 0.2)
        assert numbers[-1] == numbers[1] != numbers[0]

    def test_people_of_one_frame_are_never_one_person(self):
        """A twin appears while the other is seen last: their tracks overlap by one frame."""
        frames = [[(10.0, RED)]] * 5 + [[(10.0, RED), (500.0, RED)]] + [[(500.0, RED)]] * 5
        numbers = self.followed(frames, 0.2)
        assert len(set(numbers[:6])) == 1
        assert len(set(numbers[6:])) == 1 and numbers[-1] != numbers[0]

    def test_a_missing_feature_finds_nobody(self):
        frames = [[(10.0, RED)]] * 5 + [[]] * 50 + [[(500.0, np.full(4, np.nan))]] * 5
        assert len(set(self.followed(frames, 0.2))) == 2

    def test_the_same_boxes_get_the_same_numbers(self):
        rng = np.random.default_rng(0)
        frames = [[(left, RED) for left in rng.uniform(0, 900, rng.integers(0, 6))]
                  for _ in range(40)]
        assert self.followed(frames, 0.2) == self.followed(frames, 0.2)
