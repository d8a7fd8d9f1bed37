"""Films: video files, or folders of numbered images, frame by frame."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tfrecords.errors import UserError
from tfrecords.images import IMAGE_SUFFIXES

_USUAL_RATE = 25.0
_LAST_NUMBER = re.compile(r"(\d{1,18})\D*$")
# Names with numbers further apart hold times or the like, which do not count frames.
_MOST_GAPS = 10


class Film:
    """A film, whose frames are BGR arrays [h, w, 3].

    Args:
        path: A video file that OpenCV decodes, or a folder of images, as MOTChallenge has them.
            The last number in their names is the frame's, from 1, or from 0 if there is a 0, so
            that frames may be missing; where some have no number, or the same, or it holds times,
            their order counts.
        rate: Frames a second. Defaults to what the file says, or to 25 for a folder.

    Attributes:
        name: Its name without a suffix; that of the folder above for MOTChallenge's `img1`.
        rate: Frames a second.
        count: Number of frames that the file declares, missing ones included; 0 if unknown.
        decoded: Number of frames that `frames` reached.

    Raises:
        UserError: If it cannot be opened.
    """

    def __init__(self, path: str | Path, rate: float | None = None):
        import cv2

        self.path, self.decoded = Path(path), 0
        self.name = self.path.parent.name if self.path.name == "img1" else (
            self.path.name if self.path.is_dir() else self.path.stem)
        if not self.path.exists():
            raise UserError(f"{self.path} does not exist; check the path.")
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
                yield number, cv2.imread(str(file)) if wanted(number) else None
            return
        capture, number = cv2.VideoCapture(str(self.path)), 0
        try:
            while capture.grab():
                good, frame = capture.retrieve() if wanted(number) else (False, None)
                yield number, frame if good else None
                self.decoded = number = number + 1
        finally:
            capture.release()


def _numbered(images: list[Path]) -> dict[int, Path]:
    """Returns the frames' numbers, from 0, of images in the order of their names."""
    found = [_LAST_NUMBER.search(file.stem) for file in images]
    numbers = [int(one[1]) for one in found if one]
    if len(set(numbers)) < len(images) or images and (
            max(numbers) - min(numbers) >= _MOST_GAPS * len(images)):
        return dict(enumerate(images))
    first = min([1, *numbers])
    return {number - first: file for number, file in sorted(zip(numbers, images))}
