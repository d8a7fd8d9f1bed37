"""Weight files: HDF5 with one dataset per weight, keyed by layer and weight name.

Keras's own weight files differ between Keras 2 and 3 and name layers by their position; these load
on both, into any model that has layers of the same names.

A checksum of the whole file is one of its attributes, so that it goes wherever the file is copied.
It is found and checked without HDF5's library, which a single wrong bit can send into an endless
loop. Files from before there were checksums load without.
"""

from __future__ import annotations

import errno
import io
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import h5py
import keras
import numpy as np

from tfrecords.errors import UserError, shortened
from tfrecords.files import regular_file
from tfrecords.storage import as_path, exists, is_file, local_file, open_bytes
from tfrecords.writing import write_whole

FORMAT_VERSION = 1
_VERSION_ATTRIBUTE = "tfreid_weights_version"
_MODEL_ATTRIBUTE = "model"
_CHOSEN_ATTRIBUTE = "chosen_on"
_CHECKSUM_ATTRIBUTE = "checksum"
_CHECKSUM_MARK = b"tfreid weights, CRC-32 "
_CHECKSUM_DIGITS = 8
# What h5py raises for damaged files.
_DAMAGED = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError,
            TypeError, ValueError)
_NUMBERS = "fiub"
_START = 9


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did with each key.

    Attributes:
        loaded: Keys whose weights were assigned.
        skipped: Keys of the model or of the file that were skipped as requested.
        missing: Keys of the model that the file lacks, as allowed.
    """

    loaded: tuple[str, ...]
    skipped: tuple[str, ...]
    missing: tuple[str, ...]


def weight_keys(model: keras.Model) -> dict[str, keras.Variable]:
    """Maps the key `layer_name/weight_name` of every weight of a built model to its variable.

    The keys are the same on Keras 2 and 3; nested models do not appear in them.

    Raises:
        ValueError: If two weights share a key.
    """
    keys = {}
    for layer in _leaf_layers(model):
        for variable in layer.weights:
            key = f"{layer.name}/{variable.name.split('/')[-1].split(':')[0]}"
            if keys.setdefault(key, variable) is not variable:
                raise ValueError(f"two weights of model {model.name} share the key {key}")
    return keys


def save_weights(model: keras.Model, path: str, chosen_on: str | None = None) -> None:
    """Writes all weights of a built model; the file appears only when it is complete.

    Args:
        model: The model.
        path: The file.
        chosen_on: Images whose figures chose these weights among others, `validation` or `test`.

    Raises:
        UserError: If the file cannot be written.
    """
    values = {key: variable.numpy() for key, variable in weight_keys(model).items()}
    save_arrays(values, path, model.name, chosen_on)


def save_arrays(arrays: Mapping[str, np.ndarray], path: str, model_name: str,
                chosen_on: str | None = None) -> None:
    """Writes arrays under keys `layer_name/weight_name`, as `save_weights` does.

    Raises:
        UserError: If the file cannot be written.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs[_VERSION_ATTRIBUTE] = FORMAT_VERSION
        file.attrs[_MODEL_ATTRIBUTE] = model_name
        if chosen_on is not None:
            file.attrs[_CHOSEN_ATTRIBUTE] = chosen_on
        file.attrs[_CHECKSUM_ATTRIBUTE] = np.bytes_(_CHECKSUM_MARK + b"0" * _CHECKSUM_DIGITS)
        for key, array in arrays.items():
            file[key] = array
    content = bytearray(buffer.getbuffer())
    _, place, checksum = _checksums(content)
    content[place : place + _CHECKSUM_DIGITS] = checksum
    _write(content, as_path(path))


def load_weights(
    model: keras.Model,
    path: str,
    skip: Sequence[str] = (),
    allow_missing: Sequence[str] = (),
) -> LoadReport:
    """Assigns the weights in a file to a built model: all of them or, if any does not fit, none.

    Args:
        model: The model.
        path: File written by `save_weights`.
        skip: Prefixes of keys to ignore in the model and in the file.
        allow_missing: Prefixes of keys of the model that may be absent from the file.

    Returns:
        What happened to each key.

    Raises:
        UserError: If the file is absent, damaged or not a weight file, or its weights are not
            finite or do not fit the model.
    """
    variables = weight_keys(model)
    values = read_arrays(path)
    skip, allow_missing = tuple(skip), tuple(allow_missing)
    everything = sorted({*variables, *values})
    skipped = [key for key in everything if key.startswith(skip)]
    wanted = [key for key in everything if not key.startswith(skip)]
    absent = [key for key in wanted if key not in values]
    missing = [key for key in absent if not key.startswith(allow_missing)]
    unexpected = [key for key in wanted if key not in variables]
    shared = [key for key in wanted if key in values and key in variables]
    misshaped = [key for key in shared if values[key].shape != tuple(variables[key].shape)]
    _refuse_misfits(path, missing, unexpected, misshaped)
    for key in shared:
        variables[key].assign(values[key])
    return LoadReport(tuple(shared), tuple(skipped), tuple(absent))


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """Maps every key in a weight file to its weight; `save_arrays` writes changed ones.

    Raises:
        UserError: If the file is absent, damaged or not a weight file, or a weight is not finite.
    """
    values = _read(path, np.asarray)
    check_finite(values, path)
    return values


def read_chosen_on(path: str) -> str | None:
    """Returns what `save_weights` was told of the choice of the weights, None if nothing.

    Raises:
        UserError: If the file is absent or not a weight file.
    """
    known = _open(path, lambda file: file.attrs.get(_CHOSEN_ATTRIBUTE))
    return known if isinstance(known, str) else None


def read_shapes(path: str) -> dict[str, tuple[int, ...]]:
    """Maps every key in a weight file to the shape of its weight, without reading the weights.

    Raises:
        UserError: If the file is absent or not a weight file.
    """
    return _read(path, lambda dataset: dataset.shape)


def check_finite(weights: Mapping[str, np.ndarray], source: str | os.PathLike) -> None:
    """Refuses weights that are not finite; a network computes features of any kind from them.

    Args:
        weights: Arrays by their keys.
        source: Where they come from, for the message.

    Raises:
        UserError: If an array holds NaN or infinity.
    """
    broken = [key for key, array in weights.items() if not np.isfinite(array).all()]
    if broken:
        raise UserError(
            f"{os.fspath(source)}: {len(broken)} of {len(weights)} weights hold NaN or infinity "
            f"(first: {broken[0]}); its training diverged, so give weights from before that."
        )


def _leaf_layers(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaf_layers(layer)
        else:
            yield layer


def _read(path, convert):
    """Returns what `convert` makes of each dataset, by its key."""
    return _open(path, lambda file: {
        key: convert(dataset) for key, dataset in _datasets(path, file).items()})


def _open(path, read):
    """Returns what `read` makes of the open file."""
    path = os.fspath(path)
    _refuse_other_kinds(path)
    try:
        with local_file(path) as local:
            _check_checksum(path, local)
            with h5py.File(local, "r") as file:
                version = file.attrs.get(_VERSION_ATTRIBUTE)
                if version == FORMAT_VERSION:
                    return read(file)
    except _DAMAGED as error:
        raise _damaged(path, _one_line(error)) from error
    if version is None:
        raise UserError(
            f"{path} is an HDF5 file that this project did not write; give a .weights.h5 file "
            "saved by it or convert the weights first."
        )
    raise UserError(
        f"{path} has version {_one_line(version)} of the weight format and only version "
        f"{FORMAT_VERSION} can be read; update this project or save the weights again."
    )


def _datasets(path, file):
    """Returns the datasets of an open file, after checks of what they claim to hold."""
    datasets = {}
    file.visititems(lambda key, item: datasets.update({key: item})
                    if isinstance(item, h5py.Dataset) else None)
    for key, item in datasets.items():
        elsewhere = item.is_virtual or item.external
        if item.shape is None or item.dtype.kind not in _NUMBERS or elsewhere:
            raise _damaged(path, f"{_one_line(key)} holds no numbers")
    # A few bytes can declare any size: what was never written is read as zeros.
    size = sum(item.size * item.dtype.itemsize for item in datasets.values())
    if size > as_path(path).stat().st_size:
        raise _damaged(path, f"it declares {size:,} bytes of weights, more than it has")
    return datasets


def _check_checksum(path, local):
    with open(local, "rb") as file:
        stored, _, checksum = _checksums(file.read())
    if stored != checksum:
        raise _damaged(path, "its checksum is not the one with which it was saved")


def _checksums(content):
    """Returns a file's checksum in it, the place of this, and the checksum that it should be.

    The latter is the CRC-32 of the content with zeros in place of the checksum, as 8 hexadecimal
    digits. All are None if the file has no checksum.
    """
    place = content.find(_CHECKSUM_MARK)
    if place < 0:
        return None, None, None
    place += len(_CHECKSUM_MARK)
    end = place + _CHECKSUM_DIGITS
    with memoryview(content) as view:
        checksum = zlib.crc32(view[:place])
        checksum = zlib.crc32(b"0" * _CHECKSUM_DIGITS, checksum)
        checksum = zlib.crc32(view[end:], checksum)
        return bytes(view[place:end]), place, b"%08x" % checksum


def _refuse_other_kinds(path):
    """Refuses what is not a file, and files of other programs that users mistake for weights."""
    fix = "give a weight file, such as checkpoints/last.weights.h5 of a run"
    if is_file(f"{path}.index") or (path.endswith(".index") and is_file(path)):
        raise UserError(f"{path} is a checkpoint for resuming, which only the TensorFlow that "
                        f"wrote it reads; {fix}, which every supported TensorFlow loads.")
    if not exists(path):
        raise UserError(f"the weight file {path} does not exist; {fix}.")
    with open_bytes(regular_file(path, fix)) as file:
        start = file.read(_START)
    if start[:2] in (b"PK", b"\x80\x02") or start[8:9] == b"{":
        raise UserError(f"{path} looks like a file of PyTorch or Keras instead of a .weights.h5 "
                        "file; convert PyTorch's by `tfreid convert`, and give the result.")


def _damaged(path, reason):
    return UserError(
        f"{path} is not a readable weight file ({reason}); give a .weights.h5 file written by this "
        "project, or copy it again if it was damaged."
    )


def _refuse_misfits(path, missing, unexpected, misshaped):
    counts = [
        f"{len(keys)} {kind} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for kind, keys in [
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", misshaped),
        ]
        if keys
    ]
    if counts:
        raise UserError(
            f"the weights in {path} do not fit the model: {', '.join(counts)}; they are probably "
            "weights of another architecture, so check the model settings or give another file."
        )


def _write(content, path):
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UserError(
            f"cannot write the weight file {path} ({error.strerror}); choose another place."
        ) from error


def _one_line(text):
    """Returns the beginning of a text of a damaged file."""
    return shortened(" ".join(str(text).split()), 200)
