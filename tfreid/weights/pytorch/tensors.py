"""Tensors as checkpoints store them: views of storages of plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Callable

import ml_dtypes
import numpy as np

DAMAGED = "is cut short or damaged ({}); copy or download it again"
MAX_AXES = 32
# Larger sizes, counted in bytes, overflow NumPy's integers.
LARGEST = 2**59
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


class Unreadable(Exception):
    """Why a checkpoint cannot be read: the end of a sentence that begins with the file's name."""


def damaged(reason: object) -> Unreadable:
    """Returns the error for a file that violates its format."""
    return Unreadable(DAMAGED.format(reason))


def decode(values: np.ndarray) -> np.ndarray:
    """Copies stored values: floats of any size become float32, integers stay."""
    is_float = values.dtype.kind == "f" or values.dtype == BFLOAT16
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array(values, np.float32 if is_float else values.dtype)


@dataclass(frozen=True)
class Storage:
    """A block of numbers in a file.

    Attributes:
        key: Its name in the file.
        dtype: Little-endian type of the numbers.
        count: Number of numbers.
        read: Reads their bytes from the file.
    """

    key: str
    dtype: np.dtype
    count: int
    read: Callable[[], bytes]


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that has not been read yet; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def read(self) -> np.ndarray:
        """Reads the values: float32, or the integers of the file.

        Raises:
            Unreadable: If the storage is shorter than stated.
        """
        dtype = self.storage.dtype
        if 0 in self.shape:
            return decode(np.zeros(self.shape, dtype))
        content = self.storage.read()
        if len(content) != self.storage.count * dtype.itemsize:
            raise damaged(f"a storage of {self.storage.count} numbers has {len(content)} bytes")
        values = np.frombuffer(content, dtype)[self.offset :]
        strides = [stride * dtype.itemsize for stride in self.strides]
        return decode(np.lib.stride_tricks.as_strided(values, self.shape, strides))


def view(
    storage: Storage, offset: int, shape: Sequence[int], strides: Sequence[int]
) -> StoredTensor:
    """Checks that a tensor lies within its storage.

    Raises:
        Unreadable: If it does not, or if it has more elements than the storage.
    """
    shape, strides = tuple(shape), tuple(strides)
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, Storage) or not len(shape) == len(strides) <= MAX_AXES:
        raise damaged("a tensor has no storage, or its axes do not fit its strides")
    if any(type(number) is not int or number < 0 for number in numbers):
        raise damaged("a tensor has an invalid size")
    # NumPy multiplies the other axes of an empty array, too.
    if max(numbers) > LARGEST or math.prod(max(size, 1) for size in shape) > LARGEST:
        raise damaged("a tensor has more elements than any file")
    # PyTorch gives axes of one element any stride.
    strides = tuple(0 if size == 1 else stride for size, stride in zip(shape, strides))
    # Overlapping elements could make a huge array of a small file.
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides))
    if 0 not in shape and (last >= storage.count or math.prod(shape) > storage.count):
        raise damaged(f"a tensor of shape {shape} reaches beyond its {storage.count} numbers")
    return StoredTensor(storage, offset, shape, strides)
