"""MSMT17, V1 and V2 (the same images with blurred faces): four lists name the images."""

from __future__ import annotations

import argparse
import os
import posixpath
import re
from pathlib import Path
from typing import NamedTuple

from tfrecords.datasets import Dataset
from tfrecords.errors import UserError
from tfrecords.layout import Counts, compare_with_protocol, read_lines, refuse_problems
from tfrecords.scan import ImageEntry, Scan, existing_root

LAYOUT = """\
ROOT/                 MSMT17_V1 or MSMT17_V2, or the folder that holds one of them
    train/            0000/0000_045_12_0303morning_0006_2.jpg: the third number is the camera
    test/             (MSMT17_V2 calls the two mask_train_v2 and mask_test_v2)
    list_train.txt    a line an image: 0000/0000_045_12_0303morning_0006_2.jpg 0
    list_val.txt      for --combine-train-val only
    list_query.txt
    list_gallery.txt
Protocol: train 30,248 images of 1,041 identities (32,621 with list_val.txt), query 11,659 of 3,060,
gallery 82,161 of 3,060, 15 cameras. The lists number the test identities from 0 again; records
number them on from the training identities."""
_IMAGE_FOLDERS = {"V1": ("train", "test"), "V2": ("mask_train_v2", "mask_test_v2")}
_VALIDATION_LIST = "list_val.txt"
_LINE = re.compile(r"(?P<path>\S.*\.(jpg|jpeg|png))\s+(?P<person>\d{1,18})", re.IGNORECASE)
_CAMERA = re.compile(r"\d+_\d+_(?P<camera>\d+)_.*")
_TEST = {"query": Counts(11659, 3060), "gallery": Counts(82161, 3060)}
_TRAIN, _TRAIN_AND_VALIDATION = Counts(30248, 1041), Counts(32621, 1041)


class _Release(NamedTuple):
    """A folder of the dataset, its version and its two image folders."""

    root: Path
    version: str
    train: str
    test: str


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds MSMT17's own flag."""
    parser.add_argument(
        "--combine-train-val", action="store_true",
        help="also train on list_val.txt, 2,373 more images of the same 1,041 identities; papers "
             "differ in this, and the default is list_train.txt alone")


def scan_msmt17(root: str | os.PathLike, *, combine_train_val: bool = False) -> Scan:
    """Lists MSMT17 (Wei et al., "Person Transfer GAN to Bridge Domain Gap ...", 2018).

    Test identities are numbered on from the largest training identity, so that a number means one
    person in all splits; the manifest's `first_test_id` is the number that was added.

    Args:
        root: The folder of one version, or its parent.
        combine_train_val: Whether to train on the validation list too.

    Raises:
        UserError: If a folder or list is missing, or lines of a list are invalid.
    """
    release = _find_release(existing_root(root))
    training_lists = ["list_train.txt"] + [_VALIDATION_LIST] * combine_train_val
    train = [entry for name in training_lists
             for entry in _read_list(release.root, name, release.train, 0)]
    first_test_id = 1 + max(entry.person_id for entry in train)
    splits = {"train": train, **{
        split: _read_list(release.root, f"list_{split}.txt", release.test, first_test_id)
        for split in _TEST}}
    protocol = {"train": _TRAIN_AND_VALIDATION if combine_train_val else _TRAIN, **_TEST}
    return Scan(
        release.root,
        splits,
        options={"version": release.version, "combine_train_val": combine_train_val,
                 "first_test_id": first_test_id},
        warnings=compare_with_protocol("MSMT17", splits, protocol),
    )


def _find_release(root: Path) -> _Release:
    found = [_Release(folder, version, train, test)
             for folder in (root, root / "MSMT17_V1", root / "MSMT17_V2")
             for version, (train, test) in _IMAGE_FOLDERS.items()
             if (folder / train).is_dir() and (folder / test).is_dir()]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{root} holds two versions of MSMT17: --root must name one of them, such "
                        f"as {found[0].root}.")
    raise UserError(f"{root} holds neither folders train and test (MSMT17_V1) nor mask_train_v2 "
                    "and mask_test_v2 (MSMT17_V2): --root must name the folder that holds them and "
                    "the four lists.")


def _read_list(root: Path, name: str, folder: str, first_id: int) -> list[ImageEntry]:
    """Reads a list, whose paths are relative to `folder` and identities to `first_id`."""
    file = root / name
    problems: list[str] = []
    entries: list[ImageEntry] = []
    lines: dict[str, int] = {}
    for line, text in read_lines(file, "put the release's four lists beside its image folders"):
        entry, problem = _parse_line(text, folder, first_id)
        if entry is not None and lines.setdefault(entry.path, line) != line:
            problem = f"{entry.path} is at line {lines[entry.path]} already"
        elif entry is not None and not os.path.isfile(root / entry.path):
            problem = f"{entry.path} is not in {root}"
        if problem:
            problems.append(f"line {line}: {problem}")
        else:
            entries.append(entry)
    refuse_problems(file, problems)
    if not entries:
        raise UserError(f"{file} is empty: take the list from the release.")
    return entries


def _parse_line(text: str, folder: str, first_id: int) -> tuple[ImageEntry | None, str | None]:
    """Returns the entry of a line, or what is wrong with it."""
    match = _LINE.fullmatch(text)
    if match is None:
        return None, f"{text[:80]!r} is not an image and its identity"
    path = match["path"]
    camera = _CAMERA.fullmatch(posixpath.basename(path))
    if camera is None:
        return None, f"{path} has no camera as third number"
    if posixpath.isabs(path) or ".." in path.split("/"):
        return None, f"{path} lies outside {folder}"
    person = first_id + int(match["person"])
    return ImageEntry(f"{folder}/{path}", person, int(camera["camera"])), None


DATASET = Dataset(scan_msmt17, "MSMT17, V1 or V2, by its lists", LAYOUT, add_options)
