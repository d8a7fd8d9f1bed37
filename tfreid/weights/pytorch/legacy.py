"""The format of `torch.save` before PyTorch 1.6: five pickles, then the storages."""

from __future__ import annotations

import functools
import mmap
import os
import struct
from typing import Any, BinaryIO

from tfreid.weights.pytorch.pickles import storage_description, unpickle
from tfreid.weights.pytorch.tensors import Storage, Unreadable, damaged

SIGNATURE = b"\x80"
_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_COUNT = struct.Struct("<q")


def read_legacy(file: BinaryIO) -> Any:
    """Reads the object in an old checkpoint; its tensors are read later.

    Raises:
        Unreadable: If the file is damaged, or holds more than plain weights.
    """
    # A mapped file allocates what it contains, not what a pickle claims.
    file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if unpickle(file, _refuse_storage) != _MAGIC:
        raise Unreadable(
            "is a pickle that torch.save did not write; load it in Python if you trust its origin "
            "and save the weights by torch.save or as .safetensors"
        )
    if unpickle(file) != _VERSION:
        raise Unreadable("has an unknown version of the format; save it again with PyTorch")
    system = unpickle(file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise Unreadable("holds big-endian numbers; save it again on a little-endian machine")
    storages = {}
    places = {}

    # Tensors that share a storage are read one after the other.
    @functools.lru_cache(maxsize=1)
    def read_data(key):
        return _read_storage(file, places, key)

    def load_storage(identifier):
        dtype, key, count = storage_description(identifier)
        read = functools.partial(read_data, key)
        return storages.setdefault(key, Storage(key, dtype, count, read))

    content = unpickle(file, load_storage)
    _find_storages(file, unpickle(file), storages, places)
    return content


def _refuse_storage(identifier):
    raise Unreadable(
        "is the data.pkl of an unpacked checkpoint, whose numbers are in other files; give the "
        "whole checkpoint"
    )


def _find_storages(file, keys, storages, places):
    """Stores the position and the number of each storage's bytes in `places`."""
    if not isinstance(keys, list):
        raise damaged("its list of storages is missing")
    for key in keys:
        storage = storages.get(key) if isinstance(key, str) else None
        header = file.read(_COUNT.size)
        if storage is None or len(header) != _COUNT.size:
            raise damaged("its list of storages does not fit its tensors")
        size = storage.count * storage.dtype.itemsize
        if _COUNT.unpack(header)[0] != storage.count or file.tell() + size > len(file):
            raise damaged(f"storage {key} is not of {storage.count} numbers")
        places[key] = (file.tell(), size)
        file.seek(size, os.SEEK_CUR)


def _read_storage(file, places, key):
    if key not in places:
        raise damaged(f"storage {key} is missing")
    place, size = places[key]
    file.seek(place)
    return file.read(size)
