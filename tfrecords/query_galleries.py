"""Galleries of single queries: the images of split `gallery` that each query ranks."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from tfrecords.errors import UserError
from tfrecords.files import file_checksum
from tfrecords.manifest import Manifest, QueryGalleries
from tfrecords.scan import ImageEntry, Scan, name_some
from tfrecords.storage import as_path, is_file
from tfrecords.writing import write_whole

FILE_NAME = "query_galleries.npz"
_REBUILD = "run the same `tfreid build` again, which makes only the missing files"


def read_query_galleries(
    directory: str | os.PathLike, manifest: Manifest
) -> list[np.ndarray] | None:
    """Reads which gallery images each query ranks.

    Args:
        directory: The records folder.
        manifest: The folder's manifest.

    Returns:
        For every image of split `query`, in record order, the increasing positions in split
        `gallery`, int64; None if every query ranks the whole gallery.

    Raises:
        UserError: If the file is missing or damaged, or does not fit the manifest.
    """
    if manifest.query_galleries is None:
        return None
    path = as_path(directory) / manifest.query_galleries.file
    if not is_file(path):
        raise UserError(f"{path} is missing: {_REBUILD}.")
    if file_checksum(path) != manifest.query_galleries.checksum:
        raise UserError(f"{path} has another checksum than expected: {_REBUILD}.")
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as content:
            positions, offsets = (content[name].astype(np.int64)
                                  for name in ("positions", "offsets"))
        galleries = np.split(positions, offsets[1:-1])
    except (OSError, EOFError, KeyError, ValueError, TypeError, AttributeError, RuntimeError,
            OverflowError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is broken ({type(error).__name__}: {error}): {_REBUILD}."
                        ) from error
    problem = _problem(galleries, manifest.splits["query"].images,
                       manifest.splits["gallery"].images)
    if problem:
        raise UserError(f"{path} has {problem}: {_REBUILD}.")
    return galleries


def write_query_galleries(
    directory: Path, scan: Scan, corrupt: dict[str, set[str]]
) -> QueryGalleries | None:
    """Writes the galleries of a scan's queries in one step, or nothing if there are none.

    Args:
        directory: The records folder.
        scan: Scan whose `query_galleries` are positions among all images.
        corrupt: Paths that were left out of the records, by split.

    Raises:
        UserError: If a remaining query has lost its whole gallery.
        ValueError: If the scan's galleries do not fit its splits.
    """
    if scan.query_galleries is None:
        return None
    query, gallery = scan.splits["query"], scan.splits["gallery"]
    problem = _problem(scan.query_galleries, len(query), len(gallery))
    if problem:
        raise ValueError(f"`query_galleries` must fit the splits, but has {problem}.")
    data = _encode(_without(scan, corrupt.get("query", ()), corrupt.get("gallery", ())))
    path, checksum = directory / FILE_NAME, f"{zlib.crc32(data):08x}"
    if not path.is_file() or file_checksum(path) != checksum:
        write_whole(path, data)
    return QueryGalleries(FILE_NAME, checksum)


def _without(
    scan: Scan, corrupt_queries: Collection[str], corrupt_gallery: Collection[str]
) -> list[np.ndarray]:
    """Returns the remaining queries' galleries, as positions among the remaining images."""
    kept = _kept(scan.splits["gallery"], corrupt_gallery)
    moved = np.cumsum(kept) - 1
    queries = scan.splits["query"]
    galleries, lost = [], []
    for entry, positions, whole in zip(queries, scan.query_galleries,
                                       _kept(queries, corrupt_queries)):
        if whole:
            galleries.append(moved[positions[kept[positions]]])
            if not len(galleries[-1]):
                lost.append(entry.path)
    if lost:
        raise UserError(f"every gallery image of query {name_some(lost)} in {scan.root} is "
                        "corrupt: repair them and run the same command again.")
    return galleries


def _kept(entries: Sequence[ImageEntry], corrupt: Collection[str]) -> np.ndarray:
    return np.array([entry.path not in corrupt for entry in entries], bool)


def _encode(galleries: Sequence[np.ndarray]) -> bytes:
    """Returns the content of the file, the same bytes for the same galleries."""
    offsets = np.cumsum([0, *map(len, galleries)], dtype=np.int64)
    stream = io.BytesIO()
    # Half the size of int64 before compression; no gallery has 2^31 images.
    np.savez_compressed(stream, positions=np.concatenate(galleries).astype(np.int32),
                        offsets=offsets)
    return stream.getvalue()


def _problem(galleries: Sequence[np.ndarray], queries: int, images: int) -> str | None:
    """Describes how galleries do not fit their splits, or returns None."""
    if len(galleries) != queries:
        return f"{len(galleries)} galleries for {queries} queries"
    for number, positions in enumerate(galleries):
        if not len(positions):
            return f"an empty gallery for query {number}"
        if positions[0] < 0 or positions[-1] >= images or (np.diff(positions) <= 0).any():
            return (f"positions for query {number} that do not increase or are not among the "
                    f"{images} gallery images")
    return None
