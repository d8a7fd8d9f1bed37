"""Paths on this machine, or URLs of the file systems that TensorFlow knows (gs://, s3://, hdfs://).

The layer is thin: TensorFlow's `tf.io.gfile` does the work.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, Union

from tfrecords.errors import UserError, shortened

_MARK = "://"


class RemoteStat(NamedTuple):
    """What is known of a remote file: its bytes."""

    st_size: int


@functools.total_ordering
class RemotePath(os.PathLike):
    """A URL with the part of `pathlib.Path` that is used here; folders need not be made.

    Errors are those of `Path`, with the URL as file name.

    Args:
        url: For example `gs://bucket/records`.

    Raises:
        UserError: If TensorFlow has no file system for it.
    """

    def __init__(self, url: str):
        scheme, _, rest = url.partition(_MARK)
        self._scheme, self._path = scheme, PurePosixPath(rest)

    def __str__(self) -> str:
        return f"{self._scheme}{_MARK}{self._path}"

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    __fspath__ = __str__

    def __truediv__(self, name: str | os.PathLike) -> RemotePath:
        return self._like(self._path / name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and str(self) == str(other)

    def __lt__(self, other: RemotePath) -> bool:
        return str(self) < str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def _like(self, path: PurePosixPath) -> RemotePath:
        return RemotePath(f"{self._scheme}{_MARK}{path}")

    # Names.

    @property
    def name(self) -> str:
        """The last part."""
        return self._path.name

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return self._path.stem

    @property
    def suffix(self) -> str:
        """The end of the last part, from its last dot on."""
        return self._path.suffix

    @property
    def parent(self) -> RemotePath:
        """The folder; of a bucket the bucket itself."""
        return self._like(self._path.parent) if len(self._path.parts) > 1 else self

    def with_name(self, name: str) -> RemotePath:
        """Returns the path with another last part."""
        return self._like(self._path.with_name(name))

    def with_suffix(self, suffix: str) -> RemotePath:
        """Returns the path with another suffix."""
        return self._like(self._path.with_suffix(suffix))

    def relative_to(self, other: RemotePath) -> PurePosixPath:
        """Returns the path inside a folder."""
        return self._path.relative_to(other._path)

    def absolute(self) -> RemotePath:
        """Returns the path itself."""
        return self

    resolve = absolute

    # The file system.

    def exists(self) -> bool:
        """Returns whether there is a file or a folder."""
        return self._ask("exists")

    def is_dir(self) -> bool:
        """Returns whether there is a folder."""
        return self._ask("isdir")

    def is_file(self) -> bool:
        """Returns whether there is a file."""
        return self.exists() and not self.is_dir()

    def stat(self) -> RemoteStat:
        """Returns the size."""
        return RemoteStat(self._ask("stat").length)

    def mkdir(self, parents: bool = True, exist_ok: bool = True) -> None:
        """Makes the folder and those around it, where the store has folders."""
        self._ask("makedirs")

    def iterdir(self) -> Iterator[RemotePath]:
        """Yields what is in the folder."""
        for name in self._ask("listdir"):
            yield self / name.rstrip("/")

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """Yields what is in the folder and has a name of the pattern, which has no slash."""
        if self.is_dir():
            yield from (path for path in self.iterdir() if fnmatch.fnmatch(path.name, pattern))

    def rglob(self, pattern: str) -> Iterator[RemotePath]:
        """As `glob`, of all folders below too."""
        for path in self.iterdir():
            if fnmatch.fnmatch(path.name, pattern):
                yield path
            if path.is_dir():
                yield from path.rglob(pattern)

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes the file."""
        with contextlib.suppress(*(FileNotFoundError,) * missing_ok):
            self._ask("remove")

    def open(self, mode: str = "rb") -> BinaryIO:
        """Opens the file for reading bytes."""
        with _errors_of(self):
            return _gfile().GFile(str(self), mode)

    def read_bytes(self) -> bytes:
        """Reads the file."""
        with _errors_of(self), self.open() as stream:
            return stream.read()

    def replace(self, target: RemotePath) -> None:
        """Renames the file, over another one."""
        self._ask("rename", str(target), overwrite=True)

    def _ask(self, name, *arguments, **options):
        with _errors_of(self):
            return getattr(_gfile(), name)(str(self), *arguments, **options)


AnyPath = Union[Path, RemotePath]


def as_path(path: str | os.PathLike) -> AnyPath:
    """Returns the path that a text names: of this machine, or remote if it is a URL."""
    if isinstance(path, (Path, RemotePath)):
        return path
    text = os.fspath(path)
    return RemotePath(text) if is_remote(text) else Path(text)


def is_remote(path: str | os.PathLike) -> bool:
    """Returns whether a path is a URL."""
    return _MARK in os.fspath(path)


def exists(path: str | os.PathLike) -> bool:
    """Returns whether there is a file or folder; False for what cannot be a name or be reached."""
    return as_path(path).exists() if is_remote(path) else os.path.exists(path)


def is_file(path: str | os.PathLike) -> bool:
    """Returns whether there is a file; False for what cannot be a name or be reached."""
    return as_path(path).is_file() if is_remote(path) else os.path.isfile(path)


def open_bytes(path: str | os.PathLike) -> BinaryIO:
    """Opens a file for reading bytes."""
    path = as_path(path)
    return path.open("rb")


@contextlib.contextmanager
def local_file(path: str | os.PathLike) -> Iterator[Path]:
    """Gives the body a file on this machine: the file itself, or a temporary copy of a remote one.

    Raises:
        OSError: If it cannot be read.
    """
    if not is_remote(path):
        yield Path(path)
        return
    remote = as_path(path)
    with tempfile.TemporaryDirectory(prefix="tfreid-") as folder:
        copy = Path(folder) / remote.name
        copy_file(remote, copy)
        yield copy


def copy_file(source: AnyPath, target: AnyPath) -> None:
    """Copies a file, over another one."""
    if isinstance(source, Path) and isinstance(target, Path):
        shutil.copyfile(source, target)
        return
    with _errors_of(source if isinstance(source, RemotePath) else target):
        _gfile().copy(str(source), str(target), overwrite=True)


def copy_tree(source: AnyPath, target: AnyPath, last: str = "") -> None:
    """Copies the files in and below a folder, the one named `last` after all others."""
    files = [path for path in source.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: (path.name == last, path)):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy_file(path, copy)


def remove_tree(folder: AnyPath) -> None:
    """Removes a folder, if it is there."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        folder._ask("rmtree")


@functools.cache
def _gfile():
    from tfrecords.writer import import_tensorflow

    gfile = import_tensorflow().io.gfile
    with contextlib.suppress(ImportError):
        import tensorflow_io  # noqa: F401  # adds s3:// and hdfs://
    return gfile


@contextlib.contextmanager
def _errors_of(path: AnyPath) -> Iterator[None]:
    """Turns TensorFlow's errors into those of `Path`."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.UnimplementedError:
        raise UserError(f"{path}: TensorFlow has no file system for this kind of URL; correct it, "
                        "or install tensorflow-io, which has s3:// and hdfs://.") from None
    except tf.errors.NotFoundError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
    except (tf.errors.PermissionDeniedError, tf.errors.UnauthenticatedError) as error:
        raise PermissionError(errno.EACCES, _reason(error), str(path)) from None
    except tf.errors.OpError as error:
        raise OSError(errno.EIO, _reason(error), str(path)) from None


def _reason(error):
    return shortened(" ".join(str(error.message).split()), 200)
