"""The user's own images, one folder per person; the splits are drawn from a seed."""

from __future__ import annotations

import argparse
import os
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfrecords.arguments import seed_type, whole
from tfrecords.datasets import Dataset
from tfrecords.errors import UserError
from tfrecords.scan import (
    NO_CAMERA,
    NOT_AN_IMAGE,
    ImageEntry,
    Scan,
    existing_root,
    list_images,
    name_some,
    number_people,
)


class _Image(NamedTuple):
    """One file of a person; `path` is relative to the root."""

    path: str
    camera: int


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the split."""
    parser.add_argument(
        "--test-fraction", type=float, metavar="SHARE",
        help="share of the identities held out for query and gallery, because identities seen in "
             "training would inflate the scores (default: %(default)s)")
    parser.add_argument(
        "--query-per-identity", type=whole(high=10_000), metavar="N",
        help="images of a held-out identity that become queries; the others are the gallery "
             "(default: %(default)s)")
    parser.add_argument(
        "--seed", type=seed_type,
        help="seed of the drawing; the same seed gives the same splits on every machine "
             "(default: %(default)s)")
    parser.add_argument(
        "--camera-pattern", metavar="REGEX",
        help="regular expression with one group that finds the camera number in a file name, such "
             "as '_c(\\d+)': matches in the query's own camera are then ignored")
    parser.add_argument(
        "--allow-single", action="store_true",
        help="keep identities with a single image, all of them for training; they are refused by "
             "default because they have no positive for a triplet")


def scan_folder(
    root: str | os.PathLike,
    *,
    test_fraction: float = 0.5,
    query_per_identity: int = 1,
    seed: int = 0,
    camera_pattern: str | None = None,
    allow_single: bool = False,
) -> Scan:
    """Lists images in one folder per person and draws train, query and gallery.

    Only identities whose queries can have a match are held out: those with two images, and with
    two cameras if cameras are known. At least one match stays in the gallery.

    Args:
        root: The folder of the people's folders.
        test_fraction: Share of all identities to hold out, 0 to 1.
        query_per_identity: Number of queries of each held-out identity.
        seed: Seed of the drawing of identities and queries.
        camera_pattern: Regular expression whose one group is the camera number in a file name.
        allow_single: Whether to keep identities with one image, for training.

    Raises:
        UserError: If a setting, an identity or a file name is invalid; the message names them.
    """
    root = existing_root(root)
    _check_settings(test_fraction, query_per_identity, seed)
    people, others = _list_people(root, _camera_regex(camera_pattern))
    single = [name for name, images in people.items() if len(images) == 1]
    if single and not allow_single:
        raise UserError(f"{root} has {len(single)} people with one image ({name_some(single)}): "
                        "add images, remove the folders, or pass --allow-single.")
    generator = np.random.RandomState(seed)  # every version of NumPy draws the same
    held_out = _draw_held_out(root, people, test_fraction, generator)
    numbers, names = number_people(people)
    splits: dict[str, list[ImageEntry]] = {"train": [], "query": [], "gallery": []}
    for name, images in people.items():
        queries = (_draw_queries(images, query_per_identity, generator)
                   if name in held_out else set())
        for image in images:
            split = "train" if name not in held_out else (
                "query" if image in queries else "gallery")
            splits[split].append(ImageEntry(image.path, numbers[name], image.camera))
    return Scan(
        root,
        {split: entries for split, entries in splits.items() if entries},
        dropped={NOT_AN_IMAGE: others} if others else {},
        options={
            "test_fraction": test_fraction,
            "query_per_identity": query_per_identity,
            "seed": seed,
            "camera_pattern": camera_pattern,
            "allow_single": allow_single,
            "person_names": names,
        },
    )


def _check_settings(test_fraction: float, query_per_identity: int, seed: int) -> None:
    if not 0 <= test_fraction <= 1:
        raise UserError(f"--test-fraction must lie between 0 and 1, but is {test_fraction}.")
    if query_per_identity < 1:
        raise UserError(f"--query-per-identity must be at least 1, but is {query_per_identity}.")
    if not 0 <= seed < 2**32:
        raise UserError(f"--seed must lie between 0 and {2**32 - 1}, but is {seed}.")


def _camera_regex(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"--camera-pattern {pattern!r} is not a regular expression ({error}).") from error
    if regex.groups != 1:
        raise UserError(f"--camera-pattern {pattern!r} must have one group for the camera number, "
                        f"but has {regex.groups}.")
    return regex


def _list_people(
    root: Path, camera_regex: re.Pattern[str] | None
) -> tuple[dict[str, list[_Image]], int]:
    folders = sorted(item.name for item in root.iterdir()
                     if item.is_dir() and not item.name.startswith("."))
    people, others, strangers = {}, 0, []
    for name in folders:
        files, skipped = list_images(root / name)
        others += skipped
        cameras = [_camera(file, camera_regex) for file in files]
        strangers += [f"{name}/{file}" for file, camera in zip(files, cameras) if camera is None]
        if files:
            people[name] = [_Image(f"{name}/{file}", camera)
                            for file, camera in zip(files, cameras)]
    if not people:
        raise UserError(f"{root} holds no folders with JPEG or PNG files: --root must name a "
                        "folder that has one folder per person.")
    if strangers:
        raise UserError(f"--camera-pattern finds no camera number in {len(strangers)} file names "
                        f"({name_some(strangers)}): fix the pattern or rename the files.")
    return people, others


def _camera(file: str, regex: re.Pattern[str] | None) -> int | None:
    if regex is None:
        return NO_CAMERA
    match = regex.search(file)
    found = match.group(1) if match else None
    return int(found) if found and found.isascii() and found.isdecimal() else None


def _draw_held_out(
    root: Path,
    people: dict[str, list[_Image]],
    test_fraction: float,
    generator: np.random.RandomState,
) -> set[str]:
    able = [name for name, images in people.items() if _has_match(images)]
    wanted = round(test_fraction * len(people))
    if 0 < test_fraction < 1:
        wanted = min(max(wanted, 1), len(people) - 1)
    if wanted > len(able) or (test_fraction > 0 and wanted == 0):
        raise UserError(f"{root} has {len(people)} people, of whom {len(able)} can be queries "
                        "with a match (two images, and two cameras if these are known), too "
                        f"few for --test-fraction {test_fraction}: lower it or add images.")
    return {able[index] for index in generator.permutation(len(able))[:wanted]}


def _has_match(images: list[_Image]) -> bool:
    cameras = {image.camera for image in images}
    return len(images) > 1 and (len(cameras) > 1 or cameras == {NO_CAMERA})


def _draw_queries(
    images: list[_Image], count: int, generator: np.random.RandomState
) -> set[_Image]:
    """Draws queries one by one, skipping those that would leave a query without a match."""
    left = Counter(image.camera for image in images)
    queries: set[_Image] = set()
    for index in generator.permutation(len(images)):
        if len(queries) == count:
            break
        candidate = images[index]
        left[candidate.camera] -= 1
        cameras = {image.camera for image in queries} | {candidate.camera}
        if all(_matches_left(left, camera) for camera in cameras):
            queries.add(candidate)
        else:
            left[candidate.camera] += 1
    return queries


def _matches_left(left: Counter[int], camera: int) -> bool:
    if camera == NO_CAMERA:
        return left[NO_CAMERA] > 0
    return any(count > 0 for other, count in left.items() if other != camera)


DATASET = Dataset(scan_folder, "your own images, one folder per person; the splits are drawn",
                  add_options=add_options)
