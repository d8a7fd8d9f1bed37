"""What the builders of published datasets share: folders, file names and protocol counts."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tfrecords.errors import UserError
from tfrecords.images import IMAGE_SUFFIXES
from tfrecords.scan import (
    NO_CAMERA,
    NOT_AN_IMAGE,
    ImageEntry,
    existing_root,
    list_images,
    name_some,
)

JUNK = -1


class FileNames(NamedTuple):
    """How a dataset names its images.

    Attributes:
        dataset: its name, for messages.
        pattern: matches a whole file name; group `person`, and group `camera` if names tell it.
        example: a file name.
        parts: what the numbers in the example are.
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
    """Returns the folder that holds `folders`: `root`, or its folder `child`.

    Raises:
        UserError: if `root` is no folder or a folder is missing.
    """
    root = existing_root(root)
    if not (root / folders[0]).is_dir() and (root / child).is_dir():
        root = root / child
    missing = [folder for folder in folders if not (root / folder).is_dir()]
    if missing:
        raise UserError(f"{root} holds no folder {' and no '.join(missing)}: --root must name the "
                        f"folder that holds {', '.join(folders)}.")
    return root


def list_people(
    root: Path,
    folder: str,
    names: FileNames,
    dropped: Counter[str],
    warnings: list[str],
    nested: bool = False,
    suffixes: tuple[str, ...] = IMAGE_SUFFIXES,
) -> list[ImageEntry]:
    """Lists the images of a folder whose file names tell the person.

    Junk (person -1) is dropped; images with other names are dropped with a warning.

    Args:
        root: the dataset.
        folder: its folder to list.
        names: how the images are called.
        dropped: is counted up: reason -> files left out.
        warnings: gets sentences for the user.
        nested: also lists the folders right in `folder`.
        suffixes: how image files end, in lower case.

    Raises:
        UserError: if no image is left.
    """
    paths, others = list_files(root / folder, nested, suffixes)
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
        raise UserError(f"{root / folder} holds no image named like {names.example} "
                        f"({names.parts}): put {names.dataset}'s files there.")
    if strangers:
        warnings.append(f"{len(strangers)} images of {folder} have names that are not like "
                        f"{names.example} and are left out: {name_some(strangers)}")
    for reason, count in (("junk", junk), (NOT_AN_IMAGE, others), ("unknown_name", len(strangers))):
        if count:
            dropped[reason] += count
    return entries


def list_files(
    folder: Path, nested: bool = False, suffixes: tuple[str, ...] = IMAGE_SUFFIXES
) -> tuple[list[str], int]:
    """Returns the image paths below a folder, sorted, and the number of other files.

    With `nested`, the folders right in it are listed too.
    """
    paths, others = list_images(folder, suffixes)
    if nested:
        with os.scandir(folder) as found:
            inner = sorted(item.name for item in found
                           if item.is_dir() and not item.name.startswith("."))
        for name in inner:
            images, skipped = list_images(folder / name, suffixes)
            paths += [f"{name}/{image}" for image in images]
            others += skipped
    return paths, others


def read_lines(file: Path, missing: str) -> Iterator[tuple[int, str]]:
    """Yields number, from 1, and text of the lines of a list that are not empty.

    Args:
        file: the list.
        missing: what to do where there is none, for the message.

    Raises:
        UserError: if the file is missing or no text.
    """
    try:
        with open(file, encoding="utf-8") as stream:
            for line, text in enumerate(stream, start=1):
                if text.strip():
                    yield line, text.strip()
    except FileNotFoundError as error:
        raise UserError(f"{file} is missing: {missing}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no text file ({error.reason}): take the list from the release."
                        ) from error


def compare_with_protocol(
    dataset: str,
    splits: Mapping[str, Sequence[ImageEntry]],
    protocol: Mapping[str, Counts],
    distractor: int | None = None,
) -> list[str]:
    """Returns a warning if the splits do not have the published counts, else nothing.

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


def refuse_problems(file: Path, problems: Sequence[str]) -> None:
    """Raises a `UserError` that names at most ten problems of a file, if there are any."""
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise UserError(f"{file}: {count}: {name_some(problems, '; ')}.")
