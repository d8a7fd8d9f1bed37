"""What a dataset builder finds in a folder before anything is written."""

from __future__ import annotations

import os
from array import array
from collections import Counter
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
_NAMED_AT_MOST, _LETTERS = 10, 400
_NONE = -(2**63)  # None as an int64; no dataset has this id


class ImageEntry(NamedTuple):
    """One image of a split; `path` is a POSIX path relative to the scan's root."""

    path: str
    person_id: int
    camera_id: int = NO_CAMERA
    tracklet_id: int | None = None


class PackedImages:
    """Images stored by columns, which takes about a third of the memory of a list of them."""

    def __init__(self, entries: Iterable[ImageEntry]):
        """Packs the images, in their order."""
        paths, persons, cameras, tracklets = zip(*entries)
        self._paths = "\0".join(paths)  # the one character that no path has
        self._numbers = (array("q", persons), array("q", cameras), array(
            "q", (_NONE if tracklet is None else tracklet for tracklet in tracklets)))

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self._numbers[0])

    def __iter__(self) -> Iterator[ImageEntry]:
        """Yields entries equal to those that were packed."""
        for path, person, camera, tracklet in zip(self._paths.split("\0"), *self._numbers):
            yield ImageEntry(path, person, camera, None if tracklet == _NONE else tracklet)


@dataclass
class Scan:
    """The images of a dataset, which a builder lists before anything is written.

    Attributes:
        root: The folder that the paths are relative to.
        splits: Images of each split, in the order in which they are written.
        dropped: Number of files left out for each reason.
        options: Settings that the records depend on, such as a seed; stored in the manifest.
        warnings: Sentences for the user.
        distractor_id: The person id of images that belong to no identity, if there is one.
        source: Reads the images. Defaults to the files below `root`.
        identity_splits: If the protocol draws identities: dicts from `train`, `test` and, if there
            is one, `val` to sorted person ids. The only split is then `images`.
        query_galleries: If every query ranks its own gallery: for each image of split `query`, the
            increasing positions in split `gallery`.
    """

    root: Path
    splits: dict[str, list[ImageEntry]] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    options: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    distractor_id: int | None = None
    source: ImageSource | None = None
    identity_splits: list[dict[str, list[int]]] = field(default_factory=list)
    query_galleries: list[np.ndarray] | None = None

    def __post_init__(self):
        """Fills in the default source."""
        if self.source is None:
            self.source = FolderSource(str(self.root))


def existing_root(root: str | os.PathLike) -> Path:
    """Returns the dataset folder as a path; raises a `UserError` if it does not exist."""
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"--root {root} is not a folder: name the folder that holds the dataset.")
    return root


def list_images(folder: Path) -> tuple[list[str], int]:
    """Returns the sorted image files of a folder and the number of its other and hidden files."""
    kinds = _kinds(folder)
    images = sorted(name for name, kind in kinds.items() if kind == "file"
                    and name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."))
    return images, sum(kind != "folder" for kind in kinds.values()) - len(images)


def list_folders(folder: Path) -> list[str]:
    """Returns the sorted folders of a folder, without hidden ones."""
    return sorted(name for name, kind in _kinds(folder).items()
                  if kind == "folder" and not name.startswith("."))


def _kinds(folder: Path) -> dict[str, str]:
    """Maps what a folder holds to `file`, `folder` or `other` (pipes, devices, broken links)."""
    kinds = {}
    try:
        with os.scandir(folder) as found:
            for item in found:
                try:
                    kinds[item.name] = ("folder" if item.is_dir() else
                                        "file" if item.is_file() else "other")
                except OSError:  # a link that leads to itself
                    kinds[item.name] = "other"
    except PermissionError as error:
        raise UserError(f"{folder} cannot be read: fix its permissions.") from error
    return kinds


def name_some(items: Iterable[str], separator: str = ", ") -> str:
    """Joins at most ten items and states how many more there are."""
    items = [item if len(item) <= _LETTERS else f"{item[:_LETTERS]}..." for item in items]
    shown = separator.join(items[:_NAMED_AT_MOST])
    rest = len(items) - _NAMED_AT_MOST
    return f"{shown}{separator}and {rest} more" if rest > 0 else shown
