"""The zip format of `torch.save` since PyTorch 1.6."""

from __future__ import annotations

import functools
import io
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from tfreid.weights.pytorch.pickles import storage_description, unpickle
from tfreid.weights.pytorch.tensors import Storage, Unreadable, damaged

SIGNATURE = b"PK\x03\x04"
_PICKLE = "data.pkl"
_PACK = "pack it without compression, zip -0 -r FILE.pth FOLDER, or give the original file"
# What zipfile raises for damaged archives.
_DAMAGED = (
    *(zipfile.BadZipFile, EOFError, NotImplementedError, OSError, RuntimeError),
    *(struct.error, ValueError),
)


def read_archive(file: BinaryIO) -> Any:
    """Reads the object in a zip checkpoint; its tensors can be read while the file is open.

    Raises:
        Unreadable: If the file is damaged, or holds more than plain weights.
    """
    try:
        archive = zipfile.ZipFile(file)
    except _DAMAGED as error:
        raise damaged(error) from None
    names = archive.namelist()
    pickles = [name for name in names if name == _PICKLE or name.endswith(f"/{_PICKLE}")]
    root = pickles[0][: -len(_PICKLE)] if pickles else ""
    if f"{root}constants.pkl" in names:
        raise Unreadable(
            "is a TorchScript program; save only its weights in PyTorch, "
            "torch.save(torch.jit.load(FILE).state_dict(), OTHER)"
        )
    if len(pickles) != 1:
        raise Unreadable(
            "is a zip archive that torch.save did not write; if it holds a checkpoint file, unpack "
            "it and give that file"
        )
    read = functools.partial(_read_entry, archive)
    if f"{root}byteorder" in names and read(f"{root}byteorder") != b"little":
        raise Unreadable("holds big-endian numbers; save it again on a little-endian machine")

    # Tensors that share a storage are read one after the other.
    @functools.lru_cache(maxsize=1)
    def read_data(key):
        return read(f"{root}data/{key}")

    def load_storage(identifier):
        dtype, key, count = storage_description(identifier)
        return Storage(key, dtype, count, functools.partial(read_data, key))

    return unpickle(io.BytesIO(read(pickles[0])), load_storage)


def refuse_unpacked(path: Path) -> None:
    """Raises `Unreadable` for the folder that unpacking a checkpoint makes."""
    if any((*path.glob(_PICKLE), *path.glob(f"*/{_PICKLE}"))):
        raise Unreadable(f"is the folder of an unpacked checkpoint; {_PACK}")


def _read_entry(archive, name):
    try:
        entry = archive.getinfo(name)
    except KeyError:
        raise damaged(f"its part {name} is missing") from None
    if entry.compress_type != zipfile.ZIP_STORED:
        raise Unreadable(
            f"is a compressed zip archive, which torch.save never writes; unpack it and {_PACK}"
        )
    try:
        return archive.read(entry)
    except _DAMAGED as error:
        raise damaged(error) from None
