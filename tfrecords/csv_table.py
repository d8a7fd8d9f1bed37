"""The user's own images, described by a table with one row per image."""

from __future__ import annotations

import argparse
import csv
import os
import posixpath
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from tfrecords.datasets import Dataset
from tfrecords.errors import UserError
from tfrecords.files import open_table
from tfrecords.layout import refuse_problems
from tfrecords.own_images import SPLITS, OwnImage, refuse_unusable, scan_own_images
from tfrecords.scan import Scan, existing_root, name_some

DEFAULT_TABLE = "labels.csv"
_REQUIRED = ("path", "person_id", "split")
_CAMERA, _TRACKLET = "camera_id", "tracklet_id"
# What `tfreid crop-people` also writes, which records do not hold.
_OF_FOOTAGE = ("time", "frame", "left", "top", "width", "height", "confidence")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the table."""
    parser.add_argument(
        "--csv", dest="table", metavar="FILE",
        help=f"table with the columns path,person_id,camera_id,split (default: ROOT/{DEFAULT_TABLE}"
             "), separated by commas, semicolons or tabs; paths are relative to ROOT or inside it, "
             "people and cameras are numbers or names, split is train, query or gallery; without "
             "camera_id, matches in the query's own camera are not ignored; a column tracklet_id "
             "makes tracklets of images that follow a person through one camera")
    parser.add_argument(
        "--allow-single", action="store_true",
        help="keep training identities with a single image: they can train a classifier, but are "
             "refused by default because they have no positive for a triplet")


def scan_csv(
    root: str | os.PathLike, *, table: str | os.PathLike | None = None, allow_single: bool = False
) -> Scan:
    """Reads and checks a table of images.

    Args:
        root: The folder that the table's paths are relative to.
        table: The CSV file. Defaults to ROOT/labels.csv.
        allow_single: Whether to keep training identities with one image.

    Raises:
        UserError: If lines are invalid; the message names up to ten of them.
    """
    root = existing_root(root)
    table = Path(table) if table else root / DEFAULT_TABLE
    problems: list[str] = []
    images = _read_rows(table, root, problems)
    refuse_problems(table, problems)
    if not images:
        raise UserError(f"{table} has no rows: write one line per image.")
    refuse_unusable(table, images, allow_single, f"leave out the column {_CAMERA}")
    return scan_own_images(root, images, table, {"allow_single": allow_single})


def _read_rows(table: Path, root: Path, problems: list[str]) -> list[OwnImage]:
    try:
        reader = open_table(table, "save it as CSV in UTF-8, or name another table with --csv")
        _check_header(table, reader.fieldnames)
        return list(_valid_rows(reader, root, problems))
    except csv.Error as error:
        raise UserError(f"{table} is not a CSV table ({error}): save it as one.") from error


def _check_header(table: Path, columns: list[str]) -> None:
    known = (*_REQUIRED, _CAMERA, _TRACKLET, *_OF_FOOTAGE)
    wrong = [f"no column {name}" for name in _REQUIRED if name not in columns]
    wrong += [f"an unknown column {name!r}" for name in columns if name not in known]
    wrong += [f"column {name} twice" for name in known if columns.count(name) > 1]
    if wrong:
        raise UserError(f"{table} has {name_some(wrong)}: its first line must be path,person_id,"
                        "camera_id,split (camera_id may be left out, tracklet_id added).")


def _valid_rows(
    reader: csv.DictReader, root: Path, problems: list[str]
) -> Iterator[OwnImage]:
    first_lines: dict[tuple[str, str], int] = {}
    for values in reader:
        line = reader.line_num
        if None in values or None in values.values():
            problems.append(f"line {line}: another number of values than the first line has "
                            "columns")
            continue
        row = {name: value.strip() for name, value in values.items()
               if name not in _OF_FOOTAGE}
        path = _inside(row["path"], root)
        wrong = _row_problem(row) or _path_problem(row["path"], path, root)
        if wrong is None:
            camera = row.get(_CAMERA)
            if camera is not None and camera.isdecimal():
                camera = camera.lstrip("0") or "0"
            image = OwnImage(f"line {line}", path, row["person_id"], camera, row["split"].lower(),
                             row.get(_TRACKLET))
            first = first_lines.setdefault((image.path, image.split), line)
            if first == line:
                yield image
                continue
            wrong = f"{image.path} is already in split {image.split} at line {first}"
        problems.append(f"line {line}: {wrong}")


def _row_problem(row: dict[str, str]) -> str | None:
    """Describes what is wrong with a row apart from its path, or returns None."""
    empty = [name for name, value in row.items() if not value]
    if empty:
        return f"empty {' and '.join(empty)}"
    if row["split"].lower() not in SPLITS:
        return f"unknown split {row['split']!r} (train, query or gallery)"
    for name, fix in (("person_id", "leave junk images out of the table"),
                      (_CAMERA, "number cameras from 0")):
        value = row.get(name, "")
        if value.startswith("-") and value[1:].isdecimal():
            return f"negative {name} {value} ({fix})"
    return None


def _inside(path: str, root: Path) -> str:
    """Returns a path of the table relative to the root, in the Unicode form of the file's name."""
    if posixpath.isabs(path):
        for base in (os.path.abspath(root), os.path.realpath(root)):
            path = path[len(base) + 1 :] if path.startswith(f"{base}/") else path
    path = posixpath.normpath(path)
    forms = (path, *(unicodedata.normalize(form, path) for form in ("NFC", "NFD")))
    return next((form for form in forms if os.path.lexists(root / form)), path)


def _path_problem(written: str, path: str, root: Path) -> str | None:
    if posixpath.isabs(path) or path.split("/")[0] == "..":
        return f"{written} lies outside {root} (paths are relative to --root or inside it)"
    file = root / path
    if not os.path.isfile(file):
        return f"{path} is not a file in {root}"
    if not os.access(file, os.R_OK):
        return f"{path} cannot be read"
    return None


DATASET = Dataset(scan_csv, "your own images with a table: path,person_id,camera_id,split",
                  add_options=add_options)
