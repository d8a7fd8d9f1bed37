"""The images of cuhk-03.mat, which MATLAB stored as arrays in cells of cells."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable

import numpy as np

from tfrecords.errors import UserError
from tfrecords.image_headers import CorruptImage
from tfrecords.images import MAX_PIXELS, png_of
from tfrecords.matlab import damaged, open_v73

if TYPE_CHECKING:
    import h5py

# 1_001_1_01.png: camera pair, person of the pair, view, image (1-5 in view 1, 6-10 in view 2).
_NAME = re.compile(r"(\d+)_(\d+)_\d+_(\d+)\.png")
_IMAGES_PER_VIEW = 5
# What h5py raises for damaged parts, and for variables that are not cells of arrays.
_UNREADABLE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError)


@dataclass(frozen=True)
class MatSource:
    """Encodes the arrays of one kind as PNG, without loss, one image at a time.

    Attributes:
        file: cuhk-03.mat.
        kind: "detected" or "labeled".
    """

    file: str
    kind: str

    def __str__(self) -> str:
        """Returns the file."""
        return self.file

    @contextlib.contextmanager
    def open(self) -> Iterator[Callable[[str], bytes]]:
        """Yields a function from an image's path to its bytes."""
        with open_v73(Path(self.file)) as opened:
            cells = _Cells(opened, self.kind)
            yield lambda path: _encode(cells, path.rpartition("/")[2])

    def size(self, path: str) -> int:
        """Returns the size of the .mat in bytes, -1 if it does not exist."""
        try:
            return os.stat(self.file).st_size
        except OSError:
            return -1


def missing_images(file: Path, kind: str, names: Sequence[str]) -> list[str]:
    """Returns the names that have no image in cuhk-03.mat.

    Raises:
        UserError: If the file is damaged or not CUHK03's.
    """
    with open_v73(file) as opened:
        cells = _Cells(opened, kind)
        return [name for name in names if cells.find(name) is None]


def list_mat_images(
    file: Path, kind: str
) -> tuple[list[int], list[tuple[str, int, int, int]]]:
    """Lists the images of cuhk-03.mat.

    Returns:
        The number of people in each camera pair; and for every image its name, camera pair, number
        of the person in the pair and view, all from 1.

    Raises:
        UserError: If the file is damaged or not CUHK03's.
    """
    with open_v73(file) as opened:
        return _Cells(opened, kind).images()


def read_testsets(file: Path) -> list[list[tuple[int, int]]]:
    """Reads the test sets of cuhk-03.mat: camera pair and person in the pair, from 1.

    Raises:
        UserError: If the file is damaged or not CUHK03's.
    """
    with open_v73(file) as opened:
        if "testsets" not in opened:
            raise UserError(f"{file} holds no variable testsets: take cuhk-03.mat from the release "
                            "of CUHK03, or leave out --official-testsets.")
        try:
            # [100, 2] in MATLAB; HDF5 has the axes in reverse order.
            tables = [opened[cell][()].T for cell in np.ravel(opened["testsets"][()])]
            return [[(int(pair), int(person)) for pair, person in table] for table in tables]
        except _UNREADABLE as error:
            raise damaged(file, error) from error


class _Cells:
    """The cells of an open file: five camera pairs, a row per person, a column per image."""

    def __init__(self, opened: h5py.File, kind: str):
        if kind not in opened:
            raise UserError(f"{opened.filename} holds no variable {kind}: take cuhk-03.mat from "
                            "the release of CUHK03.")
        self._opened = opened
        try:
            # HDF5 has MATLAB's axes in reverse order, here and in the images.
            self._pairs = [opened[cell][()].T for cell in np.ravel(opened[kind][()])]
        except _UNREADABLE as error:
            raise damaged(opened.filename, error) from error

    def images(self) -> tuple[list[int], list[tuple[str, int, int, int]]]:
        """Returns what `list_mat_images` does."""
        found = []
        for pair, cells in enumerate(self._pairs, start=1):
            for person, image in np.ndindex(*cells.shape):
                view = 1 if image < _IMAGES_PER_VIEW else 2
                name = f"{pair}_{person + 1:03d}_{view}_{image + 1:02d}.png"
                if self.find(name) is not None:
                    found.append((name, pair, person + 1, view))
        return [cells.shape[0] for cells in self._pairs], found

    def find(self, name: str) -> h5py.Dataset | None:
        """Returns the array of an image, or None if there is none of this name."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        pair, person, image = (int(number) - 1 for number in match.groups())
        if min(pair, person, image) < 0 or pair >= len(self._pairs):
            return None
        cells = self._pairs[pair]
        if person >= cells.shape[0] or image >= cells.shape[1]:
            return None
        try:
            array = self._opened[cells[person, image]]
            return array if array.ndim == 3 else None  # an empty cell is a vector of its sizes
        except _UNREADABLE as error:
            raise damaged(self._opened.filename, error) from error


def _encode(cells: _Cells, name: str) -> bytes:
    array = cells.find(name)
    if array is None:
        raise CorruptImage("not in the .mat")
    if array.size > 3 * MAX_PIXELS:
        raise CorruptImage(f"{array.size:,} numbers, more than {MAX_PIXELS:,} pixels have")
    try:
        pixels = array[()]
    except _UNREADABLE as error:
        raise CorruptImage("cannot be read from the .mat") from error
    if pixels.dtype != np.uint8 or pixels.shape[0] != 3 or not pixels.size:
        raise CorruptImage(
            f"not an 8-bit colour image but {pixels.dtype} of shape {pixels.T.shape}")
    return png_of(np.ascontiguousarray(pixels.T[:, :, ::-1]))
