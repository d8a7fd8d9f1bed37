"""A contact sheet of crops for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from tfrecords.errors import UserError

_GAP = 4


def contact_sheet(root_or_crops: Path | str | Sequence[Sequence[np.ndarray]], rows: int = 8,
                  columns: int = 10, height: int = 160,
                  folder: str = "bounding_box_train") -> np.ndarray:
    """Arranges crops in a grid: a row for each identity, its cameras from left to right.

    Args:
        root_or_crops: A dataset in Market-1501's layout, or the crops of each identity, uint8 RGB
            [height, width, 3] in any sizes.
        rows: Identities to show at most.
        columns: Crops to show of each identity at most.
        height: Pixels of a cell, which is half as wide.
        folder: Which folder of a dataset to show.

    Returns:
        uint8 RGB [sheet height, sheet width, 3] on white.

    Raises:
        UserError: The dataset holds no image, or one that cannot be read.
        ValueError: There is no crop to show, or no room to show it.
    """
    if min(rows, columns) < 1 or height < 2:
        raise ValueError(f"A contact sheet needs rows, columns and height; received {rows}, "
                         f"{columns}, {height}.")
    if isinstance(root_or_crops, (str, Path)):
        crops = _read(Path(root_or_crops) / folder, rows, columns)
    else:
        crops = [list(row)[:columns] for row in list(root_or_crops)[:rows]]
    if not any(crops):
        raise ValueError("A contact sheet needs at least one crop; received none.")
    width = height // 2
    columns = max(len(row) for row in crops)
    sheet = np.full((_GAP + len(crops) * (height + _GAP), _GAP + columns * (width + _GAP), 3), 255,
                    np.uint8)
    for row, line in enumerate(crops):
        for column, crop in enumerate(line):
            top, left = _GAP + row * (height + _GAP), _GAP + column * (width + _GAP)
            shrinks = crop.shape[0] > height
            sheet[top:top + height, left:left + width] = cv2.resize(
                crop, (width, height),
                interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return sheet


def _read(folder: Path, rows: int, columns: int) -> list[list[np.ndarray]]:
    people: dict[str, dict[str, list[Path]]] = {}
    for path in sorted(folder.glob("*_c*.jpg")):
        person, camera = path.name.split("_")[:2]
        if person.isdigit() and int(person) > 0:
            people.setdefault(person, {}).setdefault(camera[:2], []).append(path)
    if not people:
        raise UserError(f"{folder} holds no images of identities; render the dataset first.")
    return [[_load(path) for path in _spread(list(cameras.values()), columns)]
            for cameras in list(people.values())[:rows]]


def _spread(cameras: list[list[Path]], count: int) -> list[Path]:
    """Takes crops from all cameras in turn until there are `count`, then sorts them by camera."""
    turns = [(turn, camera, path) for camera, paths in enumerate(cameras)
             for turn, path in enumerate(paths)]
    taken = sorted(turns, key=lambda item: item[:2])[:count]
    return [path for _, _, path in sorted(taken, key=lambda item: (item[1], item[0]))]


def _load(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise UserError(f"{path} is not a readable image; remove it and render the dataset again.")
    return np.ascontiguousarray(picture[..., ::-1])
