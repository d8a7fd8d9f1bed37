"""Where a gallery is kept: two Milvus collections, in a file by milvus-lite or on a server."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import sqlite3
import threading
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfrecords.errors import UserError, shortened
from tfrecords.writing import TEMPORARY, write_whole
from tfreid.gallery.entries import EVERYWHERE, LIMITS, UNKNOWN_TIME, Where

# Of every entry, beside the embedding: how its image is known again, and a picture of it (base64).
FIELDS = ("key", "camera", "time", "track", "person", "image")
_LONGEST_TEXT = 65535
# Metric -> Milvus's name of it.
METRICS = {"cosine": "COSINE", "euclidean": "L2"}
# Most results of a search, and rows of one answer.
MOST_RESULTS = 16384
_PAGE = 2000
_EVERYTHING = 'id != ""'
_NOTES = "_notes"
_TOKEN = "MILVUS_TOKEN"
# Seconds that Milvus may take to answer, and to say whether it is there.
_PATIENCE, _GLANCE = 20, 2
# What milvus-lite takes as the name of a file.
_FILE_NAME = re.compile(r"[A-Za-z0-9._-]{1,33}\.db")


class StoreError(UserError):
    """Milvus did not do what it was asked."""


class Store:
    """Entries with embeddings, and notes, of one gallery.

    One process at a time opens a local store. Threads may share it: they take turns.

    Args:
        uri: File of a local store, which is made, or URL of a Milvus server; the server's token is
            the environment variable MILVUS_TOKEN.
        name: Name of the gallery; a store may hold several.

    Raises:
        UserError: If Milvus's client is not installed, the store is open in another process, or the
            server does not answer.
    """

    def __init__(self, uri: str | os.PathLike, name: str = "people"):
        self.uri, self.name = os.fspath(uri), name
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", name):
            raise UserError(f"{shortened(repr(name))} is not a name of a gallery; give letters, "
                            "digits and underscores.")
        self._turn = threading.RLock()
        # Lists of entries that are being read, which outlast a turn.
        self._idle, self._readers = threading.Condition(self._turn), 0
        self._local = "://" not in self.uri
        self._lock = _lock(self.uri) if self._local else None
        try:
            self._open()
        except BaseException:
            self._unlock()
            raise

    @property
    def exists(self) -> bool:
        """Whether `create` was called, now or before."""
        with self._asking():
            return bool(self._client.has_collection(self.name, timeout=_PATIENCE))

    def create(self, width: int, metric: str) -> None:
        """Makes the collection of entries, for embeddings of `width` numbers.

        Args:
            width: Numbers of an embedding.
            metric: `cosine` or `euclidean`.
        """
        texts = {**LIMITS, "image": 64, "thumbnail": _LONGEST_TEXT}
        with self._asking():
            self._create(self.name, texts, width, METRICS[metric])

    def put(self, rows: Sequence[Mapping[str, Any]], replacing: bool = False) -> None:
        """Writes entries; when it returns they are kept.

        Args:
            rows: For each, the `FIELDS`, `thumbnail` and `embedding` [width]; of different keys.
            replacing: Whether entries of these keys may be there, and are replaced. milvus-lite
                takes them away before it writes, so that a copy of the rows is kept until it has.
        """
        rows = [{**row, "id": _id(row["key"]),
                 "embedding": np.asarray(row["embedding"], np.float32),
                 "time": UNKNOWN_TIME if row["time"] is None else row["time"]} for row in rows]
        with self._asking():
            self._finish_replacing()
            if replacing and self._local:
                write_whole(self._redo, json.dumps([{**row, "embedding": base64.b64encode(
                    row["embedding"].tobytes()).decode()} for row in rows]).encode())
                self._finish_replacing()
            else:
                # Of a server, others may write too.
                write = self._client.insert if self._local else self._client.upsert
                write(self.name, rows, timeout=_PATIENCE)

    def search(self, embedding: np.ndarray, count: int, where: Where,
               fields: Sequence[str] = FIELDS) -> list[dict[str, Any]]:
        """Finds the entries with the nearest embeddings.

        Args:
            embedding: float32 array [width].
            count: At most so many, and at most `MOST_RESULTS`.
            where: Which entries are searched.
            fields: What is returned of each, beside `similarity`: the cosine, or the squared
                Euclidean distance.
        """
        with self._asking():
            found = self._client.search(
                self.name, data=[np.asarray(embedding, np.float32).tolist()],
                limit=min(count, MOST_RESULTS), filter=_filter(where), output_fields=list(fields),
                timeout=_PATIENCE)
        return [{**_known({field: hit["entity"][field] for field in fields}),
                 "similarity": hit["distance"]} for hit in found[0]]

    def rows(self, where: Where = EVERYWHERE, fields: Sequence[str] = FIELDS,
             limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Yields the entries that fulfil conditions, in no special order."""
        for row in self._rows(self.name, _filter(where) or _EVERYTHING, fields, limit):
            yield _known(row)

    def count(self) -> int:
        """Returns the number of entries."""
        if not self.exists:
            return 0
        with self._asking():
            answer = self._client.query(self.name, filter="", output_fields=["count(*)"],
                                        timeout=_PATIENCE)
        return int(answer[0]["count(*)"])

    def delete(self, keys: Sequence[str]) -> None:
        """Deletes entries: no search finds them, but their bytes stay until `purge`."""
        with self._asking():
            self._finish_replacing()  # else it would bring deleted entries back
            for start in range(0, len(keys), _PAGE):
                self._client.delete(self.name, ids=list(map(_id, keys[start : start + _PAGE])),
                                    timeout=_PATIENCE)

    def purge(self) -> None:
        """Removes the bytes of deleted entries and notes.

        A local store is closed, written again without them and opened, which takes the time of a
        copy and as much space on the disk. A server is asked to compact, and removes them when its
        own settings say.

        Raises:
            StoreError: If the file cannot be written again; the store stays open.
        """
        with self._asking():
            if self._local:
                self._idle.wait_for(lambda: not self._readers, _PATIENCE)
                for path in self._redo.parent.glob(f"{TEMPORARY}*{self._redo.name}"):
                    path.unlink()
                self._close_client()
                try:
                    with contextlib.closing(sqlite3.connect(self.uri)) as database:
                        database.execute("VACUUM")
                finally:
                    self._open()
                return
            for name in (self.name, self.name + _NOTES):
                self._compact(name)

    def note(self, key: str) -> Any:
        """Returns a note, or None."""
        condition = f"id == {json.dumps(_id(key))}"
        return next((value for _, value in self._noted(condition)), None)

    def notes(self, prefix: str) -> dict[str, Any]:
        """Returns key -> note of the keys that begin with a prefix."""
        return {key: value for key, value in self._noted(_EVERYTHING) if key.startswith(prefix)}

    def set_notes(self, notes: Mapping[str, Any]) -> None:
        """Keeps plain values under their keys; None removes one."""
        name = self.name + _NOTES
        kept = [{"id": _id(key), "key": key, "value": json.dumps(value, ensure_ascii=False),
                 "time": UNKNOWN_TIME, "embedding": [0.0, 0.0]}
                for key, value in notes.items() if value is not None]
        gone = [_id(key) for key, value in notes.items() if value is None]
        with self._asking():
            if kept:
                self._client.upsert(name, kept, timeout=_PATIENCE)
            if gone:
                self._client.delete(name, ids=gone, timeout=_PATIENCE)

    def close(self) -> None:
        """Closes the store, so that another process may open it."""
        with self._turn:
            self._close_client()
            self._unlock()

    @property
    def _redo(self) -> Path:
        """Rows that were being replaced."""
        return Path(f"{self.uri}.{self.name}.redo")

    def _open(self) -> None:
        self._client = _connect(self.uri)
        with self._asking():
            if not self._client.has_collection(self.name + _NOTES):
                self._create(self.name + _NOTES,
                             {"key": LIMITS["key"], "value": _LONGEST_TEXT}, 2, "L2")
            for name in (self.name, self.name + _NOTES):
                if self._client.has_collection(name):
                    self._client.load_collection(name)
            self._finish_replacing()

    def _finish_replacing(self) -> None:
        """Writes the rows that were being replaced, perhaps by a process that was killed."""
        if not self._local or not self._redo.exists():
            return
        rows = json.loads(self._redo.read_bytes())
        self._client.upsert(self.name, [
            {**row, "embedding": np.frombuffer(base64.b64decode(row["embedding"]), np.float32)}
            for row in rows], timeout=_PATIENCE)
        self._redo.unlink()

    def _compact(self, name: str) -> None:
        import grpc

        try:
            self._client.compact(name)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:  # as milvus-lite's server
                raise

    def _close_client(self) -> None:
        self._client.close()
        if self._local:
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(self.uri)

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Lets one thread at a time ask Milvus, and turns its errors into a sentence."""
        import grpc
        from pymilvus.exceptions import MilvusException

        with self._turn:
            try:
                yield
            except (MilvusException, grpc.RpcError, sqlite3.Error) as error:
                reason = shortened(str(getattr(error, "message", error)), 300)
                self._revive()
                raise StoreError(f"{self.uri}: Milvus refused ({reason}); check the store and the "
                                 "space on its disk.") from None

    def _revive(self) -> None:
        """Starts milvus-lite again if its process has ended."""
        if not self._local:
            return
        try:
            self._client.has_collection(self.name, timeout=_GLANCE)
        except Exception:  # whatever it is, nothing answers
            self._close_client()
            self._client = _connect(self.uri)

    def _noted(self, condition):
        for row in self._rows(self.name + _NOTES, condition, ("key", "value")):
            yield row["key"], json.loads(row["value"])

    def _rows(self, name, condition, fields, limit=None):
        limited = {} if limit is None else {"limit": limit}
        with self._asking():
            pages = self._client.query_iterator(
                name, batch_size=min(_PAGE, limit or _PAGE), filter=condition,
                output_fields=list(fields), timeout=_PATIENCE, **limited)
            self._readers += 1
        try:
            while True:
                with self._asking():
                    page = pages.next()
                if not page:
                    return
                yield from ({field: row[field] for field in fields} for row in page)
        finally:
            with self._turn:
                self._readers -= 1
                self._idle.notify_all()

    def _create(self, name, texts, width, metric) -> None:
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, max_length=64, is_primary=True)
        for text, limit in texts.items():
            schema.add_field(text, DataType.VARCHAR, max_length=limit)
        schema.add_field("time", DataType.DOUBLE)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=width)
        indices = self._client.prepare_index_params()
        # Exact where one machine holds all; a server chooses what its size allows.
        indices.add_index("embedding", index_type="FLAT" if self._local else "AUTOINDEX",
                          metric_type=metric)
        self._client.create_collection(name, schema=schema, index_params=indices,
                                       consistency_level="Strong")
        self._client.load_collection(name)


def _id(key: str) -> str:
    """Returns the primary key: milvus-lite puts it into SQL as it is, so it must be harmless."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _filter(where: Where) -> str:
    """Returns conditions in Milvus's language; texts are quoted, so that they stay texts."""
    lists = {"id": [_id(key) for key in where.keys], "camera": where.cameras,
             "track": where.tracks, "person": where.people}
    parts = [f"{name} in {json.dumps([_utf8(value) for value in values], ensure_ascii=False)}"
             for name, values in lists.items() if values]
    if where.since is not None:
        parts.append(f"time >= {max(float(where.since), UNKNOWN_TIME / 2)!r}")
    if where.until is not None:
        parts.append(f"time < {float(where.until)!r} and time > {UNKNOWN_TIME / 2!r}")
    return " and ".join(parts)


def _utf8(text: str) -> str:
    """Returns a text without what is not Unicode, which no entry has."""
    return text.encode("utf-8", "replace").decode()


def _known(row: dict[str, Any]) -> dict[str, Any]:
    """Returns a row with None for a time that is not known."""
    return {**row, "time": None} if row.get("time") == UNKNOWN_TIME else row


def _lock(uri: str):
    """Opens and locks a file beside a local store, until it is closed or the process ends."""
    path = Path(uri)
    if not _FILE_NAME.fullmatch(path.name):
        raise UserError(f"{uri}: a gallery on this machine is a file NAME.db, of at most 33 "
                        "letters, digits, dots, dashes and underscores before .db; a server has a "
                        "URL.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise UserError(f"{uri} is a folder, and a gallery is a file; give another name.")
    stream = open(f"{uri}.lock", "ab")  # noqa: SIM115
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        raise UserError(f"{uri} is open in another process, and a gallery on this machine has one "
                        "at a time; stop `tfreid gallery serve`, or wait.") from None
    return stream


def _connect(uri: str):
    try:
        from pymilvus import MilvusClient
        from pymilvus.exceptions import MilvusException
    except ImportError as error:
        raise UserError(f"a gallery needs Milvus's client ({error}); run `pip install "
                        "'tfreid[gallery]'`.") from None
    for name in ("pymilvus", "milvus_lite"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # their errors become ours
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # milvus-lite imports setuptools' pkg_resources
            return MilvusClient(uri, token=os.environ.get(_TOKEN, ""), timeout=5,
                                alias=uuid.uuid4().hex)
    except (MilvusException, OSError, RuntimeError, ValueError) as error:
        reason = shortened(str(getattr(error, "message", error)))
        fix = ("it may not be a gallery, or be damaged: name another, and add the images again"
               if "://" not in uri else f"check the address, and the token in {_TOKEN}")
        raise UserError(f"{uri}: the gallery cannot be opened ({reason}); {fix}.") from None
