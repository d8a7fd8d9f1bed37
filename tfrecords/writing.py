"""Writing that others may watch: files that appear whole, folders with one writer at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError
from tfrecords.files import read_json
from tfrecords.storage import RemotePath, as_path, copy_file, is_remote

LOCK_NAME = ".lock"
TEMPORARY = ".tmp-"  # how the names of unfinished files begin
_PREFIX = f"{TEMPORARY}{socket.gethostname()}-"
# What file systems without locks answer.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
# Folders that this process has cleared of the files that killed processes left.
_cleared: set[Path] = set()


def check_name(path: str | os.PathLike) -> None:
    """Raises a `UserError` if a path to write to is not UTF-8: TensorFlow cannot open it."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        raise UserError(f"{path} is not UTF-8, and TensorFlow can write to no other names: choose "
                        "another folder (images may have any names).") from None


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """Gives the body a temporary file to write, which is renamed to `path` when it is whole.

    If the body fails, nothing is left and a file that was there before stays. The first call for a
    folder removes the temporary files that killed processes of this machine left there.

    Args:
        path: The file; its folder is created if it is missing.

    Yields:
        The temporary file's path, in the same folder; for a URL on this machine.

    Raises:
        OSError: If it cannot be written, with the name of `path`.
    """
    if is_remote(path):
        with _uploaded(as_path(path)) as temporary:
            yield temporary
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path.parent)
    # With the suffix of the file, from which writers take its format.
    temporary = path.with_name(f"{_PREFIX}{os.getpid()}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (
                None, temporary, str(temporary)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextlib.contextmanager
def _uploaded(path: RemotePath) -> Iterator[Path]:
    """Gives the body a local file, which is copied to a remote path when it is whole.

    The copy gets another name first; renaming makes it appear in one step, as stores of objects do.
    """
    with tempfile.TemporaryDirectory(prefix="tfreid-") as folder:
        local = Path(folder) / path.name
        yield local
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{_PREFIX}{os.getpid()}-{path.name}")
        try:
            copy_file(local, temporary)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_whole(path: str | os.PathLike, data: bytes) -> None:
    """Writes a file in one step; see `whole_file`."""
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: str | os.PathLike, content: dict[str, Any]) -> None:
    """Writes a JSON object in one step."""
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())


def write_or_compare(path: str | os.PathLike, plan: dict[str, Any], fix: str) -> list[str]:
    """Writes what a folder's files are made of, or compares it with what was written before.

    Args:
        path: The JSON file.
        plan: Name -> plain value.
        fix: What to do if the file cannot be read, the end of the error's sentence.

    Returns:
        The names whose values differ; empty if the file was missing.

    Raises:
        UserError: If the file cannot be read.
    """
    path = as_path(path)
    if not path.exists():
        write_json(path, plan)
        return []
    found = read_json(path, fix)
    return [name for name, value in plan.items() if found.get(name) != value]


@contextlib.contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """Gives the body an empty folder in the place for temporary files, which it removes.

    The first call removes those that killed processes of this machine left.

    Args:
        name: What its name ends with.

    Yields:
        The folder's path.
    """
    place = Path(tempfile.gettempdir())
    _clear(place)
    folder = tempfile.mkdtemp(f"-{name}", f"{_PREFIX}{os.getpid()}-", place)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def sole_writer(folder: str | os.PathLike, activity: str) -> Iterator[None]:
    """Lets one process at a time write into a folder, while the body runs.

    The lock is one of the kernel on the folder's file `.lock`, which ends with the process however
    it ends, so none is ever stale. File systems that know no locks, and URLs, get none.

    Args:
        folder: The folder, created if it is missing, and then removed if it stays empty.
        activity: What the process does there, such as `training`, for the other one's message.

    Raises:
        UserError: If another process holds the lock; the sentence names its id and its machine.
        OSError: If the folder cannot be written.
    """
    if is_remote(folder):
        yield
        return
    path = Path(folder) / LOCK_NAME
    new = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _locked(path)
    try:
        owner = f"process {os.getpid()} on {socket.gethostname()} ({activity})"
        with contextlib.suppress(OSError):  # a full disk; the text is only for messages
            os.ftruncate(lock, 0)
            os.write(lock, owner.encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)
        if new:
            with contextlib.suppress(OSError):  # it is not empty
                path.parent.rmdir()


def _locked(path):
    """Returns the descriptor of the locked file, which is created if it is missing."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(lock, 300).decode(errors="replace") or "another process"
            os.close(lock)
            raise UserError(f"{path.parent} is being written by {owner}; wait until it ends, or "
                            "name another folder.") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(lock)
                raise
        # The last owner removes the file, perhaps after it was opened here.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), os.stat(path)):
                return lock
        os.close(lock)


def _clear(folder):
    """Removes temporary files and folders of processes of this machine that run no more."""
    if folder in _cleared:
        return
    _cleared.add(folder)
    for left in folder.glob(f"{glob.escape(_PREFIX)}*"):
        number = left.name[len(_PREFIX):].partition("-")[0]
        if number.isdecimal() and not _runs(int(number)):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True
