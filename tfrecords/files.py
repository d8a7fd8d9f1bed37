"""Reading files from elsewhere within bounds."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import stat
import zlib
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError
from tfrecords.storage import AnyPath, RemotePath, as_path, is_remote, open_bytes

MAX_TEXT_BYTES = 256 << 20
_SEPARATORS = ",;\t"
_MAX_INTEGER = 2 ** 63 - 1


def regular_file(path: str | os.PathLike, fix: str) -> AnyPath:
    """Returns the path of a regular file (or a link to one), which reading cannot block.

    Args:
        path: The file.
        fix: What to do otherwise, the end of the error's sentence.

    Raises:
        UserError: If the file is missing or unreachable, or is a folder, pipe or device.
    """
    if is_remote(path):
        return _remote_file(as_path(path), fix)
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {fix}.") from None
    except ValueError as error:  # NUL in the path
        raise UserError(f"{os.fspath(path)!r} is not a file name ({error}); {fix}.") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
        raise UserError(f"{path} is {kind}, not a file; {fix}.")
    return Path(path)


def _remote_file(path: RemotePath, fix: str) -> RemotePath:
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder, not a file; {fix}.")
        path.stat()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {fix}.") from None
    return path


def read_text(path: str | os.PathLike, fix: str, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Reads a UTF-8 text file of bounded size; a byte order mark is dropped.

    Args:
        path: The file.
        fix: What to do if it cannot be read, the end of the error's sentence.
        max_bytes: Largest size.

    Raises:
        UserError: As `regular_file`, or if the file is too large, not UTF-8 or holds NUL bytes.
    """
    try:
        with open_bytes(regular_file(path, fix)) as stream:
            data = stream.read(max_bytes + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {fix}.") from None
    if len(data) > max_bytes:
        raise UserError(f"{path} is larger than {max_bytes / 2**20:g} MiB; {fix}.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}); {fix}.") from None
    if "\0" in text:
        raise UserError(f"{path} is broken (NUL bytes at character {text.index(chr(0))}); {fix}.")
    return text


def open_table(path: str | os.PathLike, fix: str) -> csv.DictReader:
    """Opens a CSV table with commas, semicolons or tabs; its columns get lower-case names.

    Raises:
        UserError: As `read_text`.
        csv.Error: If the first line is no CSV, as from reading the others.
    """
    text = read_text(path, fix)
    reader = csv.DictReader(io.StringIO(text, newline=""),
                            delimiter=max(_SEPARATORS, key=text.partition("\n")[0].count))
    reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
    return reader


def read_json(path: str | os.PathLike, fix: str) -> dict[str, Any]:
    """Reads a JSON object whose numbers are finite.

    Args:
        path: The file.
        fix: What to do if it cannot be read, the end of the error's sentence.

    Raises:
        UserError: As `read_text`, or if the file holds anything but a JSON object, NaN, Infinity,
            a number out of range, or too many levels.
    """
    text = read_text(path, fix)
    try:
        content = json.loads(text, parse_int=_integer, parse_float=_finite, parse_constant=_finite)
        if not isinstance(content, dict):
            raise ValueError("it does not hold a JSON object")
    except RecursionError:
        raise UserError(f"{path} is broken (nested too deeply); {fix}.") from None
    except ValueError as error:
        raise UserError(f"{path} is broken ({error}); {fix}.") from None
    return content


def _integer(digits: str) -> int:
    # int() refuses or takes long over thousands of digits.
    if len(digits) > 20 or abs(int(digits)) > _MAX_INTEGER:
        raise ValueError(f"the number {digits[:20]}{'...' * (len(digits) > 20)} is out of range")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:20]} is not finite")
    return number


def file_checksum(path: str | os.PathLike) -> str:
    """Computes the CRC-32 of a file, 8 hex digits."""
    checksum = 0
    with open_bytes(path) as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            checksum = zlib.crc32(block, checksum)
    return f"{checksum:08x}"
