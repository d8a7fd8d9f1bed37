"""CUHK03 by its original protocol: identities drawn for training, validation and test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tfrecords.cuhk03_images import MatSource, list_mat_images, read_testsets
from tfrecords.errors import UserError
from tfrecords.identity_splits import check_drawing, draw_identity_splits
from tfrecords.layout import Counts, compare_with_protocol
from tfrecords.manifest import STORED_SPLIT
from tfrecords.scan import ImageEntry, Scan, name_some

SPLITS = 20
CAMERA_PAIRS = (5, 3)
_TEST = _VAL = 100
_PROTOCOL = {"detected": Counts(14097, 1467), "labeled": Counts(14096, 1467)}
# Papers call the first three camera pairs the whole dataset.
_PEOPLE_OF_THREE_PAIRS = 1360


class _People(NamedTuple):
    """The person ids of a .mat by [camera pair, row], from 1 over all pairs, and its images."""

    ids: dict[tuple[int, int], int]
    images: list[ImageEntry]


def scan_original(
    root: Path,
    mat: Path,
    kind: str,
    *,
    splits: int = SPLITS,
    seed: int = 0,
    official_testsets: bool = False,
    camera_pairs: int = 5,
) -> Scan:
    """Lists the images of cuhk-03.mat and draws 100 identities for test and 100 for validation.

    Args:
        root: The dataset folder.
        mat: cuhk-03.mat.
        kind: "detected" or "labeled".
        splits: Number of splits.
        seed: Seed of the drawing.
        official_testsets: Whether to take the test identities from the release and draw only those
            for validation.
        camera_pairs: 5 for all pairs, 3 for the first three.

    Raises:
        UserError: If the .mat is missing, damaged or holds too few people, or a setting is out of
            range.
    """
    check_drawing(splits, seed)
    people = _list_people(mat, kind, camera_pairs)
    stored = {STORED_SPLIT: people.images}
    warnings = _compare(kind, camera_pairs, stored)
    tests = _official_tests(mat, people, warnings) if official_testsets else None
    return Scan(
        root,
        stored,
        options={"kind": kind, "protocol": "original", "camera_pairs": camera_pairs,
                 "official_testsets": official_testsets, "splits": splits, "seed": seed},
        warnings=warnings,
        source=MatSource(str(mat), kind),
        identity_splits=draw_identity_splits(people.images, test=_TEST, val=_VAL, splits=splits,
                                             seed=seed, tests=tests),
    )


def _list_people(mat: Path, kind: str, camera_pairs: int) -> _People:
    rows, names = list_mat_images(mat, kind)
    ids: dict[tuple[int, int], int] = {}
    for pair, count in enumerate(rows[:camera_pairs], start=1):
        for row in range(1, count + 1):
            ids[pair, row] = len(ids) + 1
    images = []
    for name, pair, row, view in names:
        if pair <= camera_pairs:
            # Cameras are numbered per pair; whether pairs share one is not published.
            images.append(ImageEntry(f"images_{kind}/{name}", ids[pair, row],
                                     2 * (pair - 1) + view))
    if not images:
        raise UserError(f"{mat} holds no image of kind {kind}: take it from the release of CUHK03.")
    return _People(ids, images)


def _compare(kind: str, camera_pairs: int, stored: dict[str, list[ImageEntry]]) -> list[str]:
    if camera_pairs == max(CAMERA_PAIRS):
        return compare_with_protocol(f"CUHK03 ({kind})", stored, {STORED_SPLIT: _PROTOCOL[kind]})
    found = len({entry.person_id for entry in stored[STORED_SPLIT]})
    if found == _PEOPLE_OF_THREE_PAIRS:
        return []
    return [f"this copy of CUHK03 ({kind}) is not the published one: its first {camera_pairs} "
            f"camera pairs hold {found:,} identities, not {_PEOPLE_OF_THREE_PAIRS:,}"]


def _official_tests(mat: Path, people: _People, warnings: list[str]) -> Sequence[set[int]]:
    """Reads the release's test identities; warns of those without a match in the other view."""
    views: dict[int, set[int]] = {person: set() for person in people.ids.values()}
    for entry in people.images:
        views[entry.person_id].add(entry.camera_id)
    tests, single = [], set()
    for testset in read_testsets(mat):
        strangers = [f"[{pair}, {row}]" for pair, row in testset if (pair, row) not in people.ids]
        if strangers:
            raise UserError(f"the testsets of {mat} name people who are not in the camera pairs "
                            f"that are read ({name_some(strangers)}): leave out --camera-pairs or "
                            "--official-testsets.")
        test = {people.ids[pair, row] for pair, row in testset}
        tests.append(test)
        single |= {person for person in test if len(views[person]) < 2}
    if single:
        warnings.append(f"{len(single)} people of the release's testsets have no image in one of "
                        "the views, hence no match; their images stay in the test sets: "
                        f"{name_some(map(str, sorted(single)))}")
    return tests
