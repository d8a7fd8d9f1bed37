"""Warnings of images that make an evaluation wrong: byte-identical ones, and lost matches."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from tfrecords.manifest import STORED_SPLIT
from tfrecords.scan import ImageEntry, Scan, name_some

_DIGEST = 8
_BETTER = "which makes the scores look better than they are"


def image_digest(data: bytes) -> bytes:
    """Returns 8 bytes that tell images apart; those of a million collide once in 10^7 builds."""
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()


def read_digests(shard: str | os.PathLike) -> bytes:
    """Returns the digests of a shard's images, one after the other."""
    import tensorflow as tf

    from tfrecords.schema import parse_records

    digests = []
    for records in tf.data.TFRecordDataset(str(shard)).batch(1024):
        digests += map(image_digest, parse_records(records)["image/encoded"].numpy())
    return b"".join(digests)


def identical_images(scan: Scan, corrupt: dict[str, set[str]], digests: dict[str, bytes]
                     ) -> list[str]:
    """Returns warnings of byte-identical images in different roles.

    These are queries that find themselves in the gallery, because the gallery has the image as one
    of the same person by another or an unknown camera, and test images that were trained on. In
    records with drawn splits, whose images may be both, the first kind is looked for everywhere.

    Args:
        scan: The images.
        corrupt: Paths that were left out of the records, by split.
        digests: By split, the digests of the images that were not, in their order.
    """
    kept = {split: [(place, entry) for place, entry in enumerate(entries)
                    if entry.path not in corrupt[split]] for split, entries in scan.splits.items()}
    codes = {split: np.frombuffer(joined, np.uint64) for split, joined in digests.items()}
    warnings = []
    query, gallery = ((STORED_SPLIT,) * 2 if STORED_SPLIT in kept else ("query", "gallery"))
    if query in kept and gallery in kept:
        found = {}
        for number, other in _equal(codes[query], codes[gallery]):
            (place, entry), (position, image) = kept[query][number], kept[gallery][other]
            if _counts(entry, image) and (scan.query_galleries is None
                                          or position in scan.query_galleries[place]):
                found.setdefault(entry.path, f"{entry.path} = {image.path}")
        if found:
            warnings.append(f"{len(found)} queries are byte-identical to gallery images that count "
                            f"as their matches, {_BETTER}: {name_some(found.values())}")
    if "train" in kept:
        tested = [(split, place) for split in ("query", "gallery") if split in kept
                  for place in np.flatnonzero(np.isin(codes[split], codes["train"])).tolist()]
        if tested:
            paths = [kept[split][place][1].path for split, place in tested]
            warnings.append(f"{len(tested)} images of query and gallery are byte-identical to "
                            f"training images, {_BETTER}: {name_some(paths)}")
    return warnings


def lost_matches(scan: Scan, corrupt: dict[str, set[str]]) -> list[str]:
    """Returns a warning of queries whose every match was left out as corrupt, if there are any."""
    if not {"query", "gallery"} <= scan.splits.keys() or not corrupt["gallery"]:
        return []
    planned, left = ({person: set(cameras) for person, cameras in _cameras(
        scan.splits["gallery"], without).items()} for without in ((), corrupt["gallery"]))
    lost = [entry.path for entry in scan.splits["query"] if entry.path not in corrupt["query"]
            and _matched(entry, planned) and not _matched(entry, left)]
    return [f"{len(lost)} queries have no match left, because every gallery image that matches "
            f"them is corrupt; evaluations skip them: {name_some(lost)}"] if lost else []


def _equal(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yields the positions of equal digests, but not of an image and itself."""
    places = defaultdict(list)
    for place in np.flatnonzero(np.isin(second, first)).tolist():
        places[second[place]].append(place)
    for place in np.flatnonzero(np.isin(first, second)).tolist():
        for other in places[first[place]]:
            if first is not second or place < other:
                yield place, other


def _counts(query: ImageEntry, image: ImageEntry) -> bool:
    return query.person_id == image.person_id and (
        query.camera_id != image.camera_id or query.camera_id < 0)


def _cameras(entries: Sequence[ImageEntry], without: Collection[str]) -> dict[int, set[int]]:
    cameras = defaultdict(set)
    for entry in entries:
        if entry.path not in without:
            cameras[entry.person_id].add(entry.camera_id)
    return cameras


def _matched(query: ImageEntry, cameras: dict[int, set[int]]) -> bool:
    seen = cameras.get(query.person_id, set())
    return bool(seen if query.camera_id < 0 else seen - {query.camera_id})
