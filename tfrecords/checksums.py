"""Checksums of files, kept in a JSON file beside them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tfrecords.errors import UserError
from tfrecords.files import file_checksum, read_json
from tfrecords.writing import write_json


def write_checksums(path: Path, files: Iterable[Path]) -> None:
    """Writes the CRC-32 of files, which are in or below the folder of `path`, in one step."""
    write_json(path, {file.relative_to(path.parent).as_posix(): file_checksum(file)
                      for file in files})


def find_changed_file(path: Path) -> Path | None:
    """Returns the first file that is missing or has another checksum than `path` says, or None.

    That is `path` itself if it cannot be read. Without `path`, as in a folder from before there
    were checksums, nothing is checked.
    """
    if not path.exists():
        return None
    try:
        checksums = read_json(path, "delete it")
    except UserError:
        return path
    for name, checksum in checksums.items():
        file = path.parent / name
        if not file.is_file() or file_checksum(file) != checksum:
            return file
    return None
