"""Checksums of files, kept in a JSON file beside them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tfrecords.manifest import file_checksum, read_json, write_json


def write_checksums(path: Path, files: Iterable[Path]) -> None:
    """Writes the CRC-32 of files, which are in the folder of `path`, in one step."""
    write_json(path, {file.name: file_checksum(file) for file in files})


def find_changed_file(path: Path) -> Path | None:
    """Returns the first file that is missing or has another checksum than `path` says, or None.

    Without `path`, as in a folder from before there were checksums, nothing is checked.

    Raises:
        UserError: If `path` is not a JSON object.
    """
    if not path.is_file():
        return None
    for name, checksum in read_json(path).items():
        file = path.with_name(Path(name).name)
        if not file.is_file() or file_checksum(file) != checksum:
            return file
    return None
