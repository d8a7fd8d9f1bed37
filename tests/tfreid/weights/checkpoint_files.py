"""Writers of checkpoints as PyTorch and safetensors make them, without PyTorch."""

from __future__ import annotations

import collections
import io
import json
import pickle
import struct
import sys
import types
import zipfile

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C


class Storage:
    """What a tensor of PyTorch views, with the name of its type."""

    def __init__(self, array, name="Float", key="0", count=None):
        self.bytes = np.ascontiguousarray(array).tobytes()
        self.name, self.key = name, key
        self.size = array.size
        self.count = array.size if count is None else count


class Tensor:
    """Pickles as PyTorch's tensors do."""

    def __init__(self, storage, shape, strides, offset=0):
        self.arguments = (storage, offset, shape, strides, False, collections.OrderedDict())

    def __reduce_ex__(self, protocol):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


def tensor(array, name="Float", key="0", **settings):
    strides = tuple(stride // array.itemsize for stride in array.strides)
    return Tensor(Storage(array, name, key), array.shape, strides, **settings)


def name_torch(monkeypatch):
    """Modules whose names the pickles refer to; the readers never see them."""
    torch, inner = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Bool", "ComplexFloat"):
        setattr(torch, f"{name}Storage", type(f"{name}Storage", (), {"__module__": "torch"}))
    for name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
        function = types.FunctionType((lambda: None).__code__, {}, name)
        function.__module__, function.__qualname__ = "torch._utils", name
        setattr(inner, name, function)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", inner)


def dump(content, protocol=2, legacy=False):
    """Pickles with the identifiers that PyTorch gives storages, and returns these too."""
    storages = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if not isinstance(item, Storage):
                return None
            storages[item.key] = item
            kind = getattr(sys.modules["torch"], f"{item.name}Storage")
            identifier = ("storage", kind, item.key, "cpu", item.count)
            return (*identifier, None) if legacy else identifier

    buffer = io.BytesIO()
    Pickler(buffer, protocol).dump(content)
    return buffer.getvalue(), storages


def write_zip(path, content, protocol=2, order=b"little", compression=zipfile.ZIP_STORED):
    pickled, storages = (content, {}) if isinstance(content, bytes) else dump(content, protocol)
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/byteorder", order)
        for storage in storages.values():
            file.writestr(f"archive/data/{storage.key}", storage.bytes)
    return path


def write_legacy(path, content, protocol=2, order=True):
    is_pickled = isinstance(content, bytes)
    pickled, storages = (content, {}) if is_pickled else dump(content, protocol, legacy=True)
    parts = [pickle.dumps(x, 2) for x in (MAGIC, 1001, {"little_endian": order})]
    parts += [pickled, pickle.dumps(sorted(storages), 2)]
    for key in sorted(storages):
        parts += [struct.pack("<q", storages[key].size), storages[key].bytes]
    path.write_bytes(b"".join(parts))
    return path


def write_safetensors(path, entries, data=b"", length=None):
    header = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", length or len(header)) + header + data)
    return path


WRITERS = {"zip": write_zip, "legacy": write_legacy}
