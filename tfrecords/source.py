"""Sources of the encoded images of a dataset: files below a folder."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Callable, Protocol

from tfrecords.image_headers import MAX_BYTES, CorruptImage

# The file, not the machine, is at fault.
_FAULTS = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP,
           errno.ENAMETOOLONG, errno.EIO)


class ImageSource(Protocol):
    """Reads images by their path in the dataset; is picklable, and messages name it by `str`."""

    def open(self) -> AbstractContextManager[Callable[[str], bytes]]:
        """Opens the source as a function that returns an image's bytes or raises `CorruptImage`."""

    def size(self, path: str) -> int:
        """Returns the size in bytes of the file that holds an image, -1 if it does not exist."""


@dataclass(frozen=True)
class FolderSource:
    """Image files below a folder.

    Attributes:
        root: The folder that paths are relative to.
        mounts: Folders outside `root`, by the first part of the paths that lead to them.
    """

    root: str
    mounts: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Returns the folder."""
        return self.root

    @contextlib.contextmanager
    def open(self) -> Iterator[Callable[[str], bytes]]:
        """Yields a function from an image's path to its bytes."""
        yield self._read

    def size(self, path: str) -> int:
        """Returns the size of an image's file in bytes, -1 if it does not exist."""
        try:
            return os.stat(self._file(path)).st_size
        except OSError:
            return -1  # the writer reports the file by name

    def _read(self, path: str) -> bytes:
        try:
            with self._open_file(path) as stream:
                return stream.read(MAX_BYTES + 1)
        except OSError as error:
            if error.errno in _FAULTS:
                raise CorruptImage(error.strerror) from error
            raise

    def _open_file(self, path: str) -> BinaryIO:
        file = self._file(path)
        if not stat.S_ISREG(os.stat(file).st_mode):  # reading a pipe could block for ever
            raise CorruptImage("not a regular file")
        return open(file, "rb")

    def _file(self, path: str) -> Path:
        first, _, rest = path.partition("/")
        return Path(self.mounts[first], rest) if first in self.mounts else Path(self.root, path)
