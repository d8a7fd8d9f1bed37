"""The user's own images, described by a table with one row per image."""

from __future__ import annotations

import argparse
import csv
import os
import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tfrecords.datasets import Dataset
from tfrecords.errors import UserError
from tfrecords.layout import refuse_problems
from tfrecords.scan import NO_CAMERA, ImageEntry, Scan, existing_root, name_some, number_people

DEFAULT_TABLE = "labels.csv"
SPLITS = ("train", "query", "gallery")
_REQUIRED = ("path", "person_id", "split")
_CAMERA = "camera_id"


class _Row(NamedTuple):
    """One valid row of the table."""

    line: int
    path: str
    person: str
    camera: int
    split: str


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the table."""
    parser.add_argument(
        "--csv", dest="table", metavar="FILE",
        help=f"table with the columns path,person_id,camera_id,split (default: ROOT/{DEFAULT_TABLE}"
             "); paths are relative to ROOT, person ids may be names, split is train, query or "
             "gallery; without camera_id, matches in the query's own camera are not ignored")
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
    rows = _read_rows(table, root, problems)
    refuse_problems(table, problems)
    if not rows:
        raise UserError(f"{table} has no rows: write one line per image.")
    problems += _unmatched_queries(rows)
    if not allow_single:
        problems += _single_training_images(rows)
    refuse_problems(table, problems)

    numbers, names = number_people(row.person for row in rows)
    splits: dict[str, list[ImageEntry]] = {
        split: [ImageEntry(row.path, numbers[row.person], row.camera)
                for row in rows if row.split == split]
        for split in SPLITS}
    return Scan(
        root,
        {split: entries for split, entries in splits.items() if entries},
        options={"allow_single": allow_single, "person_names": names},
        warnings=_shared_people(table, rows),
    )


def _read_rows(table: Path, root: Path, problems: list[str]) -> list[_Row]:
    try:
        with open(table, encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            _check_header(table, reader.fieldnames or [])
            first_lines: dict[tuple[str, str], int] = {}
            return list(_valid_rows(reader, root, first_lines, problems))
    except OSError as error:
        raise UserError(f"{table} cannot be read ({error.strerror}): name the table with --csv."
                        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table} is no CSV table in UTF-8 ({error}): save it as one.") from error


def _check_header(table: Path, columns: list[str]) -> None:
    known = (*_REQUIRED, _CAMERA)
    wrong = [f"no column {name}" for name in _REQUIRED if name not in columns]
    wrong += [f"an unknown column {name!r}" for name in columns if name not in known]
    wrong += [f"column {name} twice" for name in known if list(columns).count(name) > 1]
    if wrong:
        raise UserError(f"{table} has {name_some(wrong)}: its first line must be "
                        "path,person_id,camera_id,split (camera_id may be left out).")


def _valid_rows(
    reader: csv.DictReader,
    root: Path,
    first_lines: dict[tuple[str, str], int],
    problems: list[str],
) -> Iterator[_Row]:
    for values in reader:
        line = reader.line_num
        wrong = _row_problem(values, root)
        if wrong is None:
            row = _Row(line, posixpath.normpath(values["path"].strip()),
                       values["person_id"].strip(), int(values.get(_CAMERA, NO_CAMERA)),
                       values["split"].strip().lower())
            first = first_lines.setdefault((row.path, row.split), line)
            if first == line:
                yield row
                continue
            wrong = f"{row.path} is already in split {row.split} at line {first}"
        problems.append(f"line {line}: {wrong}")


def _row_problem(values: dict[str | None, str | None], root: Path) -> str | None:
    """Describes what is wrong with a row by itself, or returns None."""
    if None in values or None in values.values():
        return "another number of values than the first line has columns"
    empty = [name for name, value in values.items() if not value.strip()]
    if empty:
        return f"empty {' and '.join(empty)}"
    if values["split"].strip().lower() not in SPLITS:
        return f"unknown split {values['split'].strip()!r} (train, query or gallery)"
    person = values["person_id"].strip()
    if person.startswith("-") and person[1:].isdecimal():
        return f"negative person_id {person} (leave junk images out of the table)"
    camera = values.get(_CAMERA, "0").strip()
    if not (camera.isascii() and camera.isdecimal() and len(camera) <= 9):
        return f"camera_id {camera!r} is not a whole number from 0"
    return _path_problem(values["path"].strip(), root)


def _path_problem(path: str, root: Path) -> str | None:
    if posixpath.isabs(path) or posixpath.normpath(path).split("/")[0] == "..":
        return f"{path} lies outside {root} (paths are relative to --root)"
    file = root / path
    if not file.is_file():
        return f"{path} is not in {root}"
    if not os.access(file, os.R_OK):
        return f"{path} cannot be read"
    return None


def _unmatched_queries(rows: list[_Row]) -> list[str]:
    """Lists queries that no gallery image can match, and queries that would match themselves."""
    gallery_cameras: dict[str, Counter[int]] = defaultdict(Counter)
    gallery_paths = set()
    for row in rows:
        if row.split == "gallery":
            gallery_cameras[row.person][row.camera] += 1
            gallery_paths.add(row.path)
    problems = []
    for row in rows:
        if row.split != "query":
            continue
        cameras = gallery_cameras[row.person]
        if row.camera == NO_CAMERA and row.path in gallery_paths:
            problems.append(f"line {row.line}: {row.path} is query and gallery, and would find "
                            "itself")
        elif not cameras:
            problems.append(f"line {row.line}: query person {row.person} is not in the gallery")
        elif set(cameras) == {row.camera} != {NO_CAMERA}:
            problems.append(f"line {row.line}: query person {row.person} is in the gallery only in "
                            f"the query's own camera {row.camera}")
    return problems


def _single_training_images(rows: list[_Row]) -> list[str]:
    images = Counter(row.person for row in rows if row.split == "train")
    return [f"line {row.line}: training person {row.person} has one image (add one, or keep "
            "such people with --allow-single)"
            for row in rows if row.split == "train" and images[row.person] == 1]


def _shared_people(table: Path, rows: list[_Row]) -> list[str]:
    trained = {row.person for row in rows if row.split == "train"}
    shared = sorted(trained & {row.person for row in rows if row.split != "train"})
    if not shared:
        return []
    return [f"{table}: {len(shared)} identities are in training and in query or gallery, which "
            f"makes the scores look better than they are: {name_some(shared)}"]


DATASET = Dataset(scan_csv, "your own images with a table: path,person_id,camera_id,split",
                  add_options=add_options)
