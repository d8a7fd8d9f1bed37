"""The annotations of Person Search (CUHK-SYSU): MATLAB structures in cells in structures."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tfrecords.errors import UserError
from tfrecords.layout import refuse_problems
from tfrecords.matlab import load_v5
from tfrecords.scenes import Box

_PERSON = re.compile(r"p([1-9]\d{0,17})")
_MALFORMED = (TypeError, ValueError, IndexError, KeyError, ArithmeticError)
_Entry = TypeVar("_Entry")


class Sighting(NamedTuple):
    """A person's box (x, y, width, height in pixels) in a scene, which is a file name."""

    scene: str
    box: Box


class Person(NamedTuple):
    """A training identity."""

    id: int
    sightings: list[Sighting]


class Query(NamedTuple):
    """A query, the scenes of its gallery, and the person's boxes in them."""

    id: int
    own: Sighting
    gallery: list[str]
    sightings: list[Sighting]


def read_scenes(file: Path) -> dict[str, list[Box]]:
    """Reads all boxes of each scene from Images.mat.

    Raises:
        UserError: If the file is missing, damaged, or has malformed entries.
    """
    return dict(_read(file, "Img", _scene))


def read_training(file: Path) -> list[Person]:
    """Reads Train.mat.

    Raises:
        UserError: If the file is missing, damaged, or has malformed entries.
    """
    return _read(file, "Train", _person)


def read_queries(file: Path) -> list[Query]:
    """Reads the queries of a file such as TestG50.mat, in its order.

    Raises:
        UserError: If the file is missing, damaged, or has malformed entries.
    """
    return _read(file, file.stem, _query)


def _read(file: Path, variable: str, parse: Callable[[np.void], _Entry]) -> list[_Entry]:
    entries, problems = [], []
    for number, value in enumerate(_elements(load_v5(file, [variable])[variable]), start=1):
        try:
            entries.append(parse(_structure(value)))
        except _MALFORMED as error:
            problems.append(f"entry {number} of {variable}: {error}")
    refuse_problems(file, problems)
    if not entries:
        raise UserError(f"{file}: {variable} is empty: take the file from the dataset's release.")
    return entries


def _scene(entry: np.void) -> tuple[str, list[Box]]:
    boxes = [_box(value["idlocate"]) for value in _structures(entry["box"])]
    return _text(entry["imname"]), [box for box in boxes if box is not None]


def _person(entry: np.void) -> Person:
    return Person(_person_id(entry), list(_sightings(_structures(entry["scene"]))))


def _query(entry: np.void) -> Query:
    query = _structure(entry["Query"])
    own = _box(query["idlocate"])
    if own is None:
        raise ValueError("the query has no box")
    gallery = _structures(entry["Gallery"])
    return Query(_person_id(query), Sighting(_text(query["imname"]), own),
                 [_text(scene["imname"]) for scene in gallery], list(_sightings(gallery)))


def _sightings(scenes: Iterable[np.void]) -> Iterator[Sighting]:
    """Yields the person's boxes; scenes without the person have an empty one."""
    for scene in scenes:
        box = _box(scene["idlocate"])
        if box is not None:
            yield Sighting(_text(scene["imname"]), box)


def _person_id(entry: np.void) -> int:
    name = _text(entry["idname"])
    match = _PERSON.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is not a person's name like p123")
    return int(match[1])


def _elements(value: Any) -> Any:
    """Returns the elements of a structure or cell array, out of the cells around it."""
    value = _out_of_cells(value)
    return np.ravel(value) if isinstance(value, np.ndarray) else [value]


def _structures(value: Any) -> list[np.void]:
    return [_structure(element) for element in _elements(value)]


def _structure(value: Any) -> np.void:
    """Returns one structure, out of the cells and 1 x 1 arrays around it."""
    value = _single(value)
    if not isinstance(value, np.void):
        raise TypeError("a structure is expected")
    return value


def _text(value: Any) -> str:
    value = _single(value)
    if not isinstance(value, str):
        raise TypeError("a text is expected")
    return sys.intern(str(value))  # a scene is named in many galleries


def _box(value: Any) -> Box | None:
    """Returns x, y, width and height in whole pixels, or None for an empty array."""
    numbers = np.ravel(_out_of_cells(value)).tolist()
    if not numbers:
        return None
    if len(numbers) != 4:
        raise ValueError(f"a box of {len(numbers)} numbers instead of 4")
    return tuple(int(number) for number in numbers)


def _out_of_cells(value: Any) -> Any:
    while isinstance(value, np.ndarray) and value.dtype == object and value.size == 1:
        value = value.reshape(-1)[0]
    return value


def _single(value: Any) -> Any:
    while isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    return value
