"""The safetensors format: the length of a JSON header, the header, the bytes of the tensors."""

from __future__ import annotations

import functools
import json
import math
import os
import struct
from typing import BinaryIO

from tfreid.weights.pytorch import tensors
from tfreid.weights.pytorch.tensors import Storage, StoredTensor, Unreadable, damaged, view

_LENGTH = struct.Struct("<Q")
_ELEMENTS = {
    "F64": tensors.FLOAT64,
    "F32": tensors.FLOAT32,
    "F16": tensors.FLOAT16,
    "BF16": tensors.BFLOAT16,
    "I64": tensors.INT64,
    "I32": tensors.INT32,
    "I16": tensors.INT16,
    "I8": tensors.INT8,
    "U8": tensors.UINT8,
    "BOOL": tensors.BOOL,
}


def is_safetensors(start: bytes) -> bool:
    """Tells from the first nine bytes whether a file is of this format."""
    return len(start) > _LENGTH.size and start[_LENGTH.size : _LENGTH.size + 1] == b"{"


def read_safetensors(file: BinaryIO) -> dict[str, StoredTensor]:
    """Reads the header; the tensors are read later, while the file is open.

    Raises:
        Unreadable: The file is damaged, or holds numbers of an unknown type.
    """
    (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
    data = _LENGTH.size + length
    end = os.fstat(file.fileno()).st_size
    if data > end:
        raise damaged("its header is longer than the file")
    try:
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        return {key: _tensor(file, data, end, **entry) for key, entry in header.items()}
    except (AttributeError, RecursionError, TypeError, ValueError) as error:
        raise damaged(f"its header cannot be read: {error}") from None


def _tensor(file, data, end, dtype, shape, data_offsets):
    if dtype not in _ELEMENTS:
        raise Unreadable(f"holds numbers of type {dtype}; save them as F32")
    start, stop = data_offsets
    if type(start) is not int or type(stop) is not int or not 0 <= start <= stop <= end - data:
        raise damaged("a tensor lies outside the file")
    element = _ELEMENTS[dtype]
    count = (stop - start) // element.stored.itemsize
    shape = shape[: tensors.MAX_AXES + 1]
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    storage = Storage(element, count, functools.partial(_read, file, data + start, stop - start))
    tensor = view(storage, 0, shape, strides)
    if math.prod(tensor.shape) * element.stored.itemsize != stop - start:
        raise damaged(f"a tensor of shape {tensor.shape} has {stop - start} bytes")
    return tensor


def _read(file, start, size):
    file.seek(start)
    return file.read(size)
