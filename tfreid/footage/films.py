"""Films: video files, or folders of numbered images, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tfrecords.errors import UserError
from tfrecords.images import IMAGE_SUFFIXES

_USUAL_RATE = 25.0


class Film:
    """A film, whose frames are BGR arrays [h, w, 3].

    Args:
        path: A video file that OpenCV decodes, or a folder of images, sorted by name, as
            MOTChallenge has them.
        rate: Frames a second. Defaults to what the file says, or to 25 for a folder.

    Attributes:
        name: Its name without a suffix; that of the folder above for MOTChallenge's `img1`.
        rate: Frames a second.
        count: Number of frames that the file declares, 0 if unknown.
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
            self._images = sorted(file for file in self.path.iterdir()
                                  if file.suffix.lower() in IMAGE_SUFFIXES)
            if not self._images:
                raise UserError(f"{self.path} holds no image; name a film, or a folder of its "
                                "frames.")
            self.rate, self.count = rate or _USUAL_RATE, len(self._images)
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

    def frames(self, wanted: Callable[[int], bool] = lambda _: True,
               ) -> Iterator[tuple[int, np.ndarray | None]]:
        """Yields the numbers of all frames, from 0, and their pixels, None where not wanted.

        A broken image of a folder is passed over; a broken film ends where its decoder does.
        """
        import cv2

        if self._images is not None:
            for number, file in enumerate(self._images):
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
