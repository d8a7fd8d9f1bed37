"""Identities of tracks: clusters, constraints of time, people known before, numbers."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.gallery import identify as module
from tfreid.gallery.identify import Tracks, identify


def on_line(places, cameras="", times=None, people=()):
    """Tracks whose distances are those of numbers, by cameras a, b, ..., one after the other."""
    count = len(places)
    first = np.arange(count) * 10.0 if times is None else np.array([time[0] for time in times])
    last = first + 5.0 if times is None else np.array([time[1] for time in times])
    return Tracks(np.array(places, float)[:, None], np.array(list(cameras or "a" * count)), first,
                  last, np.array(list(people) or [""] * count, str))


def along(first, second):
    return np.abs(first - second.T)


def numbers(tracks, threshold=1.0, **options):
    return identify(tracks, threshold, distances=along, **options).tolist()


def exhaustive(distances, apart, threshold):
    """Complete linkage as it is defined: joins the nearest pair of clusters, one after another."""
    clusters = [{place} for place in range(len(distances))]
    while True:
        found = [(max(distances[a, b] for a in one for b in other), place, later)
                 for (place, one), (later, other) in itertools.combinations(enumerate(clusters), 2)
                 if not any(apart[a, b] for a in one for b in other)]
        if not found or min(found)[0] > threshold:
            return {frozenset(cluster) for cluster in clusters}
        _, place, later = min(found)
        clusters[place] |= clusters.pop(later)


def test_near_tracks_are_one_person_numbered_as_they_are_first_seen():
    tracks = on_line([5.0, 0.0, 5.4, 0.3, 9.0], "ababc")
    assert numbers(tracks) == ["1", "2", "1", "2", "3"]
    later = tracks._replace(first=np.array([50.0, 0, 60, 10, 20]),
                            last=np.array([55.0, 5, 65, 15, 25]))
    assert numbers(later) == ["3", "1", "3", "1", "2"]


def test_the_threshold_is_the_largest_distance_of_tracks_of_a_person():
    assert numbers(on_line([0.0, 1.0])) == ["1", "1"]
    assert numbers(on_line([0.0, 1.001])) == ["1", "2"]
    # A chain: 0 and 0.8 are joined first, and 1.7 is too far from 0.
    assert numbers(on_line([0.0, 0.8, 1.7])) == ["1", "1", "2"]


def test_tracks_that_one_camera_sees_at_once_are_two_people():
    at_once, after = [(0, 5), (5, 9)], [(0, 5), (5.1, 9)]
    assert numbers(on_line([0.0, 0.1], "aa", at_once)) == ["1", "2"]
    assert numbers(on_line([0.0, 0.1], "aa", after)) == ["1", "1"]
    assert numbers(on_line([0.0, 0.1], "ab", at_once)) == ["1", "1"]


def test_a_track_that_is_joined_keeps_others_apart():
    # The third is nearest to the first; the second, apart from the third, cannot follow.
    tracks = on_line([0.0, 0.3, 0.1], "baa", [(20, 25), (0, 5), (4, 9)])
    assert numbers(tracks) == ["2", "1", "2"]


def test_the_least_time_between_cameras():
    tracks = on_line([0.0, 0.1, 0.2], "aba", [(0, 5), (8, 12), (12.5, 20)])
    assert numbers(tracks) == ["1", "1", "1"]
    assert numbers(tracks, travel=3.0) == ["1", "1", "2"]
    # Between tracks of one camera no time is needed.
    assert numbers(tracks, travel=4.0) == ["1", "2", "1"]


def test_unknown_times_rule_nothing_out():
    tracks = on_line([0.0, 0.1, 0.2], "aab", [(np.nan, np.nan), (0, 5), (1, 2)])
    assert numbers(tracks, travel=2.0) == ["1", "1", "2"]


def test_known_people_keep_their_names_and_are_never_joined():
    tracks = on_line([0.0, 3.0, 0.1, 1.6, 0.05, 9.0], "abcdef",
                     people=["7", "7", "anna", "", "", ""])
    # 7 is at 1.5, the mean of its tracks.
    assert numbers(tracks) == ["7", "7", "anna", "7", "anna", "8"]
    overlapping = on_line([0.0, 0.1], "aa", [(0, 5), (0, 5)], ["x", "x"])
    assert numbers(overlapping) == ["x", "x"]
    assert numbers(on_line([0.0, 0.0], people=["1", "2"])) == ["1", "2"]


def test_any_track_of_a_known_person_rules_a_new_one_out():
    tracks = on_line([0.0, 0.0, 0.0], "baa", [(10, 15), (0, 5), (4, 6)], ["3", "3", ""])
    assert numbers(tracks) == ["3", "3", "4"]
    assert numbers(tracks._replace(first=np.array([10.0, 0, 5.5]))) == ["3", "3", "3"]


def test_identities_are_those_of_complete_linkage_with_constraints(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_ROWS", 7)
    random = np.random.default_rng(0)
    for _ in range(5):
        first = random.uniform(0, 60, 30)
        tracks = Tracks(random.random((30, 2)), random.integers(0, 3, 30), first,
                        first + random.uniform(1, 9, 30), np.full(30, ""))
        distances = np.linalg.norm(tracks.features[:, None] - tracks.features, axis=2)
        waits = first[:, None] - tracks.last
        waits = np.maximum(waits, waits.T)
        apart = np.where(tracks.cameras[:, None] == tracks.cameras, waits <= 0, waits < 2)
        found = identify(tracks, 0.4, travel=2.0, distances=lambda one, other: np.linalg.norm(
            one[:, None] - other, axis=2))
        clusters = {frozenset(np.flatnonzero(found == name).tolist()) for name in found}
        assert clusters == exhaustive(distances, apart, 0.4)


def test_negative_distances_and_thresholds():
    tracks = on_line([2.0, 2.1, 5.0], people=["4", "4", ""])
    for threshold, third in ((-11.0, "5"), (-10.0, "4")):
        assert identify(tracks, threshold, distances=lambda a, b: -(a @ b.T)).tolist() == [
            "4", "4", third]


def test_few_tracks():
    assert numbers(on_line([])) == []
    assert numbers(on_line([1.0])) == ["1"]
    assert numbers(on_line([1.0], people=["12"])) == ["12"]


def test_cosine_is_the_default():
    tracks = on_line([0.0] * 3)._replace(features=np.array([[1.0, 0], [3.0, 0.1], [0, 1.0]]))
    assert identify(tracks, 0.1).tolist() == ["1", "1", "2"]


def test_too_many_tracks_and_broken_features_get_one_sentence(monkeypatch):
    with pytest.raises(UserError, match="hold NaN or infinity"):
        numbers(on_line([0.0, np.nan]))
    monkeypatch.setattr(module, "MOST_COMPARED", 2)
    assert numbers(on_line([0.0, 0.0, 5.0], people=["1", "1", ""])) == ["1", "1", "2"]
    with pytest.raises(UserError, match="3 new tracks and known people are too many"):
        numbers(on_line([0.0, 1.0, 2.0]))


def test_it_needs_no_tensorflow():
    program = "import sys, tfreid.gallery.identify; sys.exit('tensorflow' in sys.modules)"
    root = Path(__file__).resolve().parents[3]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0
