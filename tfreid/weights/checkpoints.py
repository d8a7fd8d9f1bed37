"""Weights in the checkpoints of PyTorch toolboxes."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Union

import numpy as np

from tfrecords.errors import UserError, shortened
from tfrecords.files import regular_file
from tfreid.weights.pytorch import archive, legacy
from tfreid.weights.pytorch.pickles import NumpyArray
from tfreid.weights.pytorch.safetensors import SafeTensor, is_safetensors, read_safetensors
from tfreid.weights.pytorch.tensors import StoredTensor, Unreadable, damaged

# Keys under which toolboxes store the weights, beside epoch, optimizer and scores; of several the
# first, so that the trained weights come before their average and a student before its teacher.
WRAPPERS = ("state_dict", "model", "model_state_dict", "model_state", "net", "network", "weights",
            "params", "module", "student", "state_dict_ema", "model_ema", "params_ema", "ema")
_START = 512
LONGEST_NAME = 63  # of which a longer one loses three to dots
_TAR_MAGIC = slice(257, 262)
_Tensor = Union[StoredTensor, NumpyArray, SafeTensor]
_TENSORS = (StoredTensor, NumpyArray, SafeTensor)


def read_state_dict(path: str) -> dict[str, np.ndarray]:
    """Reads the weights in a checkpoint, without PyTorch and without running code of the file.

    The file is a safetensors file or one of `torch.save`, in the format since PyTorch 1.6 or in the
    one before, with the weights at the top level, under one of `WRAPPERS`, or under the only key
    that has named weights. Other content, such as an optimizer's state, is ignored.

    Args:
        path: The file.

    Returns:
        Arrays by the file's keys: floats of any size as float32, integers unchanged.

    Raises:
        UserError: If the file is missing, damaged, of another kind, or has more than weights.
    """
    path = os.fspath(path)
    try:
        archive.refuse_unpacked(Path(path))
        if not os.path.exists(path):
            raise UserError(f"the checkpoint {path} does not exist; check the path.")
        with open(regular_file(path, "give a checkpoint"), "rb") as file:
            weights = _find_weights(_read(file))
            _check_size(weights, os.path.getsize(path))
            return _read_tensors(weights)
    except Unreadable as error:
        raise UserError(f"{path} {' '.join(str(error).split())}.") from None


def _read(file: BinaryIO) -> Any:
    start = file.read(_START)
    file.seek(0)
    if start.startswith(archive.SIGNATURE):
        return archive.read_archive(file)
    if start.startswith(legacy.SIGNATURE):
        return legacy.read_legacy(file)
    if is_safetensors(start):
        return read_safetensors(file.name)
    raise Unreadable(_explain_kind(start))


def _read_tensors(weights: dict[str, _Tensor]) -> dict[str, np.ndarray]:
    """Reads tensors one storage after the other, since only the last storage stays in memory."""
    def storage(key):
        tensor = weights[key]
        return tensor.storage.key if isinstance(tensor, StoredTensor) else ""

    values = {key: weights[key].read() for key in sorted(weights, key=storage)}
    return {key: values[key] for key in weights}


def _explain_kind(start: bytes) -> str:
    if not start:
        return "is empty; download it again"
    if start.lstrip().startswith(b"<"):
        return "is a web page instead of a checkpoint; download the file that the page offers"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer instead of a checkpoint; fetch the file with git lfs pull"
    if start.startswith(b"\x89HDF"):
        return "is HDF5 instead of a PyTorch checkpoint; .weights.h5 files need no conversion"
    if start[_TAR_MAGIC] == b"ustar":
        return (
            "is a tar archive, PyTorch's format before version 0.2 or a packed folder; unpack it, "
            "or load it with PyTorch and save it again"
        )
    return (
        "is not a readable checkpoint; give a file written by torch.save or a .safetensors "
        "file"
    )


def _find_weights(content: Any) -> dict[str, _Tensor]:
    """Returns the named tensors, at the top level or under wrappers."""
    for _ in WRAPPERS:
        inner = _unwrap(content)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        raise Unreadable(
            f"holds a {type(content).__name__} instead of named weights; save "
            "model.state_dict() with torch.save"
        )
    weights = {
        key: value
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, _TENSORS)
    }
    if not weights:
        names = [shortened(key, LONGEST_NAME) for key in content if isinstance(key, str)]
        found = ", ".join(names[:5]) or "nothing with a name"
        raise Unreadable(
            f"holds no weights (found: {found}); give a checkpoint with weights at the top level "
            f"or under {', '.join(WRAPPERS)}"
        )
    _check_names(weights)
    return weights


def _unwrap(content: Any) -> Any:
    """Returns what a wrapper holds, or None if the content is not a wrapper."""
    if not isinstance(content, Mapping):
        return None
    wrapped = (content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping))
    inner = next(wrapped, None)
    if inner is None and not _holds_weights(content):
        others = [value for value in content.values() if _holds_weights(value)]
        inner = others[0] if len(others) == 1 else None
    return inner


def _holds_weights(content: Any) -> bool:
    """Tells whether these are weights of layers, whose names have dots, unlike an optimizer's."""
    return isinstance(content, Mapping) and any(
        isinstance(key, str) and "." in key and isinstance(value, _TENSORS)
        for key, value in content.items())


def _check_names(weights: dict[str, _Tensor]) -> None:
    """Refuses names with control characters, which a terminal would execute."""
    bad = next((key for key in weights if not key.isprintable()), None)
    if bad is not None:
        raise Unreadable(
            f"names a weight {shortened(bad, LONGEST_NAME)}, with characters that cannot be "
            "printed; rename it and save the checkpoint again"
        )


def _check_size(weights: dict[str, _Tensor], size: int) -> None:
    """Refuses a small file whose many keys refer to one large tensor."""
    if sum(math.prod(tensor.shape) for tensor in weights.values()) > size:
        raise damaged("its weights are more numbers than the file has bytes")
