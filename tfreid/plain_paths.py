"""Paths without the characters that TensorFlow takes for patterns."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tfrecords.storage import as_path, is_remote

_PATTERN = re.compile(r"[*?\[\]\\]")


@contextlib.contextmanager
def plain_path(folder: str | Path) -> Iterator[Path]:
    r"""Yields a path of a folder without `*`, `?`, `[`, `]` and `\`.

    TensorFlow finds checkpoints and the variables of a SavedModel by patterns, so it does not find
    those in a folder such as `runs/lr[3e-4]`. For it the path is a temporary symbolic link.
    """
    folder = as_path(folder)
    if is_remote(folder) or not _PATTERN.search(str(folder.absolute())):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="tfreid-") as temporary:
        link = Path(temporary) / "folder"
        link.symlink_to(folder.absolute(), target_is_directory=True)
        yield link
