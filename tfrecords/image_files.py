"""Image files of users, read whole and checked."""

from __future__ import annotations

from pathlib import Path

from tfrecords.errors import UserError
from tfrecords.files import regular_file
from tfrecords.image_headers import MAX_BYTES, CorruptImage
from tfrecords.images import stored_image
from tfrecords.storage import open_bytes


def read_bytes(path: str | Path) -> bytes:
    """Returns the bytes of a file, at most one more than an image file may have.

    Raises:
        UserError: If it cannot be read.
    """
    try:
        with open_bytes(regular_file(path, "check the path")) as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check the path.") from None


def read_file(path: str | Path, least_side: int = 1) -> bytes:
    """Returns an image file as a JPEG or PNG of what a viewer shows, as records store it.

    Args:
        path: The file.
        least_side: Images of fewer pixels in height or width are refused.

    Raises:
        UserError: If it cannot be read, or is not a whole JPEG, PNG, BMP or WebP of at most
            `tfrecords.images.MAX_PIXELS`, or the image is too small.
    """
    data = read_bytes(path)
    try:
        stored, info = stored_image(data)
    except CorruptImage as error:
        raise UserError(f"{path}: {error}; give a whole JPEG, PNG, BMP or WebP.") from None
    if min(info.height, info.width) < least_side:
        raise UserError(f"{path}: {info.width} x {info.height} pixels show no person; give an "
                        f"image of at least {least_side} x {least_side}.")
    return stored
