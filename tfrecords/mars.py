"""MARS: tracklets of people, by a detector and a tracker, in the cameras of Market-1501."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfrecords.datasets import Dataset
from tfrecords.errors import UserError
from tfrecords.layout import (
    JUNK,
    Counts,
    compare_with_protocol,
    count_dropped,
    find_root,
    list_files,
    read_lines,
    refuse_problems,
)
from tfrecords.matlab import load_v5
from tfrecords.scan import ImageEntry, Scan, name_some

LAYOUT = """\
ROOT/             MARS, or the folder that holds it
    bbox_train/   0001/0001C1T0001F001.jpg: person, camera, tracklet, frame
    bbox_test/    00-1/ is junk and dropped, 0000/ are distractors
    info/         train_name.txt, test_name.txt, tracks_train_info.mat, tracks_test_info.mat and
                  query_IDX.mat, from the authors' evaluation code
Protocol: 1,191,003 images by 6 cameras. Train 8,298 tracklets (509,914 images) of 625 identities,
query 1,980 (114,493) of 626, gallery 9,330 (543,216) of 620 identities and, 3,248 of them, of
distractors. The authors' script ranks the queries' tracklets too, --queries-in-gallery, which makes
11,310 (657,709) of 634. Without them 140 queries have no match.
A record's tracklet id is the tracklet's row, from 1, in the table of its half of the dataset."""
DISTRACTOR = 0
_FOLDERS = {"train": "bbox_train", "test": "bbox_test"}
_INFO = "info"
_NAME = re.compile(r"(?P<person>00-1|\d{4})C(?P<camera>\d)T(?P<tracklet>\d+)F(?P<frame>\d+)\.jpg")
_JUNK_NAME = "00-1"
_NO_LIST = "take the folder info from the authors' evaluation code"
_PROTOCOL = {"train": Counts(509914, 625), "query": Counts(114493, 626)}
_GALLERY = {False: Counts(543216, 620), True: Counts(657709, 634)}


class _Frames(NamedTuple):
    """A list of file names and the numbers in them, int64 arrays [frames], in the list's order."""

    file: Path
    names: list[str]
    persons: np.ndarray
    cameras: np.ndarray
    times: np.ndarray


class _Half(NamedTuple):
    """Training or test half: its table [first, last, person, camera], and each row's images.

    Junk rows have no images.
    """

    file: Path
    table: np.ndarray
    tracklets: list[list[ImageEntry]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds MARS's own flag."""
    parser.add_argument(
        "--queries-in-gallery", action="store_true",
        help="keep the query tracklets in the gallery too, as the authors' evaluation script does, "
             "so that every query has a match; without it the gallery is the other 9,330 "
             "tracklets, as in most papers' code, and 140 of the 1,980 queries have no match")


def scan_mars(root: str | os.PathLike, *, queries_in_gallery: bool = False) -> Scan:
    """Lists MARS (Zheng et al., "MARS: A Video Benchmark for Large-Scale Person ...", 2016).

    Junk tracklets (person -1) are dropped; distractors (person 0) stay in the gallery. The images
    of a tracklet follow each other in the order of its frames. Tracklet ids are rows, from 1, of
    `track_train_info` or, for queries and gallery, of `track_test_info`.

    Args:
        root: The dataset folder, or its parent.
        queries_in_gallery: Whether the gallery contains the query tracklets too.

    Raises:
        UserError: If a folder or file is missing or damaged, or rows of a table contradict the file
            names or lack images.
    """
    scan = Scan(find_root(root, [*_FOLDERS.values(), _INFO], "MARS"),
                options={"queries_in_gallery": queries_in_gallery}, distractor_id=DISTRACTOR)
    train, test = (_read_half(scan, half) for half in _FOLDERS)
    _refuse_distractors(train)
    queries = _read_queries(scan.root / _INFO / "query_IDX.mat", test)
    held_out = set() if queries_in_gallery else set(queries)
    scan.splits = {
        "train": _join(train, range(len(train.table))),
        "query": _join(test, queries),
        "gallery": _join(test, (row for row in range(len(test.table)) if row not in held_out)),
    }
    for split, entries in scan.splits.items():
        if not entries:
            raise UserError(f"{scan.root / _INFO} leaves no image for split {split}: take the "
                            "folder from the authors' evaluation code.")
    protocol = {**_PROTOCOL, "gallery": _GALLERY[queries_in_gallery]}
    scan.warnings += compare_with_protocol("MARS", scan.splits, protocol, DISTRACTOR)
    return scan


def _join(half: _Half, rows: Iterable[int]) -> list[ImageEntry]:
    return [entry for row in rows for entry in half.tracklets[row]]


def _read_half(scan: Scan, half: str) -> _Half:
    """Reads and checks the name list and the table of one half, and lists the images of each row.

    Updates `dropped` and `warnings` of the scan.
    """
    folder = scan.root / _FOLDERS[half]
    frames = _read_names(scan.root / _INFO / f"{half}_name.txt")
    file = scan.root / _INFO / f"tracks_{half}_info.mat"
    table = _read_table(file, f"track_{half}_info")
    refuse_problems(file, list(_range_problems(table, frames)))
    refuse_problems(file, list(_label_problems(table, frames)))
    paths, others = list_files(folder, nested=True)
    there = set(paths)
    tracklets = [[] if values[2] == JUNK else _list_tracklet(folder.name, frames, row, *values)
                 for row, values in enumerate(table.tolist(), start=1)]
    refuse_problems(file, list(_missing_images(tracklets, folder, there)))
    unlisted = there.difference(f"{name[:4]}/{name}" for name in frames.names)
    if unlisted:
        scan.warnings.append(
            f"{len(unlisted)} images of {folder.name} are not in {frames.file.name} and are left "
            f"out: {name_some(sorted(unlisted))}")
    untracked = len(frames.names) - int((table[:, 1] - table[:, 0] + 1).sum())
    if untracked:
        scan.warnings.append(f"{untracked} images of {frames.file.name} belong to no row of "
                             f"{file.name} and are left out")
    junk = table[table[:, 2] == JUNK]
    count_dropped(scan, junk=int((junk[:, 1] - junk[:, 0] + 1).sum()), not_an_image=others,
                  unlisted=len(unlisted) + untracked)
    return _Half(file, table, tracklets)


def _read_names(file: Path) -> _Frames:
    names, problems = [], []
    columns: list[tuple[int, int, int]] = []
    for line, name in read_lines(file, _NO_LIST):
        match = _NAME.fullmatch(name)
        if match is None:
            problems.append(f"line {line}: {name[:80]!r} is not a name like 0001C1T0001F001.jpg")
            continue
        person, camera, tracklet, frame = match.groups()
        names.append(name)
        columns.append((JUNK if person == _JUNK_NAME else int(person), int(camera),
                        (int(tracklet) << 32) + int(frame)))
    refuse_problems(file, problems)
    if not names:
        raise UserError(f"{file} is empty: {_NO_LIST}.")
    return _Frames(file, names, *np.array(columns, np.int64).T)


def _read_table(file: Path, variable: str) -> np.ndarray:
    table = _whole_numbers(file, variable)
    if table.ndim != 2 or table.shape[1] != 4 or not len(table):
        raise UserError(f"{file}: {variable} has the shape {table.shape} where rows of first and "
                        f"last image, person and camera are expected: {_NO_LIST}.")
    return table


def _whole_numbers(file: Path, variable: str) -> np.ndarray:
    values = np.asarray(load_v5(file, [variable])[variable])
    whole = values.dtype.kind in "iuf" and np.isfinite(values).all() and not (values % 1).any()
    if not whole:
        raise UserError(f"{file}: {variable} must hold whole numbers only: {_NO_LIST}.")
    return values.astype(np.int64)


def _range_problems(table: np.ndarray, frames: _Frames) -> Iterator[str]:
    """Yields problems of the ranges of images in the rows of a table."""
    count = len(frames.names)
    for row, (first, last) in enumerate(table[:, :2].tolist(), start=1):
        if first > last:
            yield f"row {row}: the tracklet has no images (first {first}, last {last})"
        elif first < 1 or last > count:
            yield (f"row {row}: images {first} to {last} are not among the {count} names of "
                   f"{frames.file.name}")
    order = np.argsort(table[:, 0], kind="stable")
    firsts, lasts = table[order, 0], table[order, 1]
    for place in np.flatnonzero(firsts[1:] <= lasts[:-1]).tolist():
        yield (f"row {order[place + 1] + 1}: image {firsts[place + 1]} belongs to row "
               f"{order[place] + 1} already")


def _label_problems(table: np.ndarray, frames: _Frames) -> Iterator[str]:
    """Yields rows whose person or camera contradicts their file names."""
    for row, (first, last, person, camera) in enumerate(table.tolist(), start=1):
        part = slice(first - 1, last)
        wrong = (frames.persons[part] != person) | (frames.cameras[part] != camera)
        if wrong.any():
            name = frames.names[first - 1 + int(wrong.argmax())]
            yield f"row {row}: it says person {person} and camera {camera} but holds {name}"


def _list_tracklet(
    folder: str, frames: _Frames, row: int, first: int, last: int, person: int, camera: int
) -> list[ImageEntry]:
    """Lists the images of a row in the order of their frames."""
    order = np.argsort(frames.times[first - 1 : last], kind="stable") + first - 1
    names = [frames.names[position] for position in order.tolist()]
    return [ImageEntry(f"{folder}/{name[:4]}/{name}", person, camera, row) for name in names]


def _missing_images(
    tracklets: list[list[ImageEntry]], folder: Path, there: set[str]
) -> Iterator[str]:
    """Yields rows that lack images; `there` holds the paths inside the folder."""
    start = len(folder.name) + 1
    for row, tracklet in enumerate(tracklets, start=1):
        missing = [entry.path for entry in tracklet if entry.path[start:] not in there]
        if missing and len(missing) == len(tracklet):
            yield f"row {row}: none of its {len(tracklet)} images is there ({missing[0]})"
        elif missing:
            yield (f"row {row}: {len(missing)} of its {len(tracklet)} images are not there "
                   f"({missing[0]})")


def _refuse_distractors(train: _Half) -> None:
    rows = np.flatnonzero(train.table[:, 2] == DISTRACTOR)
    refuse_problems(train.file, [f"row {row + 1}: distractors (person {DISTRACTOR}) cannot train"
                                 for row in rows.tolist()])


def _read_queries(file: Path, test: _Half) -> list[int]:
    """Reads the rows, from 0, of the test table that are queries."""
    rows = np.ravel(_whole_numbers(file, "query_IDX")).tolist()
    problems, seen = [], {}
    for entry, row in enumerate(rows, start=1):
        if not 1 <= row <= len(test.table):
            problems.append(f"entry {entry}: row {row} is not among the {len(test.table)} rows of "
                            f"{test.file.name}")
        elif seen.setdefault(row, entry) != entry:
            problems.append(f"entry {entry}: row {row} is entry {seen[row]} already")
        elif test.table[row - 1, 2] in (JUNK, DISTRACTOR):
            problems.append(f"entry {entry}: row {row} is of person {test.table[row - 1, 2]}, "
                            "which is not an identity")
    refuse_problems(file, problems)
    return [row - 1 for row in rows]


DATASET = Dataset(scan_mars, "MARS, tracklets of people in video", LAYOUT, add_options)
