"""The user's own images with their splits: what is checked before a build, and the scan."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tfrecords.layout import refuse_problems
from tfrecords.scan import NO_CAMERA, ImageEntry, Scan, name_some

SPLITS = ("train", "query", "gallery")
_NUMBER = re.compile(r"[0-9]{1,18}")


class OwnImage(NamedTuple):
    """An image as its owner describes it.

    Attributes:
        place: Where it is described, for messages.
        path: POSIX path relative to the root.
        person: Name or number of the identity.
        camera: Name or number of the camera; None if it is unknown.
        split: One of `SPLITS`.
        tracklet: Name or number of the tracklet, if there is one.
    """

    place: str
    path: str
    person: str
    camera: str | None
    split: str
    tracklet: str | None = None


def scan_own_images(
    root: Path, images: Sequence[OwnImage], source: str | os.PathLike, options: dict[str, Any]
) -> Scan:
    """Numbers people, cameras and tracklets, and warns of what looks like a mistake.

    Args:
        root: The folder of the images.
        images: The images, in the order in which they are written.
        source: The file or folder that describes them, for messages.
        options: The builder's settings. The names behind numbers are added: `person_names`, and
            `camera_names` if cameras have names.
    """
    people, person_names = number_names(image.person for image in images)
    cameras, camera_names = number_names(
        image.camera for image in images if image.camera is not None)
    tracklets, _ = number_names(image.tracklet for image in images if image.tracklet is not None)
    splits: dict[str, list[ImageEntry]] = {split: [] for split in SPLITS}
    for image in images:
        splits[image.split].append(ImageEntry(
            image.path, people[image.person],
            NO_CAMERA if image.camera is None else cameras[image.camera],
            None if image.tracklet is None else tracklets[image.tracklet]))
    named = {"camera_names": camera_names} if camera_names else {}
    return Scan(
        root,
        {split: entries for split, entries in splits.items() if entries},
        options={**options, "person_names": person_names, **named},
        warnings=[*_alike(source, "people", people), *_alike(source, "cameras", cameras),
                  *_shared_people(source, images)],
    )


def refuse_unusable(
    source: str | os.PathLike, images: Sequence[OwnImage], allow_single: bool, no_cameras: str
) -> None:
    """Raises a `UserError` that names queries without a match and other problems, if any.

    Args:
        source: The file or folder that describes the images.
        images: The images.
        allow_single: Whether people may have a single training image.
        no_cameras: What to do if there is one camera only.
    """
    cameras = {image.camera for image in images}
    if len(cameras) == 1 and None not in cameras and any(
            image.split == "query" for image in images):
        refuse_problems(source, [f"all images are by camera {cameras.pop()}, so that no query has "
                                 f"a match by another one ({no_cameras})"])
    problems = [*_unmatched_queries(images), *_mixed_tracklets(images)]
    if not allow_single:
        problems += _single_training_images(images)
    refuse_problems(source, problems)


def number_names(names: Iterable[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Assigns a number to every name.

    Names that are all distinct whole numbers keep them. Otherwise the sorted names are numbered
    from 1, because 0 marks distractors in Market-1501.

    Returns:
        The number of each name, and the same dict for the manifest (empty for whole numbers).
    """
    ordered = sorted(set(names))
    if all(map(_NUMBER.fullmatch, ordered)):
        numbers = {name: int(name) for name in ordered}
        if len(set(numbers.values())) == len(ordered):
            return numbers, {}
    numbers = {name: number for number, name in enumerate(ordered, start=1)}
    return numbers, numbers


def _alike(source: str | os.PathLike, kind: str, names: Iterable[str]) -> list[str]:
    """Warns of names that differ in Unicode form, upper case or leading zeros only."""
    spellings = defaultdict(list)
    for name in names:
        plain = unicodedata.normalize("NFKC", name).casefold()
        spellings[re.sub(r"0*(\d+)", r"\1", plain)].append(name)
    groups = [" and ".join(map(ascii, group)) for group in spellings.values() if len(group) > 1]
    return [f"{source}: {len(groups)} names are spelled in several ways, which makes them "
            f"different {kind}: {name_some(groups)}"] if groups else []


def _unmatched_queries(images: Sequence[OwnImage]) -> Iterator[str]:
    """Lists queries that no gallery image can match, and queries that would match themselves."""
    gallery_cameras: dict[str, set[str | None]] = defaultdict(set)
    gallery_paths = set()
    for image in images:
        if image.split == "gallery":
            gallery_cameras[image.person].add(image.camera)
            gallery_paths.add(image.path)
    for image in images:
        if image.split != "query":
            continue
        cameras = gallery_cameras[image.person]
        if image.camera is None and image.path in gallery_paths:
            yield f"{image.place}: {image.path} is query and gallery, and would find itself"
        elif not cameras:
            yield f"{image.place}: query person {image.person} is not in the gallery"
        elif cameras == {image.camera} != {None}:
            yield (f"{image.place}: query person {image.person} is in the gallery only in the "
                   f"query's own camera {image.camera}")


def _mixed_tracklets(images: Sequence[OwnImage]) -> Iterator[str]:
    first: dict[str, OwnImage] = {}
    for image in images:
        if image.tracklet is None:
            continue
        known = first.setdefault(image.tracklet, image)
        if (known.person, known.camera) != (image.person, image.camera):
            yield (f"{image.place}: tracklet {image.tracklet} has another person or camera than at "
                   f"{known.place} (give every tracklet an id of its own)")


def _single_training_images(images: Sequence[OwnImage]) -> Iterator[str]:
    counts = Counter(image.person for image in images if image.split == "train")
    for image in images:
        if image.split == "train" and counts[image.person] == 1:
            yield (f"{image.place}: training person {image.person} has one image (add one, or keep "
                   "such people with --allow-single)")


def _shared_people(source: str | os.PathLike, images: Sequence[OwnImage]) -> list[str]:
    trained = {image.person for image in images if image.split == "train"}
    shared = sorted(trained & {image.person for image in images if image.split != "train"})
    return [f"{source}: {len(shared)} identities are in training and in query or gallery, which "
            f"makes the scores look better than they are: {name_some(shared)}"] if shared else []
