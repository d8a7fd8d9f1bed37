"""What a dataset builder finds in a folder before anything is written."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tfrecords.errors import UserError
from tfrecords.images import IMAGE_SUFFIXES
from tfrecords.schema import NO_CAMERA
from tfrecords.source import FolderSource, ImageSource

if TYPE_CHECKING:
    import numpy as np

NOT_AN_IMAGE = "not_an_image"
_NAMED_AT_MOST = 10
_NONE = -(2**63)  # stands for None among int64; no id of a dataset


class ImageEntry(NamedTuple):
    """One image of a split; `path` is posix and relative to the scan's root."""

    path: str
    person_id: int
    camera_id: int = NO_CAMERA
    tracklet_id: int | None = None


class PackedImages:
    """Images in the order given, held by columns: about a third of the memory of a list of them.

    Iterating gives equal entries again.
    """

    def __init__(self, entries: Iterable[ImageEntry]):
        paths, persons, cameras, tracklets = zip(*entries)
        self._paths = "\0".join(paths)  # the one character that no path has
        self._numbers = (array("q", persons), array("q", cameras), array(
            "q", (_NONE if tracklet is None else tracklet for tracklet in tracklets)))

    def __len__(self) -> int:
        return len(self._numbers[0])

    def __iter__(self) -> Iterator[ImageEntry]:
        for path, person, camera, tracklet in zip(self._paths.split("\0"), *self._numbers):
            yield ImageEntry(path, person, camera, None if tracklet == _NONE else tracklet)


@dataclass
class Scan:
    """The splits of a dataset.

    Attributes:
        root: the folder that the paths are relative to.
        splits: name -> images, in the order in which they are written.
        dropped: reason -> number of files left out.
        options: what else decides the records (seed, names of persons); goes into the manifest.
        warnings: sentences for the user.
        distractor_id: the person id whose images belong to no identity, if there is one.
        source: reads the images; by default the files below `root`.
        identity_splits: where the protocol draws identities: each maps `train`, `test` and perhaps
            `val` to sorted person ids, and the one split is `images`.
        query_galleries: where every query ranks a gallery of its own: the positions in split
            `gallery`, increasing, of each image of split `query`; None for the whole gallery.
    """

    root: Path
    splits: dict[str, list[ImageEntry]]
    dropped: dict[str, int] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    distractor_id: int | None = None
    source: ImageSource | None = None
    identity_splits: list[dict[str, list[int]]] = field(default_factory=list)
    query_galleries: list[np.ndarray] | None = None

    def __post_init__(self):
        if self.source is None:
            self.source = FolderSource(str(self.root))


def existing_root(root: str | os.PathLike) -> Path:
    """Returns the dataset folder as a path, or raises a `UserError` if there is none."""
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"--root {root} is no folder: name the folder that holds the dataset.")
    return root


def list_images(
    folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES
) -> tuple[list[str], int]:
    """Lists the image files right in a folder, sorted, and counts its other and hidden files."""
    try:
        with os.scandir(folder) as found:
            names = [item.name for item in found if item.is_file()]
    except PermissionError as error:
        raise UserError(f"{folder} may not be read: mend its permissions.") from error
    images = sorted(name for name in names
                    if name.lower().endswith(suffixes) and not name.startswith("."))
    return images, len(names) - len(images)


def number_people(names: Iterable[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Gives every person a number.

    Names that are all distinct whole numbers stay as they are. Otherwise the sorted names count
    from 1, because 0 marks distractors in Market-1501 and its like.

    Returns:
        name -> person id, and the same mapping for the manifest (empty for whole numbers).
    """
    ordered = sorted(set(names))
    if all(re.fullmatch(r"[0-9]{1,18}", name) for name in ordered):
        numbers = {name: int(name) for name in ordered}
        if len(set(numbers.values())) == len(ordered):
            return numbers, {}
    numbers = {name: number for number, name in enumerate(ordered, start=1)}
    return numbers, numbers


def name_some(items: Iterable[str], separator: str = ", ") -> str:
    """Joins at most ten items and says how many more there are."""
    items = list(items)
    shown = separator.join(items[:_NAMED_AT_MOST])
    rest = len(items) - _NAMED_AT_MOST
    return f"{shown}{separator}and {rest} more" if rest > 0 else shown
