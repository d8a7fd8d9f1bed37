"""Weight files: HDF5 with one dataset per weight, keyed by layer and weight name.

Keras's own weight files differ between Keras 2 and 3 and name layers by their position; these load
on both, into any model that has layers of the same names.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import keras
import numpy as np

from tfrecords.errors import UserError
from tfrecords.writing import write_whole

FORMAT_VERSION = 1
_VERSION_ATTRIBUTE = "tfreid_weights_version"
_MODEL_ATTRIBUTE = "model"


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


def save_weights(model: keras.Model, path: str) -> None:
    """Writes all weights of a built model; the file appears only when it is complete.

    Raises:
        UserError: If the file cannot be written.
    """
    values = {key: variable.numpy() for key, variable in weight_keys(model).items()}
    save_arrays(values, path, model.name)


def save_arrays(arrays: Mapping[str, np.ndarray], path: str, model_name: str) -> None:
    """Writes arrays under keys `layer_name/weight_name`, as `save_weights` does.

    Raises:
        UserError: If the file cannot be written.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs[_VERSION_ATTRIBUTE] = FORMAT_VERSION
        file.attrs[_MODEL_ATTRIBUTE] = model_name
        for key, array in arrays.items():
            file[key] = array
    _write(buffer.getbuffer(), Path(path))


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
        UserError: If the file is absent or not a weight file, or its weights do not fit the model.
    """
    variables = weight_keys(model)
    values = _read(path)
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


def read_shapes(path: str) -> dict[str, tuple[int, ...]]:
    """Maps every key in a weight file to the shape of its weight, without reading the weights.

    Raises:
        UserError: If the file is absent or not a weight file.
    """
    return _read(path, lambda dataset: dataset.shape)


def _leaf_layers(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaf_layers(layer)
        else:
            yield layer


def _read(path, convert=np.asarray):
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise UserError(f"the weight file {path} does not exist; check the path.")
    try:
        with h5py.File(path, "r") as file:
            version = file.attrs.get(_VERSION_ATTRIBUTE)
            content = {}
            if version == FORMAT_VERSION:
                file.visititems(
                    lambda key, item: content.update({key: convert(item)})
                    if isinstance(item, h5py.Dataset)
                    else None
                )
    except OSError as error:
        raise UserError(
            f"{path} is not a readable HDF5 file ({_first_line(error)}); give a .weights.h5 file "
            "written by this project, or copy it again if it was cut short."
        ) from error
    if version is None:
        raise UserError(
            f"{path} is an HDF5 file that this project did not write; give a .weights.h5 file "
            "saved by it or convert the weights first."
        )
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path} has version {version} of the weight format and only version "
            f"{FORMAT_VERSION} can be read; update this project or save the weights again."
        )
    return content


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


def _first_line(error):
    return str(error).splitlines()[0]
