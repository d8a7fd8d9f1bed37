"""MATLAB's two file formats: v5, read by SciPy, and v7.3, which is HDF5."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfrecords.errors import UserError

if TYPE_CHECKING:
    import h5py

_HEADERS = {"v5": b"MATLAB 5.0 MAT-file", "v7.3": b"MATLAB 7.3 MAT-file"}
_RELEASE = "take it from the dataset's release"
_HDF5 = b"\x89HDF\r\n\x1a\n"


def load_v5(file: Path, names: Sequence[str], fix: str = _RELEASE) -> dict[str, Any]:
    """Loads variables of a v5 file.

    Args:
        file: The file.
        names: The variables.
        fix: Where to get the file, for messages.

    Raises:
        UserError: If the file is missing, of another format or damaged, or lacks a variable.
    """
    from scipy.io import loadmat

    _check_format(file, "v5", fix)
    try:
        content = loadmat(file, variable_names=list(names))
    except Exception as error:  # SciPy's parser raises many kinds
        raise damaged(file, error) from error
    missing = [name for name in names if name not in content]
    if missing:
        raise UserError(f"{file} holds no variable {' and no '.join(missing)}: {fix}.")
    return content


def open_v73(file: Path) -> h5py.File:
    """Opens a v7.3 file for reading.

    Raises:
        UserError: If the file is missing, of another format or damaged.
    """
    import h5py

    _check_format(file, "v7.3")
    try:
        return h5py.File(file, "r")
    except OSError as error:
        raise damaged(file, error) from error


def damaged(file: str | Path, error: Exception) -> UserError:
    """Returns the error for a file that a library cannot read."""
    reason = " ".join(str(error).split())
    return UserError(f"{file} is damaged ({reason}): copy it from the dataset's release again.")


def _check_format(file: Path, wanted: str, fix: str = _RELEASE) -> None:
    if not os.path.isfile(file):
        raise UserError(f"{file} is missing or not a file: {fix}.")
    try:
        with open(file, "rb") as stream:
            start = stream.read(19)
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): fix its permissions."
                        ) from error
    found = [version for version, header in _HEADERS.items() if start == header]
    if start.startswith(_HDF5):
        found = ["v7.3"]
    if found != [wanted]:
        what = f"a MATLAB {found[0]} file" if found else "not a MATLAB file"
        raise UserError(f"{file} is {what} where a {wanted} one is expected: {fix}.")
