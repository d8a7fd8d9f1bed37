"""Sources of the encoded images of a dataset: files, bitmaps, and boxes cut out of scenes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Protocol

from tfrecords.images import CorruptImage, png_of_bitmap


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
            return self._file(path).read_bytes()
        except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
            raise CorruptImage(error.strerror) from error

    def _file(self, path: str) -> Path:
        first, _, rest = path.partition("/")
        return Path(self.mounts[first], rest) if first in self.mounts else Path(self.root, path)


class BitmapSource(FolderSource):
    """Image files below a folder; bitmaps are converted to PNG."""

    def _read(self, path: str) -> bytes:
        data = super()._read(path)
        return png_of_bitmap(data) if path.lower().endswith(".bmp") else data
