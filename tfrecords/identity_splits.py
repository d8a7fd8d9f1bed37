"""Identity splits: training and test identities, drawn from a seed; many splits per build."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from tfrecords.arguments import seed_type, whole
from tfrecords.errors import UserError
from tfrecords.manifest import STORED_SPLIT
from tfrecords.scan import ImageEntry, Scan, name_some


def add_split_options(parser: argparse.ArgumentParser) -> None:
    """Adds the flags `--splits` and `--seed` of the drawing."""
    parser.add_argument(
        "--splits", type=whole(high=1000), metavar="N",
        help="number of identity splits to draw, whose results are averaged; images are stored "
             "once and data.fold selects a split (default: %(default)s)")
    parser.add_argument(
        "--seed", type=seed_type,
        help="seed of the drawing; the same seed draws the same identities on every machine, and "
             "split N does not depend on the number of splits (default: %(default)s)")


def draw_identity_splits(
    images: Sequence[ImageEntry],
    *,
    test: int,
    val: int = 0,
    splits: int = 10,
    seed: int = 0,
    tests: Sequence[Collection[int]] | None = None,
) -> list[dict[str, list[int]]]:
    """Draws the test and, if wanted, validation identities; all others are for training.

    Only identities seen by two cameras are drawn, since the others have no match. Split `number`
    depends only on the identities, `seed` and `number`.

    Args:
        images: All images of the dataset.
        test: Number of test identities per split.
        val: Number of validation identities per split.
        splits: Number of splits.
        seed: Non-negative integer.
        tests: Test identities of every split if a release fixes them; `test` is then ignored.

    Returns:
        For each split a dict from `train`, `val` (unless it is empty) and `test` to sorted person
        ids.

    Raises:
        UserError: If a setting is out of range, or there are too few identities.
    """
    check_drawing(splits, seed)
    if tests is not None and len(tests) < splits:
        raise UserError(f"--splits is {splits} but the release fixes the test identities of "
                        f"{len(tests)} splits: set it to {len(tests)} or less.")
    cameras = _cameras(images)
    matched = np.array(sorted(person for person, seen in cameras.items() if len(seen) > 1), int)
    drawn = []
    for number in range(splits):
        fixed = None if tests is None else set(tests[number])
        order = [person for person in _shuffled(matched, seed, number)
                 if fixed is None or person not in fixed]
        held_out = val + (test if fixed is None else 0)
        chosen = set(order[val:held_out]) if fixed is None else fixed
        validating = set(order[:val])
        training = cameras.keys() - chosen - validating
        if len(order) < held_out or not training or not chosen:
            raise UserError(
                f"the dataset holds {len(cameras)} identities, {len(matched)} of them seen by two "
                f"cameras, which are too few for {test} test and {val} validation identities and "
                "others to train on: --root must name the whole release.")
        split = {"train": training, "val": validating, "test": chosen}
        drawn.append({name: sorted(people) for name, people in split.items()
                      if people or name != "val"})
    return drawn


def check_drawing(splits: int, seed: int) -> None:
    """Raises a `UserError` if a setting of the drawing is out of range."""
    if splits < 1:
        raise UserError(f"--splits must be at least 1, but is {splits}.")
    if not 0 <= seed < 2**32:
        raise UserError(f"--seed must lie between 0 and {2**32 - 1}, but is {seed}.")


def refuse_losses(scan: Scan, corrupt: Collection[str]) -> None:
    """Raises a `UserError` if corrupt images deprive an identity of what its splits need.

    Training needs one image of it, a test one by every camera that saw it; machines with complete
    copies would otherwise evaluate other queries.
    """
    if not scan.identity_splits or not corrupt:
        return
    images = scan.splits[STORED_SPLIT]
    planned = _cameras(images)
    left = _cameras(entry for entry in images if entry.path not in corrupt)
    tested = {person for split in scan.identity_splits
              for person in (*split.get("val", ()), *split["test"])}
    lost = sorted(person for person in planned if person not in left
                  or (person in tested and planned[person] != left[person]))
    if lost:
        raise UserError(f"every image of person {name_some(map(str, lost))} in {scan.root}, or "
                        "every one by a camera, is corrupt, and the identity splits need them: "
                        "repair them and run the same command again.")


def describe_identity_splits(identity_splits: Sequence[dict[str, list[int]]]) -> str:
    """Returns a line such as "10 identity splits: train 316, test 316"."""
    counts = []
    for name in identity_splits[0]:
        found = sorted({len(split.get(name, ())) for split in identity_splits})
        counts.append(f"{name} " + " to ".join(f"{count:,}" for count in
                                               dict.fromkeys((found[0], found[-1]))))
    noun = "split" if len(identity_splits) == 1 else "splits"
    return f"{len(identity_splits)} identity {noun}: {', '.join(counts)}"


def _cameras(images: Iterable[ImageEntry]) -> dict[int, set[int]]:
    cameras: dict[int, set[int]] = defaultdict(set)
    for entry in images:
        cameras[entry.person_id].add(entry.camera_id)
    return dict(cameras)


def _shuffled(people: np.ndarray, seed: int, number: int) -> list[int]:
    # NumPy guarantees the raw numbers of a generator, but not the results of its other methods.
    keys = np.random.default_rng([seed, number]).bit_generator.random_raw(len(people))
    return people[np.argsort(keys, kind="stable")].tolist()
