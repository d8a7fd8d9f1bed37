"""Films: video files, or folders of numbered images, frame by frame."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfrecords.errors import UserError
from tfrecords.image_headers import CorruptImage
from tfrecords.images import IMAGE_SUFFIXES, shown_pixels

_USUAL_RATE = 25.0
_LAST_NUMBER = re.compile(r"(\d{1,18})\D*$")
# Names with numbers further apart hold times or the like, which do not count frames.
_MOST_GAPS = 10
# A folder and a column of a table get the name: no dot first, no control character, and Unicode.
_NAME = re.compile(r"(?!\.)[^/\x00-\x1f\x7f\ud800-\udfff]+")


class Film:
    """A film, whose frames are BGR arrays [h, w, 3].

    Args:
        path: A video file that OpenCV decodes, or a folder of images, as MOTChallenge has them.
            The last number in their names is the frame's, from 1, or from 0 if there is a 0, so
            that frames may be missing; where some have no number, or the same, or it holds times,
            their order counts.
        rate: Frames a second. Defaults to what the file says, or to 25 for a folder.

    Attributes:
        name: Its name without a suffix; that of the folder above for MOTChallenge's `img1`. It is
            a plain file name, also of `.` and `..`.
        rate: Frames a second.
        count: Number of frames that the file declares, missing ones included; 0 if unknown.
        decoded: Number of frames that `frames` reached.

    Raises:
        UserError: If it cannot be opened, or has no plain name.
    """

    def __init__(self, path: str | Path, rate: float | None = None):
        import cv2

        self.path, self.decoded = Path(path), 0
        if not self.path.exists():
            raise UserError(f"{self.path} does not exist; check the path.")
        self.name = _name(self.path)
        if self.path.is_dir():
            self._images = _numbered(sorted(
                file for file in self.path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES))
            if not self._images:
                raise UserError(f"{self.path} holds no image; name a film, or a folder of its "
                                "frames.")
            self.rate, self.count = rate or _USUAL_RATE, max(self._images) + 1
            return
        self._images = None
        capture = cv2.VideoCapture(str(self.path))
        opened, declared = capture.isOpened(), capture.get(cv2.CAP_PROP_FPS)
        self.count = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        capture.release()
        if not opened:
            raise UserError(f"{self.path} is not a film that OpenCV can decode; convert it, for "
                            f"example by `ffmpeg -i {self.path.name} film.mp4`.")
        self.rate = rate or (declared if 0 < declared < 1000 else _USUAL_RATE)

    def source(self) -> dict[str, Any]:
        """Returns plain values that differ for another film, and for this one once it changes."""
        path = str(self.path.resolve())
        if self._images is None:
            found = self.path.stat()
            return {"path": path, "size": found.st_size, "modified": found.st_mtime_ns}
        listing = 0
        for file in self._images.values():
            found = file.stat() if file.exists() else file.lstat()
            listing = zlib.crc32(os.fsencode(
                f"{file.name}/{found.st_size}/{found.st_mtime_ns}\n"), listing)
        return {"path": path, "listing": f"{listing:08x}"}

    def has(self, number: int) -> bool:
        """Tells whether there is a frame of some number, as far as the file declares."""
        if self._images is not None:
            return number in self._images
        return not self.count or number < self.count

    def frames(self, wanted: Callable[[int], bool] = lambda _: True,
               ) -> Iterator[tuple[int, np.ndarray | None]]:
        """Yields the numbers of all frames, from 0 up, and their pixels, None where not wanted.

        A broken image of a folder is passed over; a broken film ends where its decoder does.
        """
        import cv2

        if self._images is not None:
            for number, file in self._images.items():
                self.decoded = number + 1
                yield number, _read(file) if wanted(number) else None
            return
        capture, number = cv2.VideoCapture(str(self.path)), 0
        try:
            while capture.grab():
                good, frame = capture.retrieve() if wanted(number) else (False, None)
                yield number, frame if good else None
                self.decoded = number = number + 1
        finally:
            capture.release()


def _read(file: Path) -> np.ndarray | None:
    try:
        return shown_pixels(file.read_bytes())
    except (CorruptImage, OSError):
        return None


def _name(path: Path) -> str:
    whole = Path(os.path.abspath(path))  # links keep their own names
    name = whole.parent.name if whole.name == "img1" else (
        whole.name if path.is_dir() else whole.stem)
    if not _NAME.fullmatch(name):
        raise UserError(f"{path} would name its camera and a folder {name!r}, which is not a plain "
                        "file name; rename the film.")
    return name


def _numbered(images: list[Path]) -> dict[int, Path]:
    """Returns the frames' numbers, from 0, of images in the order of their names."""
    found = [_LAST_NUMBER.search(file.stem) for file in images]
    numbers = [int(one[1]) for one in found if one]
    if len(set(numbers)) < len(images) or images and (
            max(numbers) - min(numbers) >= _MOST_GAPS * len(images)):
        return dict(enumerate(images))
    first = min([1, *numbers])
    return {number - first: file for number, file in sorted(zip(numbers, images))}
