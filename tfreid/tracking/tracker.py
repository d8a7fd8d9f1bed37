"""The door to Norfair, whose tracker numbers people from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tfrecords.errors import UserError
from tfreid.footage.detections import Detection

# Hits until a track is no longer new; Norfair compares only new ones with lost ones.
_NEW = 1
_NEVER = 9.0  # a distance that no threshold reaches


class TrackingOptions(NamedTuple):
    """How people are numbered.

    Attributes:
        distance: Cosine distance up to which a new track is a lost one; None numbers by place
            alone.
        longest_gap: Frames that a person may be missing and be found again by place; Norfair allows
            no more than the person was seen in.
        memory: Further frames that a lost person may be found again by appearance.
        least_overlap: Intersection over union of a box with the place that motion predicts, from
            which on it may be the same person.
        images: Images of a track that are remembered, spread over its time.
    """

    distance: float | None
    longest_gap: int = 30
    memory: int = 600
    least_overlap: float = 0.2
    images: int = 8


class Tracker:
    """Norfair's tracker: Kalman filters by overlap, and lost people by appearance.

    A box belongs to the track whose predicted place it overlaps most. A track that is new is
    compared with those that nobody continues, by the cosine distance of the means of their
    embeddings; the nearest within `distance` gets it.

    Args:
        options: How people are numbered.

    Raises:
        UserError: If Norfair is not installed.
    """

    def __init__(self, options: TrackingOptions):
        self._norfair = _norfair()
        looks = {} if options.distance is None else {
            "reid_distance_function": _appearance_distance,
            "reid_distance_threshold": options.distance, "reid_hit_counter_max": options.memory}
        self._tracker = self._norfair.Tracker(
            "iou", 1 - options.least_overlap, initialization_delay=_NEW,
            hit_counter_max=max(options.longest_gap, _NEW + 1),
            past_detections_length=options.images, **looks)
        self._frames, self._owners, self._joined = 0, [], {}

    def update(self, people: Sequence[Detection], features: np.ndarray | None = None) -> None:
        """Shows the tracker the people of the next frame.

        Args:
            people: Their boxes.
            features: Float [n, d], their embeddings; not needed without appearance.
        """
        first, known = len(self._owners), self._tracker.tracked_objects
        self._tracker.update([self._norfair.Detection(
            np.array(one.box[:2]) + np.array([[0.0, 0.0], one.box[2:]]),
            data=_Seen(self._frames, first + place,
                       None if features is None else _unit(features[place])))
            for place, one in enumerate(people)])
        self._owners += [0] * len(people)
        for track in self._last_seen(self._tracker.tracked_objects):
            self._owners[track.last_detection.data.place] = track.initializing_id
        for track in self._last_seen(known):
            # A new one that was found to be a lost one has left it its last box.
            owner = self._owners[track.last_detection.data.place]
            if owner != track.initializing_id:
                self._joined[track.initializing_id] = owner
        self._frames += 1

    def _last_seen(self, tracks: Sequence[Any]) -> list[Any]:
        return [track for track in tracks if track.last_detection.data.frame == self._frames]

    def numbers(self) -> list[int]:
        """Returns the track of each box that was shown, in their order."""
        return [self._joined.get(owner, owner) for owner in self._owners]


class _Seen(NamedTuple):
    """What Norfair keeps of a box: its frame, its place among all, its embedding of length 1."""

    frame: int
    place: int
    feature: np.ndarray | None


def _appearance_distance(new: Any, lost: Any) -> float:
    """Returns the cosine distance of two tracks of Norfair."""
    if new.past_detections[0].data.frame <= lost.last_detection.data.frame:
        return _NEVER  # seen at the same time
    first, second = (_unit(np.mean([one.data.feature for one in track.past_detections], axis=0))
                     for track in (new, lost))
    distance = 1.0 - float(first @ second)
    return distance if distance <= 2.0 else _NEVER  # also where it is no number


def _unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector, np.float64) / max(np.linalg.norm(vector), 1e-12)


def _norfair():
    try:
        import norfair
    except ImportError as error:
        raise UserError(f"tracking needs Norfair ({error}); run `pip install "
                        "'tfreid[tracking]'`.") from None
    return norfair
