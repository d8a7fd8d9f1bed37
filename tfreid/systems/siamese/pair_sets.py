"""Pairs of images to verify: drawn from records, or listed in a file, with the files in memory."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfrecords.errors import UserError
from tfrecords.image_files import read_file
from tfrecords.layout import refuse_problems
from tfrecords.storage import as_path
from tfreid.config import Config
from tfreid.data.drawn_pairs import DrawnPairSampler
from tfreid.evaluation.picture_images import LEAST_SIDE
from tfreid.records import ImageTable, Records, Split, SplitIndex
from tfreid.records.images import JoinedImages

_COLUMNS = ["first", "second", "same"]
_ANSWERS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_DISTRACTOR = 0


@dataclasses.dataclass(frozen=True)
class PairSet:
    """n pairs of m image files.

    Attributes:
        encoded: The files [m], each once.
        names: Their names [m].
        first: Positions [n] of the first images among the files.
        second: Positions [n] of the second images.
        matches: Whether both show one identity, bool [n].
        description: Text that describes the pairs.
    """

    encoded: Sequence[bytes]
    names: Sequence[str]
    first: np.ndarray
    second: np.ndarray
    matches: np.ndarray
    description: str

    def __len__(self) -> int:
        return len(self.matches)


def draw_pairs(table: ImageTable, count: int, apart: str, seed: int, source: str) -> PairSet:
    """Draws pairs of a table's images, half of them positive.

    Args:
        table: The images; `labels` of the index are their identities.
        count: Number of pairs, 2 or more.
        apart: How the images of positive pairs differ, as in `DrawnPairSampler`.
        seed: Non-negative integer.
        source: Text that describes the images.

    Raises:
        UserError: If there is no positive or no negative pair.
    """
    sampler = DrawnPairSampler(table.index, count, 1, apart, seed, source)
    plan = sampler.epoch(0, 1)
    rows, places = np.unique(plan.images[0], return_inverse=True)
    first, second = np.split(places.reshape(-1), 2)
    return PairSet([table.encoded[row] for row in rows.tolist()], table.index.paths[rows].tolist(),
                   first, second, plan.match[0].astype(bool), f"pairs of {source}")


def pairs_of_splits(config: Config, records: Records, splits: Sequence[str]) -> PairSet:
    """Draws pairs of the images of some splits, taken together.

    Junk is omitted; distractors match nothing, not even each other. An image in two splits, like
    MARS's queries that are also in the gallery, counts once.

    Args:
        config: `evaluation.verification_pairs` and `verification_apart`.
        records: The records.
        splits: Their names.

    Raises:
        UserError: If the records lack a split, or make no positive or no negative pairs.
    """
    evaluation = config.evaluation
    tables = [records[split].load(memory_limit=0) for split in splits]
    ids = [_identities(records[split]) for split in splits]
    # Images without identity match nothing.
    labels = np.concatenate(ids)
    alone = labels < 0
    labels[alone] = labels.max(initial=0) + 1 + np.arange(np.count_nonzero(alone))
    index = dataclasses.replace(
        SplitIndex.joined([table.index for table in tables]), labels=labels)
    once = np.zeros(len(index), bool)
    once[np.unique(index.paths, return_index=True)[1]] = True
    kept = np.flatnonzero(once & (index.ids >= 0))
    encoded = JoinedImages([table.encoded for table in tables], kept)
    megabytes = sum(table.megabytes for table in tables)
    source = f"the {' and '.join(splits)} images of {records.description}"
    if "train" in splits:
        source += " (people whom a run may have been trained on)"
    return draw_pairs(ImageTable(encoded, index.take(kept), megabytes),
                      evaluation.verification_pairs, evaluation.verification_apart,
                      config.data.subset.seed, source)


def read_pairs_file(path: str | Path) -> PairSet:
    """Reads pairs from a CSV table with the columns first, second and same.

    Args:
        path: The table. Image names are relative to its folder; `same` is 1 or 0, true or false,
            yes or no.

    Raises:
        UserError: If the table cannot be read, has wrong lines or names files without a whole image
            (up to ten are listed), or has no positive or no negative pair.
    """
    path = as_path(path)
    rows, problems = _read_rows(path)
    names = sorted({name for first, second, _ in rows for name in (first, second)})
    encoded = []
    for name in names:
        try:
            encoded.append(read_file(path.parent / name, LEAST_SIDE))
        except UserError as error:
            problems.append(str(error).rstrip("."))
    refuse_problems(path, problems)
    matches = np.array([same for *_, same in rows], bool)
    if matches.all() or not matches.any():
        raise UserError(f"{path} needs positive pairs (same is 1) and negative pairs (same is "
                        "0); add lines of the other kind.")
    place = {name: position for position, name in enumerate(names)}
    first, second = (np.array([place[row[side]] for row in rows]) for side in (0, 1))
    return PairSet(encoded, names, first, second, matches, f"the pairs in {path}")


def _identities(split: Split) -> np.ndarray:
    """Returns the identities of a split's images, -1 for distractors and junk."""
    ids = split.index.ids
    return np.where(ids == _DISTRACTOR, -1, ids) if split.distractors else ids


def _read_rows(path: Path) -> tuple[list[tuple[str, str, bool]], list[str]]:
    """Returns the valid rows, and the problems of the others."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if reader.fieldnames != _COLUMNS:
                raise UserError(f"{path}: its first line must be {','.join(_COLUMNS)}.")
            lines = [(reader.line_num, values) for values in reader]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV table in UTF-8 ({error}); save it as one.") from None
    if not lines:
        raise UserError(f"{path} has no pairs; write one line for each.")
    rows, problems = [], []
    for line, values in lines:
        words = [(values.get(name) or "").strip() for name in _COLUMNS]
        if None in values or not all(words) or words[2].lower() not in _ANSWERS:
            problems.append(f"line {line}: it needs two images and 1 or 0")
        else:
            rows.append((words[0], words[1], _ANSWERS[words[2].lower()]))
    return rows, problems
