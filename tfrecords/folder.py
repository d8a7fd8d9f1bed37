"""The user's own images in one folder per person; splits are drawn from a seed, or given."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from pathlib import Path

import numpy as np

from tfrecords.arguments import seed_type, whole
from tfrecords.datasets import Dataset
from tfrecords.errors import UserError
from tfrecords.layout import count_dropped
from tfrecords.market1501 import DISTRACTOR
from tfrecords.own_images import SPLITS, OwnImage, refuse_unusable, scan_own_images
from tfrecords.people_folders import FolderImage, PeopleFolders, find_splits
from tfrecords.scan import Scan, existing_root, list_folders, name_some

LAYOUT = """\
ROOT/anna/*.jpg           one folder per person; the splits are drawn
ROOT/anna/cam1/*.jpg      the same with a folder per camera (cam1, camera_2, c3)
ROOT/train/anna/*.jpg     or train (train_all is preferred), query and gallery, each with one folder
ROOT/query/ben/*.jpg      per person: nothing is drawn; person 0 of the gallery are distractors
ROOT/gallery/ben/*.jpg
A folder -1 is junk, as in Market-1501, and dropped.
Folders of other depths are passed over, with a warning that names them."""
_DRAWING = {"test_fraction": 0.5, "query_per_identity": 1, "seed": 0}


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
        help="regular expression with one group that finds the camera number in a file's path "
             "below its person's folder, such as '_c(\\d+)': matches in the query's own camera are "
             "then ignored")
    parser.add_argument(
        "--allow-single", action="store_true",
        help="keep identities with a single image, all of them for training; they are refused by "
             "default because they have no positive for a triplet")


def scan_folder(
    root: str | os.PathLike,
    *,
    test_fraction: float = _DRAWING["test_fraction"],
    query_per_identity: int = _DRAWING["query_per_identity"],
    seed: int = _DRAWING["seed"],
    camera_pattern: str | None = None,
    allow_single: bool = False,
) -> Scan:
    """Lists images in one folder per person and draws train, query and gallery.

    Only identities whose queries can have a match are held out: those with two images, and with
    two cameras if cameras are known. At least one match stays in the gallery. If the root holds
    folders train, query and gallery, nothing is drawn.

    Args:
        root: The folder of the people's folders, or of train, query and gallery.
        test_fraction: Share of all identities to hold out, 0 to 1.
        query_per_identity: Number of queries of each held-out identity.
        seed: Seed of the drawing of identities and queries.
        camera_pattern: Regular expression whose one group is the camera number in a file's path
            below its person's folder.
        allow_single: Whether to keep identities with one image, for training.

    Raises:
        UserError: If a setting, an identity or a file name is invalid, or the root has another
            layout; the message names them.
    """
    root = existing_root(root)
    drawing = {"test_fraction": test_fraction, "query_per_identity": query_per_identity,
               "seed": seed}
    _check_settings(**drawing)
    given = find_splits(root)
    options = {"camera_pattern": camera_pattern, "allow_single": allow_single}
    no_cameras = "leave out --camera-pattern" if camera_pattern else "add images by another one"
    people = PeopleFolders(root, camera_pattern)
    if given:
        if drawing != _DRAWING:
            raise UserError(f"{root} holds the splits {', '.join(given.values())}, so that nothing "
                            "is drawn: leave out --test-fraction, --query-per-identity and --seed.")
        people.pass_over(sorted(set(list_folders(root)) - set(given.values())))
        images = [OwnImage(image.path, image.path, person, image.camera, split)
                  for split in SPLITS
                  for person, found in people.read(given[split]).items() for image in found]
    else:
        options = {**drawing, **options}
        images = _draw(root, people.read(), allow_single, **drawing)
    refuse_unusable(root, images, allow_single, no_cameras)
    scan = scan_own_images(root, images, root, options)
    if given and not scan.options["person_names"] and DISTRACTOR not in {
            entry.person_id for split in ("train", "query") for entry in scan.splits[split]}:
        scan.distractor_id = DISTRACTOR
    scan.warnings += people.finish()
    count_dropped(scan, **people.dropped)
    return scan


def _check_settings(test_fraction: float, query_per_identity: int, seed: int) -> None:
    if not 0 <= test_fraction <= 1:
        raise UserError(f"--test-fraction must lie between 0 and 1, but is {test_fraction}.")
    if query_per_identity < 1:
        raise UserError(f"--query-per-identity must be at least 1, but is {query_per_identity}.")
    if not 0 <= seed < 2**32:
        raise UserError(f"--seed must lie between 0 and {2**32 - 1}, but is {seed}.")


def _draw(
    root: Path,
    people: dict[str, list[FolderImage]],
    allow_single: bool,
    test_fraction: float,
    query_per_identity: int,
    seed: int,
) -> list[OwnImage]:
    single = [name for name, images in people.items() if len(images) == 1]
    if single and not allow_single:
        raise UserError(f"{root} has {len(single)} people with one image ({name_some(single)}): "
                        "add images, remove the folders, or pass --allow-single.")
    generator = np.random.RandomState(seed)  # every version of NumPy draws the same
    held_out = _draw_held_out(root, people, test_fraction, generator)
    drawn = []
    for name, images in people.items():
        queries = (_draw_queries(images, query_per_identity, generator)
                   if name in held_out else set())
        for image in images:
            split = "train" if name not in held_out else (
                "query" if image in queries else "gallery")
            drawn.append(OwnImage(image.path, image.path, name, image.camera, split))
    return drawn


def _draw_held_out(
    root: Path,
    people: dict[str, list[FolderImage]],
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


def _has_match(images: list[FolderImage]) -> bool:
    cameras = {image.camera for image in images}
    return len(images) > 1 and (len(cameras) > 1 or cameras == {None})


def _draw_queries(
    images: list[FolderImage], count: int, generator: np.random.RandomState
) -> set[FolderImage]:
    """Draws queries one by one, skipping those that would leave a query without a match."""
    left = Counter(image.camera for image in images)
    queries: set[FolderImage] = set()
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


def _matches_left(left: Counter[str | None], camera: str | None) -> bool:
    if camera is None:
        return left[None] > 0
    return any(count > 0 for other, count in left.items() if other != camera)


DATASET = Dataset(scan_folder, "your own images, one folder per person; the splits are drawn or "
                  "given", LAYOUT, add_options)
