"""A gallery of people's images: added, searched, numbered, marked and removed."""

from __future__ import annotations

import base64
import collections
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfrecords.errors import UserError, shortened
from tfreid.gallery.embedder import Embedder, Limits, thumbnail
from tfreid.gallery.entries import EVERYWHERE, Entry, Where, is_clock, parse_time, track_in
from tfreid.gallery.marks import set_marks
from tfreid.gallery.queries import Query, nearest_of_tracks, query_vector
from tfreid.gallery.removal import finish_removal, remove_entries
from tfreid.gallery.store import FIELDS, MOST_RESULTS, Store
from tfreid.serving.image_lists import ImageList

_MODEL = "model"
# Images that are embedded and written together.
_BATCH = 64
# Nearest entries that are re-ranked, and hits that are fetched for each track that is wanted.
_RERANKED, _HITS_A_TRACK = 200, 4
# Images of a query that a model of pairs compares.
_COMPARED = 16


class Match(NamedTuple):
    """An entry that a search found.

    Attributes:
        entry: The entry.
        distance: Between it and the query.
        verdict: `same`, `unsure` or `unknown`; None without thresholds.
        entries: How many entries its track has.
    """

    entry: Entry
    distance: float
    verdict: str | None
    entries: int = 1


class Added(NamedTuple):
    """What became of images: how many were written, were there before, and which were refused."""

    added: int
    present: int
    refused: list[tuple[str, str]]


class Gallery:
    """Entries that a model embedded, in a store of Milvus.

    Args:
        uri: File of a local store (`*.db`), or URL of a Milvus server.
        model: Folder of an export. None opens a gallery only to list, export and remove.
        name: Name of the gallery in its store.
        limits: The two distances of the verdict. Defaults to those of the model's calibration.
        pair_model: Folder of the export of a CSN or Siamese network, which may re-rank.

    Raises:
        UserError: If the store cannot be opened, or was filled by another model.

    Example:
        >>> with Gallery("people.db", "runs/first/export") as gallery:
        ...     gallery.add(list_files(["crops"]))
        ...     gallery.search(Query(images=["query.jpg"]))[0].entry.camera
    """

    def __init__(self, uri: str, model: str | None = None, name: str = "people",
                 limits: Limits | None = None, pair_model: str | None = None):
        self._embedder = None if model is None else Embedder(model)
        self._pairs = None
        if pair_model is not None:
            from tfreid.gallery.reranking import PairModel

            self._pairs = PairModel(pair_model)
        self.store = Store(uri, name)
        try:
            self._open(limits)
        except BaseException:
            self.store.close()
            raise

    def _open(self, limits) -> None:
        self.about = self.store.note(_MODEL) or {}
        model = self._embedder
        if self.about and model:
            for name in ("fingerprint", "metric"):
                if self.about[name] != getattr(model, name):
                    raise UserError(f"{self.store.uri} holds embeddings of another model "
                                    f"({self.about['export']}, {self.about['metric']} distance); "
                                    "give that export, or another gallery.")
        self.limits = limits or (model.limits if model else None)
        finish_removal(self.store)

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the store."""
        self.store.close()

    @property
    def embedder(self) -> Embedder:
        """The model.

        Raises:
            UserError: If the gallery was opened without one.
        """
        if self._embedder is None:
            raise UserError("this needs the model that embedded the gallery; give --model.")
        return self._embedder

    @property
    def rerankings(self) -> list[str]:
        """Names of the ways to re-rank."""
        return ["k_reciprocal", *(["pair"] if self._pairs else [])]

    def add(self, images: ImageList, advance: Callable[[int], object] = lambda _: None) -> Added:
        """Embeds images and writes them; those that are there already stay.

        A person's name that equals the track's is what `tfreid crop-people` writes, and means that
        the person is unknown. Each batch is kept when `advance` is called.

        Args:
            images: The images, and what is known of them.
            advance: Called with the number of images after each batch.
        """
        added, present, refused = 0, 0, []
        keys = images.keys
        for start in range(0, len(images), _BATCH):
            places = range(start, min(start + _BATCH, len(images)))
            batch = []
            for place in places:
                try:
                    batch.append((_entry(images, place, keys[place]), images.read(place)))
                except UserError as error:
                    refused.append((keys[place], str(error)))
            stored = self._checksums(entry.key for entry, _ in batch)
            new = [(entry, data) for entry, data in {one[0].key: one for one in batch}.values()
                   if stored.get(entry.key) != _checksum(data)]
            present += len(batch) - len(new)
            wrong = self.put(new, any(entry.key in stored for entry, _ in new))
            refused += wrong
            added += len(new) - len(wrong)
            advance(len(places))
        return Added(added, present, refused)

    def put(self, files: Sequence[tuple[Entry, bytes]], replacing: bool = True,
            all_or_none: bool = False) -> list[tuple[str, str]]:
        """Embeds image files and writes them under their entries; see `add`.

        Args:
            files: Entries with their JPEG or PNG files.
            replacing: Whether some of the keys may be there.
            all_or_none: Whether nothing is written if one cannot be read.

        Returns:
            Keys of those that cannot be read, with the reasons.
        """
        if not files:
            return []
        self._start()
        embeddings = self.embedder.embed_files([data for _, data in files])
        rows, refused = [], []
        for (entry, data), embedding in zip(files, embeddings):
            if embedding is None:
                refused.append((entry.key, "not a whole image, or too many pixels"))
                continue
            try:
                rows.append({**entry._asdict(), "image": _checksum(data), "embedding": embedding,
                             "thumbnail": thumbnail(data)})
            except UserError as error:
                refused.append((entry.key, str(error)))
        if rows and not (refused and all_or_none):
            self.store.put(rows, replacing)
        return refused

    def search(self, query: Query, where: Where = EVERYWHERE, count: int = 60,
               by_track: bool = True, rerank: str | None = None) -> list[Match]:
        """Finds the entries that are most like a person.

        Args:
            query: The person.
            where: Which entries are searched.
            count: At most so many results.
            by_track: Whether each track is found once, by its nearest entry.
            rerank: None, or `k_reciprocal` (Zhong et al., CVPR 2017) or `pair` for another order of
                the nearest 200 entries.

        Returns:
            The matches, the most alike first.

        Raises:
            UserError: If the query is empty, not an image, or names an entry that is not there.
        """
        if rerank is not None and rerank not in self.rerankings:
            raise UserError(f"{shortened(repr(rerank))} is none of the ways to re-rank, "
                            f"{', '.join(self.rerankings)}; `pair` needs a model of pairs.")
        vector = self._vector(query)
        if not self.store.exists:
            return []
        hits = self._hits(vector, where, count, by_track, rerank)
        if rerank:
            hits = self._reranked(hits, vector, query, rerank)
        hits = nearest_of_tracks(hits, count) if by_track else hits[:count]
        sizes = self._sizes(hits) if by_track else {}
        return [self._match(hit, sizes.get(hit["track"], 1)) for hit in hits]

    def picture(self, key: str) -> bytes:
        """Returns the small JPEG of an entry.

        Raises:
            UserError: If there is no such entry.
        """
        rows = self._rows_of([key], ("thumbnail",))
        self._require([key], rows)
        return base64.b64decode(rows[key]["thumbnail"])

    def mark(self, person: str, marks: Mapping[str, bool | None]) -> None:
        """Keeps which entries show a person; see `set_marks`.

        Raises:
            UserError: If an entry is not there, or the name is none.
        """
        wanted = [key for key, right in marks.items() if right is not None]
        self._require(wanted, self._rows_of(wanted, ()))
        set_marks(self.store, person, marks)

    def entries(self, where: Where = EVERYWHERE, limit: int | None = None) -> Iterator[Entry]:
        """Yields the entries that fulfil conditions, in no special order."""
        if self.store.exists:
            yield from (_entry_of(row) for row in self.store.rows(where, limit=limit))

    def summary(self) -> dict[str, Any]:
        """Returns numbers of entries, tracks and people, the cameras, and first and last time."""
        seen: dict[str, set] = {name: set() for name in ("track", "person", "camera", "time")}
        count = 0
        for row in (self.store.rows(fields=tuple(seen)) if self.store.exists else ()):
            count += 1
            for name, values in seen.items():
                values.add(row[name])
        times = seen["time"] - {None}
        return {"entries": count, "tracks": len(seen["track"] - {""}),
                "people": len(seen["person"] - {""}), "cameras": sorted(seen["camera"] - {""}),
                "first": min(times, default=None), "last": max(times, default=None),
                "clock": any(map(is_clock, times))}

    def remove(self, where: Where) -> int:
        """Removes entries from the disk, with their pictures, embeddings and marks; see `removal`.

        Returns:
            How many there were.

        Raises:
            UserError: If no condition is given.
            StoreError: If the store cannot be written again without them; no search finds them.
        """
        return remove_entries(self.store, where)

    def _start(self) -> None:
        if not self.about:
            model = self.embedder
            about = {"fingerprint": model.fingerprint, "metric": model.metric,
                     "export": model.export, "width": model.width}
            if not self.store.exists:
                self.store.create(about["width"], model.metric)
            self.store.set_notes({_MODEL: about})
            self.about = about

    def _checksums(self, keys: Iterable[str]) -> dict[str, str]:
        """Returns key -> checksum of the image of those entries that are stored."""
        return {key: row["image"] for key, row in self._rows_of(list(keys), ("image",)).items()}

    def _vector(self, query: Query) -> np.ndarray:
        if not (query.images or query.keys or query.right):
            raise UserError("there is nothing to search for; give an image, or the key of an "
                            "entry.")
        known = {key: np.asarray(row["embedding"], np.float32)
                 for key, row in self._rows_of(query.entries, ("embedding",)).items()}
        self._require(query.keys, known)
        width = self.about.get("width") or self.embedder.width

        def stored(keys):
            # Marks may be of entries that were removed since.
            return np.array([known[key] for key in keys if key in known],
                            np.float32).reshape(-1, width)

        images = (self.embedder.embed(query.images) if query.images
                  else np.empty((0, width), np.float32))
        right = stored(query.right)
        if not (len(images) or query.keys or len(right)):
            self._require(query.right, known)
        return query_vector(images, stored(query.keys), right, stored(query.wrong),
                            self.embedder.metric == "cosine")

    def _rows_of(self, keys: Sequence[str], fields: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Returns key -> row of those entries that are stored."""
        if not self.store.exists or not keys:
            return {}
        return {row["key"]: row for row in self.store.rows(Where(keys=list(keys)),
                                                           ("key", *fields))}

    def _require(self, keys: Iterable[str], known: Collection[str]) -> None:
        missing = next((key for key in keys if key not in known), None)
        if missing is not None:
            raise UnknownEntry(f"the gallery has no entry {shortened(repr(missing))}; it may have "
                               "been removed.")

    def _hits(self, vector, where, count, by_track, rerank):
        fields = (*FIELDS, "embedding") if rerank == "k_reciprocal" else FIELDS
        wanted = _RERANKED if rerank else count * _HITS_A_TRACK if by_track else count
        while True:
            hits = self.store.search(vector, wanted, where, fields)
            found = len(nearest_of_tracks(hits, count)) if by_track else len(hits)
            if rerank or found >= count or len(hits) < wanted or wanted >= MOST_RESULTS:
                return hits
            wanted *= _HITS_A_TRACK

    def _reranked(self, hits, vector, query, rerank):
        from tfreid.gallery.reranking import k_reciprocal_order

        if rerank == "k_reciprocal":
            order = k_reciprocal_order(vector, [hit["embedding"] for hit in hits],
                                       self.embedder.metric)
        else:
            stored = query.keys or (() if query.images else query.right)
            images = [*query.images, *map(self.picture, stored)][:_COMPARED]
            order = self._pairs.order(images, [self.picture(hit["key"]) for hit in hits])
        return [hits[place] for place in order]

    def _sizes(self, hits) -> collections.Counter:
        tracks = sorted({hit["track"] for hit in hits} - {""})
        return collections.Counter(
            row["track"] for row in (self.store.rows(Where(tracks=tracks), ("track",))
                                     if tracks else ()))

    def _match(self, hit, entries) -> Match:
        distance = self.embedder.distance(hit["similarity"])
        verdict = self.limits.verdict(distance) if self.limits else None
        return Match(_entry_of(hit), distance, verdict, entries)


class UnknownEntry(UserError):
    """A key that no entry has."""


def _entry(images: ImageList, place: int, key: str) -> Entry:
    time, track, person = images.times[place], images.tracks[place], images.person_ids[place]
    camera = images.camera_ids[place] or ""
    return Entry(key, camera, None if time is None else parse_time(time),
                 track_in(camera, track or ""), "" if person in (None, track) else person).check()


def _entry_of(row) -> Entry:
    return Entry(*(row[field] for field in Entry._fields))


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
