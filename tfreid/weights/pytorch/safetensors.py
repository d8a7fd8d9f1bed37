"""Files of the safetensors library, whose tensors are read one by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from safetensors import SafetensorError, safe_open

from tfreid.weights.pytorch.tensors import Unreadable, damaged, decode

# NumPy has BF16 from the ml_dtypes that `tensors` imports.
_TYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")


@dataclass(frozen=True)
class SafeTensor:
    """A tensor of an open file that has not been read yet."""

    file: safe_open
    key: str
    shape: tuple[int, ...]

    def read(self) -> np.ndarray:
        """Reads the values: float32, or the integers of the file.

        Raises:
            Unreadable: If NumPy has no arrays of the tensor's shape.
        """
        try:
            return decode(self.file.get_tensor(self.key))
        except (SafetensorError, ValueError, OverflowError) as error:
            raise damaged(error) from None


def is_safetensors(start: bytes) -> bool:
    """Tells from the first nine bytes whether a file is of this format."""
    return len(start) > 8 and start[8:9] == b"{"


def read_safetensors(path: str) -> dict[str, SafeTensor]:
    """Reads the header; the tensors are read later.

    Raises:
        Unreadable: If the file is damaged, or holds numbers of an unknown type.
    """
    try:
        file = safe_open(path, "numpy")
        entries = {key: file.get_slice(key) for key in file.offset_keys()}
    except SafetensorError as error:
        raise damaged(error) from None
    for entry in entries.values():
        if entry.get_dtype() not in _TYPES:
            raise Unreadable(f"holds numbers of type {entry.get_dtype()}; save them as F32")
    return {key: SafeTensor(file, key, tuple(entry.get_shape()))
            for key, entry in entries.items()}
