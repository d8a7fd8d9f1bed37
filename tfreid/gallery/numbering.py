"""Gives the tracks of a gallery the numbers of people."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

import numpy as np

from tfrecords.errors import UserError
from tfreid.evaluation.distances import pairwise_distances
from tfreid.gallery.embedder import unit
from tfreid.gallery.entries import Where
from tfreid.gallery.identify import Tracks, identify
from tfreid.gallery.queries import track_of
from tfreid.gallery.store import FIELDS

if TYPE_CHECKING:
    from tfreid.gallery.gallery import Gallery

# Tracks whose entries are looked for together, and entries that are written together.
_ROWS = 200


class _Track:
    """What is gathered of a track's entries."""

    def __init__(self, row: dict[str, Any]):
        self.camera, self.total, self.count = row["camera"], 0.0, 0
        self.times: list[float] = []
        self.people: collections.Counter = collections.Counter()

    def add(self, row: dict[str, Any]) -> None:
        self.total = self.total + np.asarray(row["embedding"], np.float64)
        self.count += 1
        if row["time"] is not None:
            self.times.append(row["time"])
        self.people[row["person"]] += 1

    @property
    def person(self) -> str:
        """The name that most of the entries with a name have."""
        return max(self.people, key=lambda name: (name != "", self.people[name]))


def number_people(gallery: Gallery, threshold: float | None = None,
                  travel: float | None = None) -> dict[str, int]:
    """Gives every track the person it matches, or a new number; see `identify`.

    Names and numbers that tracks have already stay. An entry without a track is one of its own.

    Args:
        gallery: The gallery, opened with its model.
        threshold: Largest distance of tracks of one person. Defaults to that at which calibration
            accepts one in a hundred pairs of different people.
        travel: Least number of seconds from one camera to another; None allows any.

    Returns:
        `tracks` and `people`, their numbers.

    Raises:
        UserError: If there is no threshold, or there are too many tracks.
    """
    if threshold is None:
        threshold = gallery.embedder.numbering
        if threshold is None:
            raise UserError("the model has no calibrated threshold; run tfreid calibrate and "
                            "export it again, or give a threshold.")
    found = _gathered(gallery)
    if not found:
        return {"tracks": 0, "people": 0}
    means = np.array([track.total / track.count for track in found.values()])
    metric = gallery.embedder.metric
    tracks = Tracks(
        unit(means) if metric == "cosine" else means,
        np.array([track.camera for track in found.values()]),
        np.array([min(track.times, default=np.nan) for track in found.values()]),
        np.array([max(track.times, default=np.nan) for track in found.values()]),
        np.array([track.person for track in found.values()]))
    people = identify(tracks, threshold, travel=travel, distances=lambda first, second:
                      pairwise_distances(first, second, metric))
    changed = {name: str(person) for (name, track), person in zip(found.items(), people)
               if set(track.people) != {person}}
    _write(gallery, changed)
    return {"tracks": len(found), "people": len(set(people))}


def _gathered(gallery: Gallery) -> dict[str, _Track]:
    found: dict[str, _Track] = {}
    if gallery.store.exists:
        for row in gallery.store.rows(fields=(*FIELDS, "embedding")):
            found.setdefault(track_of(row), _Track(row)).add(row)
    return found


def _write(gallery: Gallery, people: dict[str, str]) -> None:
    """Writes the person of each track into all of its entries."""
    fields = (*FIELDS, "thumbnail", "embedding")
    names = sorted(people)
    for start in range(0, len(names), _ROWS):
        some = names[start : start + _ROWS]
        # A name is a track's, or the key of an entry without one.
        keys = [row["key"] for where in (Where(tracks=some), Where(keys=some))
                for row in gallery.store.rows(where) if track_of(row) in people]
        for first in range(0, len(keys), _ROWS):
            rows = gallery.store.rows(Where(keys=keys[first : first + _ROWS]), fields)
            gallery.store.put([{**row, "person": people[track_of(row)]} for row in rows],
                              replacing=True)
