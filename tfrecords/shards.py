"""Divides the splits of a scan into shards, and counts the images that were written."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from tfrecords.errors import UserError
from tfrecords.manifest import Shard, SplitEntry
from tfrecords.scan import ImageEntry, Scan, name_some
from tfrecords.schema import NO_LABEL, SCHEMA_VERSION
from tfrecords.writer import ShardJob

TRAINING_SPLIT = "train"


def plan_shards(scan: Scan, shards: int) -> list[ShardJob]:
    """Divides every split into `shards` jobs of about equal size, or fewer if it has fewer images.

    The shards of a split, read in order, have the images in the order of the scan.

    Raises:
        UserError: If a number does not fit into a record.
    """
    jobs = []
    for split, entries in scan.splits.items():
        _check_numbers(entries)
        labels = _training_labels(entries) if split == TRAINING_SPLIT else {}
        count = min(shards, len(entries))
        for index in range(count):
            part = entries[index * len(entries) // count : (index + 1) * len(entries) // count]
            jobs.append(_make_job(scan, f"{split}-{index:05d}-of-{count:05d}.tfrecord", split, part,
                                  [labels.get(entry.person_id, NO_LABEL) for entry in part]))
    return jobs


def count_split(
    scan: Scan, split: str, shards: Sequence[Shard], corrupt: Collection[str]
) -> SplitEntry:
    """Counts the images of a split without the corrupt ones.

    Raises:
        UserError: If no image of the split or of a training identity is left; without the latter
            the labels that are already written would have gaps.
    """
    planned = scan.splits[split]
    entries = [entry for entry in planned if entry.path not in corrupt]
    if not entries:
        raise UserError(f"every image of split {split} in {scan.root} is corrupt: repair them and "
                        "run the same command again.")
    lost = {entry.person_id for entry in planned} - {entry.person_id for entry in entries}
    if split == TRAINING_SPLIT and lost:
        raise UserError(f"every training image of person {name_some(map(str, sorted(lost)))} in "
                        f"{scan.root} is corrupt: repair the images, or take the person out of the "
                        "dataset and build into an empty folder.")
    people = {entry.person_id for entry in entries} - {scan.distractor_id}
    cameras = {entry.camera_id for entry in entries if entry.camera_id >= 0}
    distractors = sum(entry.person_id == scan.distractor_id for entry in entries)
    return SplitEntry(len(entries), len(people), len(cameras), distractors, tuple(shards))


def _check_numbers(entries: list[ImageEntry]) -> None:
    for entry in entries:
        for number in entry[1:]:
            if number is not None and not -(2**63) < number < 2**63:
                raise UserError(f"{entry.path}: the number {number} of its person, camera or "
                                "tracklet is beyond 64 bits: rename the file or take it out.")


def _training_labels(entries: list[ImageEntry]) -> dict[int, int]:
    people = sorted({entry.person_id for entry in entries})
    return {person: label for label, person in enumerate(people)}


def _make_job(
    scan: Scan, file: str, split: str, images: list[ImageEntry], labels: list[int]
) -> ShardJob:
    digest = hashlib.sha256(f"schema {SCHEMA_VERSION}\n".encode())
    for entry, label in zip(images, labels):
        line = (*entry, label, scan.source.size(entry.path))
        digest.update(repr(line).encode("utf-8", "surrogateescape") + b"\n")
    return ShardJob(file, split, scan.source, images, labels, digest.hexdigest())
