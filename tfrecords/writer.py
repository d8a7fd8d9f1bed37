"""Writes a shard: reads its images, checks them and stores them as records."""

from __future__ import annotations

import contextlib
import errno
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tfrecords.errors import UserError
from tfrecords.files import file_checksum
from tfrecords.image_headers import CorruptImage
from tfrecords.images import MAX_PIXELS, stored_image
from tfrecords.manifest import Shard
from tfrecords.scan import ImageEntry, PackedImages
from tfrecords.schema import encode_record
from tfrecords.self_matches import image_digest
from tfrecords.source import ImageSource
from tfrecords.storage import as_path
from tfrecords.writing import whole_file

_FRAME_BYTES = 16  # TFRecord stores a length and two checksums around each record


class ShardJob(NamedTuple):
    """All that a worker needs to write one shard.

    `labels` has one training label per image; `fingerprint` is a hash of the whole content. The
    images are packed when a job is pickled for a worker.
    """

    file: str
    split: str
    source: ImageSource
    images: list[ImageEntry] | PackedImages
    labels: Sequence[int]
    fingerprint: str

    def __reduce__(self):
        """Packs the images: pickled one by one they would take several times their memory."""
        return ShardJob, (self.file, self.split, self.source, PackedImages(self.images),
                          array("q", self.labels), self.fingerprint)


class ShardResult(NamedTuple):
    """The result of a job; `shard` is None if corrupt images prevented it from being written.

    `blemished` has the path of each image that was written although its decoder found fault with
    it, at no cost of pixels, and what it printed. `digests` has those of the images that were
    written, one after the other.
    """

    job_file: str
    shard: Shard | None
    corrupt: list[tuple[str, str]]
    digests: bytes = b""
    blemished: Sequence[tuple[str, str]] = ()


def write_shard(
    job: ShardJob,
    output: str | os.PathLike,
    skip_corrupt: bool,
    advance: Callable[[int], object],
    max_pixels: int = MAX_PIXELS,
) -> ShardResult:
    """Writes a shard under a temporary name and renames it when it is complete.

    All images are read even if one is corrupt, so that the user learns of all of them at once.

    Args:
        job: What to write.
        output: An existing folder.
        skip_corrupt: Whether to leave corrupt images out; otherwise one of them prevents the shard
            from being written.
        advance: Called with 1 after each image; whatever it raises ends the work.
        max_pixels: Images of more pixels count as corrupt.

    Returns:
        The shard, and the path and reason of each corrupt image.

    Raises:
        OSError: If the disk is full (ENOSPC).
        UserError: If the folder cannot be written for another reason.
    """
    path = as_path(output) / job.file
    corrupt: list[tuple[str, str]] = []
    blemished: list[tuple[str, str]] = []
    digests, images, size = bytearray(), 0, 0
    with contextlib.suppress(_Unwanted), whole_file(path) as temporary:
        with open_records(temporary) as write, job.source.open() as read:
            for entry, label in zip(job.images, job.labels):
                try:
                    data, info = stored_image(read(entry.path), max_pixels)
                except CorruptImage as error:
                    corrupt.append((entry.path, str(error)))
                else:
                    if info.remark:
                        blemished.append((entry.path, info.remark))
                    record = encode_record(
                        data, info.format, info.height, info.width, entry.path, entry.person_id,
                        label, entry.camera_id, entry.tracklet_id)
                    write(record)
                    digests += image_digest(data)
                    images += 1
                    size += len(record) + _FRAME_BYTES
                advance(1)
        if corrupt and not skip_corrupt:
            raise _Unwanted
        # A failed last flush does not always surface as an error of the writer.
        if temporary.stat().st_size != size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        shard = Shard(job.file, images, size, file_checksum(temporary))
        return ShardResult(job.file, shard, corrupt, bytes(digests), blemished)
    return ShardResult(job.file, None, corrupt)


class _Unwanted(Exception):
    """Ends the writing of a shard of which nothing is to be kept."""


@contextlib.contextmanager
def open_records(path: Path) -> Iterator[Callable[[bytes], None]]:
    """Opens a record file; TensorFlow's own errors become `OSError` (disk full) or `UserError`."""
    tf = import_tensorflow()
    try:
        with tf.io.TFRecordWriter(str(path)) as writer:
            yield writer.write
    except tf.errors.OpError as error:
        if os.strerror(errno.ENOSPC) in error.message:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise UserError(f"{path} cannot be written ({error.message}): fix the folder and run the "
                        "same command again.") from error


def import_tensorflow():
    """Imports TensorFlow without the native log lines that would break up the progress bar."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    stderr = os.dup(2)
    with open(os.devnull, "wb") as sink:
        os.dup2(sink.fileno(), 2)
    try:
        import tensorflow
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    return tensorflow
