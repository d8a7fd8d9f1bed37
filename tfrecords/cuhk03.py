"""CUHK03: the new protocol of 767 training and 700 test identities, and the original one."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfrecords.arguments import seed_type, whole
from tfrecords.cuhk03_images import MatSource, missing_images
from tfrecords.cuhk03_original import CAMERA_PAIRS, SPLITS, scan_original
from tfrecords.datasets import Dataset
from tfrecords.errors import UserError
from tfrecords.layout import Counts, compare_with_protocol
from tfrecords.matlab import load_v5
from tfrecords.scan import ImageEntry, Scan, existing_root, list_images, name_some
from tfrecords.source import FolderSource, ImageSource

LAYOUT = """\
ROOT/
    cuhk03_release/cuhk-03.mat                  the images, as arrays; also found right in ROOT
    cuhk03_new_protocol_config_detected.mat     the splits of --kind detected
    cuhk03_new_protocol_config_labeled.mat      the splits of --kind labeled
    images_detected/1_001_1_01.png              read where there is no cuhk-03.mat: camera pair,
    images_labeled/                             person, view and image, as toolboxes extract them
--protocol 767/700 (new, Zhong et al. 2017): 767 identities for training and 700 for test, 2 views.
The split files are not in the release but in its authors' repository, evaluation/data/CUHK03 of
github.com/zhunzhong07/person-re-ranking.
detected: train 7,365 images, query 1,400, gallery 5,332; labeled: 7,368, 1,400 and 5,328.
--protocol original (Li et al. 2014) needs cuhk-03.mat alone. Each of 20 splits draws 100 identities
for test and 100 for validation from those with images in both views; all others train. The five
camera pairs hold 843, 440, 77, 58 and 49 identities, 1,467 in all, which leaves 1,267. Papers count
1,360 and train on 1,160: the first three pairs, --camera-pairs 3.
The .mat holds arrays and no image files, so their pixels are stored as PNG, without loss."""
KINDS = ("detected", "labeled")
PROTOCOLS = ("767/700", "original")
_PROTOCOL = {
    "detected": {"train": Counts(7365, 767), "query": Counts(1400, 700),
                 "gallery": Counts(5332, 700)},
    "labeled": {"train": Counts(7368, 767), "query": Counts(1400, 700),
                "gallery": Counts(5328, 700)},
}
_RELEASE_FOLDER = "cuhk03_release"
_MAT = "cuhk-03.mat"
_SPLIT_FILES = (
    "take it from the authors of the new protocol (Zhong et al. 2017, github.com/zhunzhong07/"
    "person-re-ranking, folder evaluation/data/CUHK03), or pass --protocol original, which needs "
    f"{_MAT} alone")


class _Config(NamedTuple):
    """A split file: names, persons and cameras of all images, and positions per split."""

    file: Path
    names: list[str]
    persons: np.ndarray
    cameras: np.ndarray
    positions: dict[str, np.ndarray]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds CUHK03's own flags."""
    parser.add_argument(
        "--kind", choices=KINDS,
        help="boxes of a pedestrian detector, as in practice, or boxes drawn by hand, which score "
             "higher; papers report them separately (default: %(default)s)")
    parser.add_argument(
        "--protocol", choices=PROTOCOLS,
        help="one fixed split with many gallery images per identity, as in newer papers, or "
             "randomly drawn splits whose results are averaged (default: %(default)s)")
    original = parser.add_argument_group("with --protocol original")
    original.add_argument(
        "--splits", type=whole(high=1000), metavar="N",
        help=f"identity splits to draw; images are stored once and data.fold selects a split "
             f"(default: {SPLITS})")
    original.add_argument(
        "--seed", type=seed_type,
        help="seed of the drawing; the same seed draws the same identities on every machine "
             "(default: 0)")
    original.add_argument(
        "--official-testsets", action="store_true",
        help="take the 100 test identities of every split from the release's testsets and draw "
             "only those for validation")
    original.add_argument(
        "--camera-pairs", type=int, choices=CAMERA_PAIRS,
        help="camera pairs to read: 5 for all of the release, 3 for the 1,360 identities that "
             "papers count, of which 1,160 train (default: 5)")


def scan_cuhk03(
    root: str | os.PathLike,
    *,
    kind: str = "detected",
    protocol: str = PROTOCOLS[0],
    splits: int | None = None,
    seed: int | None = None,
    official_testsets: bool = False,
    camera_pairs: int | None = None,
) -> Scan:
    """Lists CUHK03 by one of its protocols.

    The new one is that of Zhong et al., "Re-ranking Person Re-identification with k-reciprocal
    Encoding": one image of each test identity in each of its two views is a query. Images are read
    from cuhk-03.mat if it exists, otherwise from images_KIND; the records name them
    images_KIND/NAME in both cases.

    Args:
        root: The folder of the release and of the split files.
        kind: "detected" or "labeled".
        protocol: "767/700" or "original".
        splits: As for `cuhk03_original.scan_original`, like the following; only with "original".
        seed: Seed of the drawing.
        official_testsets: Whether to take the test identities from the release.
        camera_pairs: Number of camera pairs to read.

    Raises:
        UserError: If a file is missing or damaged, the split file names missing images, or a
            setting is out of range or belongs to the other protocol.
    """
    for name, value, choices in (("kind", kind, KINDS), ("protocol", protocol, PROTOCOLS)):
        if value not in choices:
            raise ValueError(f"`{name}` must be one of {choices}. Received: {value!r}")
    root = existing_root(root)
    settings = {"splits": splits, "seed": seed, "camera_pairs": camera_pairs,
                "official_testsets": official_testsets or None}
    settings = {name: value for name, value in settings.items() if value is not None}
    if protocol == "original":
        return scan_original(root, _find(root, _MAT), kind, **settings)
    if settings:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in settings)
        raise UserError(f"{flags} goes with --protocol original only: the protocol {protocol} has "
                        "one fixed split.")
    config = _read_config(_find(root, f"cuhk03_new_protocol_config_{kind}.mat"))
    folder = f"images_{kind}"
    source = _find_images(root, kind, folder, config)
    splits = {
        split: [ImageEntry(f"{folder}/{config.names[position]}", int(config.persons[position]),
                           int(config.cameras[position])) for position in positions]
        for split, positions in config.positions.items()}
    return Scan(
        root,
        splits,
        options={"kind": kind, "protocol": protocol},
        warnings=compare_with_protocol(f"CUHK03 ({kind})", splits, _PROTOCOL[kind]),
        source=source,
    )


def _find(root: Path, name: str) -> Path:
    """Returns the file's path in the release folder if it is there, otherwise in `root`."""
    inner = root / _RELEASE_FOLDER / name
    return inner if inner.is_file() else root / name


def _find_images(root: Path, kind: str, folder: str, config: _Config) -> ImageSource:
    mat = _find(root, _MAT)
    wanted = [config.names[position] for positions in config.positions.values()
              for position in positions]
    if mat.is_file():
        source, place = MatSource(str(mat), kind), f"{mat}"
        missing = missing_images(mat, kind, wanted)
    elif (root / folder).is_dir():
        source, place = FolderSource(str(root)), f"{root / folder}"
        there = set(list_images(root / folder)[0])
        missing = [name for name in wanted if name not in there]
    else:
        raise UserError(f"{root} holds neither {_RELEASE_FOLDER}/{_MAT} nor a folder {folder}: "
                        "--root must name the folder that holds the release and the split files.")
    if missing:
        raise UserError(f"{config.file} names {len(missing)} images that {place} does not hold "
                        f"({name_some(missing)}): take both from their authors.")
    return source


def _read_config(file: Path) -> _Config:
    splits = {split: f"{split}_idx" for split in ("train", "query", "gallery")}
    content = load_v5(file, ["filelist", "labels", "camId", *splits.values()], _SPLIT_FILES)
    try:
        names = [str(np.ravel(cell)[0]) for cell in np.ravel(content["filelist"])]
        persons, cameras = (np.ravel(content[name]).astype(np.int64)
                            for name in ("labels", "camId"))
        # MATLAB counts from 1.
        positions = {split: np.ravel(content[name]).astype(np.int64) - 1
                     for split, name in splits.items()}
    except (IndexError, TypeError, ValueError) as error:
        raise UserError(f"{file} holds variables of another kind than a split file's ({error}): "
                        f"{_SPLIT_FILES}.") from error
    config = _Config(file, names, persons, cameras, positions)
    problem = _config_problem(config)
    if problem:
        raise UserError(f"{file} has {problem}: {_SPLIT_FILES}.")
    return config


def _config_problem(config: _Config) -> str | None:
    """Describes how the variables of a split file contradict each other, or returns None."""
    count = len(config.names)
    if not count == len(config.persons) == len(config.cameras):
        return (f"{count} names for {len(config.persons)} labels and {len(config.cameras)} "
                "cameras")
    for split, found in config.positions.items():
        if not len(found):
            return f"no image in {split}_idx"
        if found.min() < 0 or found.max() >= count:
            return f"positions in {split}_idx that are not among its {count} names"
    return None


DATASET = Dataset(
    scan_cuhk03,
    "CUHK03, detected or labeled, by the new protocol (767/700 identities) or the original one "
    "(drawn splits)",
    LAYOUT,
    add_options,
)
