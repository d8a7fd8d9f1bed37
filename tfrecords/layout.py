"""Helpers of the builders of published datasets: folders, file names and protocol counts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tfrecords.errors import UserError
from tfrecords.files import read_text
from tfrecords.scan import (
    NO_CAMERA,
    ImageEntry,
    Scan,
    existing_root,
    list_folders,
    list_images,
    name_some,
)

JUNK = -1


class FileNames(NamedTuple):
    """How a dataset names its images.

    Attributes:
        dataset: Name of the dataset, for messages.
        pattern: Matches a whole file name; has the group `person` and, if names contain the camera,
            the group `camera`.
        example: A file name.
        parts: Meaning of the numbers in the example.
    """

    dataset: str
    pattern: re.Pattern[str]
    example: str
    parts: str


class Counts(NamedTuple):
    """Images and identities of a split, as published."""

    images: int
    identities: int


def find_root(root: str | os.PathLike, folders: Sequence[str], child: str) -> Path:
    """Returns the folder that contains `folders`: `root`, or its folder `child`.

    Raises:
        UserError: If `root` is not a folder or a folder is missing.
    """
    root = existing_root(root)
    if not (root / folders[0]).is_dir() and (root / child).is_dir():
        root = root / child
    missing = [folder for folder in folders if not (root / folder).is_dir()]
    if missing:
        raise UserError(f"{root} holds no folder {' and no '.join(missing)}: --root must name the "
                        f"folder that contains {', '.join(folders)}.")
    return root


def list_people(
    scan: Scan,
    folder: str,
    names: FileNames,
    nested: bool = False,
) -> list[ImageEntry]:
    """Lists the images of a folder whose file names contain the person.

    Junk (person -1) and, with a warning, images with other names are dropped.

    Args:
        scan: Scan of the dataset, whose `dropped` and `warnings` are updated.
        folder: Folder of the dataset.
        names: How the images are named.
        nested: Whether to list the subfolders of `folder` too.

    Raises:
        UserError: If no image is left.
    """
    paths, others = list_files(scan.root / folder, nested)
    entries, strangers, junk = [], [], 0
    for path in paths:
        match = names.pattern.fullmatch(path.rpartition("/")[2])
        if match is None:
            strangers.append(path)
        elif int(match["person"]) == JUNK:
            junk += 1
        else:
            camera = match.groupdict().get("camera", NO_CAMERA)
            entries.append(ImageEntry(f"{folder}/{path}", int(match["person"]), int(camera)))
    if not entries:
        raise UserError(f"{scan.root / folder} holds no image named like {names.example} "
                        f"({names.parts}): put {names.dataset}'s files there.")
    if strangers:
        scan.warnings.append(f"{len(strangers)} images of {folder} have names that are not like "
                             f"{names.example} and are left out: {name_some(strangers)}")
    count_dropped(scan, junk=junk, not_an_image=others, unknown_name=len(strangers))
    return entries


def count_dropped(scan: Scan, **counts: int) -> None:
    """Adds to the number of files that a scan has left out for each reason."""
    scan.dropped.update({reason: count for reason, count in counts.items() if count})


def list_files(folder: Path, nested: bool = False) -> tuple[list[str], int]:
    """Returns the sorted image paths of a folder and the number of other files.

    With `nested`, its subfolders are listed too.
    """
    paths, others = list_images(folder)
    if nested:
        for name in list_folders(folder):
            images, skipped = list_images(folder / name)
            paths += [f"{name}/{image}" for image in images]
            others += skipped
    return paths, others


def read_lines(file: Path, missing: str) -> Iterator[tuple[int, str]]:
    """Yields the number, from 1, and the text of each line that is not empty.

    Args:
        file: The text file.
        missing: What to do if it is missing or broken, for the message.

    Raises:
        UserError: If the file is missing or is not text.
    """
    for line, text in enumerate(read_text(file, missing).split("\n"), start=1):
        if text.strip():
            yield line, text.strip()


def compare_with_protocol(
    dataset: str,
    splits: Mapping[str, Sequence[ImageEntry]],
    protocol: Mapping[str, Counts],
    distractor: int | None = None,
) -> list[str]:
    """Returns a list of one warning if the splits do not have the published counts, else none.

    The person id `distractor` is not counted as an identity.
    """
    different = []
    for split, published in protocol.items():
        people = {entry.person_id for entry in splits[split]} - {distractor}
        found = Counts(len(splits[split]), len(people))
        if found != published:
            different.append(f"{split} has {found.images:,} images of {found.identities:,} "
                             f"identities, not {published.images:,} of {published.identities:,}")
    if not different:
        return []
    return [f"this copy of {dataset} is not the published one: {'; '.join(different)}"]


def refuse_problems(file: str | os.PathLike, problems: Sequence[str]) -> None:
    """Raises a `UserError` that names up to ten problems of a file, if there are any."""
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise UserError(f"{file}: {count}: {name_some(problems, '; ')}.")
