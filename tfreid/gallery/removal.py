"""Removes entries of a gallery from the disk, also if it is killed in between."""

from __future__ import annotations

import warnings

from tfrecords.errors import UserError
from tfreid.gallery.entries import Where
from tfreid.gallery.marks import without_marks_of
from tfreid.gallery.store import Store, StoreError

_NOTE = "removal"
# Keys that one note holds.
_KEYS = 50


def remove_entries(store: Store, where: Where) -> int:
    """Removes entries with their pictures, embeddings and marks, and returns how many.

    What is to be removed is noted first, for `finish_removal`.

    Raises:
        UserError: If no condition is given.
        StoreError: If the store cannot be written again without them; no search finds them.
    """
    if where.everything:
        raise UserError("say what to remove: a person, a track, keys, or what is older than a "
                        "time.")
    removed = 0
    for start in range(0, max(len(where.keys), 1), _KEYS):
        part = where._replace(keys=where.keys[start : start + _KEYS])
        store.set_notes({_NOTE: part._asdict()})
        removed += _delete(store, part)
    if removed:
        _purge(store)
    else:
        store.set_notes({_NOTE: None})
    return removed


def finish_removal(store: Store) -> None:
    """Ends a removal that was killed or found no space on the disk; warns if it cannot."""
    unfinished = store.note(_NOTE)
    if unfinished is None:
        return
    try:
        if unfinished:
            _delete(store, Where(**unfinished))
        _purge(store)
    except StoreError as error:
        warnings.warn(f"an earlier removal is not finished: {error}", stacklevel=2)


def _delete(store: Store, where: Where) -> int:
    keys = [row["key"] for row in store.rows(where, ("key",))] if store.exists else []
    store.set_notes(without_marks_of(store, set(keys)))
    store.delete(keys)
    return len(keys)


def _purge(store: Store) -> None:
    store.set_notes({_NOTE: {}})  # which no longer says what was removed
    store.purge()
    store.set_notes({_NOTE: None})
