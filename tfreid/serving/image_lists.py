"""Lists of images to embed, and what is known of them: files, folders, tables, records."""

from __future__ import annotations

import csv
import dataclasses
import functools
import glob
from collections.abc import Sequence
from pathlib import Path

from tfrecords.errors import UserError
from tfrecords.files import open_table
from tfrecords.image_files import read_file
from tfrecords.manifest import MANIFEST_NAME
from tfrecords.storage import as_path
from tfreid.records import Records
from tfreid.serving.image_files import find_image_files

_PATH, _KNOWN = "path", ("person_id", "camera_id", "time", "split", "tracklet_id")


@dataclasses.dataclass(frozen=True)
class ImageList:
    """n images, and what is known of them.

    Attributes:
        paths: Their paths [n], in records those relative to the dataset's folder.
        person_ids: Numbers or names [n]; None is unknown, in this and the other columns.
        camera_ids: Numbers or names [n].
        times: [n].
        splits: Names of splits [n].
        tracks: Names of tracks [n]: images that follow one person through one camera.
        records: Folder and fold of the records that hold the images, and their places in the
            splits [n]; None if `paths` are files.
    """

    paths: Sequence[str]
    person_ids: Sequence[str | None]
    camera_ids: Sequence[str | None]
    times: Sequence[str | None]
    splits: Sequence[str | None]
    tracks: Sequence[str | None]
    records: tuple[str, int, Sequence[int]] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def keys(self) -> list[str]:
        """What names each image: its path, in records behind its split."""
        if self.records is None:
            return list(self.paths)
        return [f"{split}/{path}" for split, path in zip(self.splits, self.paths)]

    def part(self, start: int, stop: int) -> ImageList:
        """Returns the images from `start` to before `stop`."""
        some, records = slice(start, stop), self.records
        if records is not None:
            records = (*records[:2], records[2][some])
        columns = (self.paths, self.person_ids, self.camera_ids, self.times, self.splits,
                   self.tracks)
        return ImageList(*(column[some] for column in columns), records)

    def read(self, place: int) -> bytes:
        """Returns an image as a JPEG or PNG file.

        Raises:
            UserError: If it cannot be read.
        """
        if self.records is None:
            return read_file(self.paths[place])
        folder, fold, places = self.records
        return _opened(folder, fold)[self.splits[place]].encoded[places[place]]


@functools.lru_cache(1)
def _opened(folder: str, fold: int) -> Records:
    return Records(folder, fold)


def list_images(words: Sequence[str], fold: int = 0, splits: Sequence[str] = ()) -> ImageList:
    """Lists the images that the words of a command line name.

    Args:
        words: One folder of records; or one CSV table with the column path, relative to its folder,
            and perhaps person_id, camera_id, time and split; or image files, folders and patterns
            such as `cameras/**/*.jpg`.
        fold: Fold of records that have several.
        splits: Splits of the records. Defaults to all.

    Raises:
        UserError: If there are no such images, or the table is broken.
    """
    first = as_path(words[0])
    if len(words) == 1 and (first / MANIFEST_NAME).is_file():
        return list_records(words[0], fold, splits)
    if splits:
        raise UserError(f"splits are those of records, but {words[0]} are image files; leave out "
                        "--splits.")
    if len(words) == 1 and first.suffix.lower() == ".csv":
        return _list_table(first)
    return list_files(words)


def list_files(words: Sequence[str]) -> ImageList:
    """Lists image files, those in folders and those that fit patterns, each once."""
    found = (str(path) for word in words for path in find_image_files(_expanded(word)))
    paths = list(dict.fromkeys(found))
    unknown = [None] * len(paths)
    return ImageList(paths, *[unknown] * 5)


def list_records(folder: str, fold: int = 0, names: Sequence[str] = ()) -> ImageList:
    """Lists the images of some splits of records, or of all."""
    records = Records(folder, fold)
    chosen = [records[name] for name in names or records.splits]

    def column(field):
        return [str(value) for split in chosen for value in getattr(split.index, field)]

    places = [place for split in chosen for place in range(len(split))]
    owners = [split.name for split in chosen for _ in range(len(split))]
    unknown = [None] * len(places)
    return ImageList(column("paths"), column("ids"), column("cameras"), unknown, owners, unknown,
                     (folder, fold, places))


def _expanded(word: str) -> list[str]:
    if as_path(word).exists() or not glob.has_magic(word):
        return [word]
    found = sorted(glob.glob(word, recursive=True))
    if not found:
        raise UserError(f"no file fits the pattern {word}; check it, and quote it.")
    return found


def _list_table(table: Path) -> ImageList:
    try:
        reader = open_table(table, "save it as CSV in UTF-8")
        rows = list(reader)
    except csv.Error as error:
        raise UserError(f"{table} is not a CSV table ({error}); save it as one.") from None
    if _PATH not in reader.fieldnames or not rows:
        raise UserError(f"{table} needs a first line with the column {_PATH}, and perhaps "
                        f"{', '.join(_KNOWN)}, and a line for each image.")
    for number, row in enumerate(rows, 2):
        if not (row[_PATH] or "").strip() or None in row:
            raise UserError(f"{table}: row {number} has no path, or more values than the first "
                            "line has columns; correct it.")
    paths = [str(table.parent / row[_PATH].strip()) for row in rows]
    return ImageList(paths, *([(row.get(name) or "").strip() or None for row in rows]
                              for name in _KNOWN))
