"""Which entries a user called right and wrong for a person, and the table they make."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from tfreid.gallery.entries import ENROLLED, Entry, Where
from tfreid.gallery.queries import track_of

if TYPE_CHECKING:
    from tfreid.gallery.gallery import Gallery
    from tfreid.gallery.store import Store

COLUMNS = ("path", "person_id", "camera_id", "split", "tracklet_id", "time")
_PREFIX = "mark/"


class Mark(NamedTuple):
    """Whether an entry shows a person.

    Attributes:
        person: Name of the person.
        key: Key of the entry.
        right: Whether it shows the person.
    """

    person: str
    key: str
    right: bool


def set_marks(store: Store, person: str, marks: Mapping[str, bool | None]) -> None:
    """Keeps key -> whether the entry shows the person; None takes a mark back.

    Raises:
        UserError: If the name is empty or too long.
    """
    Entry(person, person=person).check()
    store.set_notes({
        _PREFIX + hashlib.sha256(f"{person}\n{key}".encode()).hexdigest():
        None if right is None else Mark(person, key, right)._asdict()
        for key, right in marks.items()})


def find_marks(store: Store) -> list[Mark]:
    """Returns all marks, by person and key."""
    return sorted(Mark(**mark) for mark in store.notes(_PREFIX).values())


def without_marks_of(store: Store, keys: Collection[str]) -> dict[str, None]:
    """Returns the notes to set so that no mark of some entries is left."""
    return {note: None for note, mark in store.notes(_PREFIX).items() if mark["key"] in keys}


def marks_table(gallery: Gallery) -> bytes:
    """Returns the CSV that `tfreid build csv` reads: the marked entries and all of their tracks.

    A track follows one person, so that a right mark names the person of its whole track. A track
    with wrong marks only becomes a person of its own.

    Args:
        gallery: The gallery.
    """
    marks = find_marks(gallery.store)
    keys = sorted({mark.key for mark in marks})
    marked = {entry.key: entry for entry in gallery.entries(Where(keys=keys))} if keys else {}
    names: dict[str, str] = {}
    for mark in sorted(marks, key=lambda mark: mark.right):  # right ones last: they count
        if mark.key in marked:
            track = track_of(marked[mark.key]._asdict())
            names[track] = mark.person if mark.right else names.get(track, track)
    tracks = sorted({entry.track for entry in marked.values()} - {""})
    whole = {entry.key: entry for entry in gallery.entries(Where(tracks=tracks))} if tracks else {}
    return table_of((entry, names[track_of(entry._asdict())])
                    for _, entry in sorted({**marked, **whole}.items()))


def table_of(named: Iterable[tuple[Entry, str]]) -> bytes:
    """Returns entries and the people's names as the CSV that `tfreid build csv` reads.

    Images that were sent to the service have no file and are left out.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry, name in named:
        if entry.key.startswith(ENROLLED):
            continue
        time = "" if entry.time is None else f"{entry.time:.3f}"
        writer.writerow((entry.key, name, entry.camera, "train", entry.track, time))
    return text.getvalue().encode()
