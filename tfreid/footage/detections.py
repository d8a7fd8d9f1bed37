"""Detections and tracks of people: read from MOTChallenge text, COCO JSON and CSV tables."""

from __future__ import annotations

import csv
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tfrecords.errors import UserError
from tfrecords.files import open_table, read_text

_FIX = "write the detections again"
_READ_FIX = f"{_FIX}, those of a long film in parts"
_PERSON_CLASS = 1
_LARGEST = 1_000_000  # pixels
_LAST_NUMBER = re.compile(r"(\d+)\D*$")
_BOX = ("left", "top", "width", "height")


class Detection(NamedTuple):
    """One person in one frame.

    Attributes:
        frame: Number of the frame, from 0.
        box: Left, top, width and height in pixels.
        track: Number of the track, or None.
        confidence: Of the detector, or None.
        visible: Part of the person that can be seen, where the file tells.
    """

    frame: int
    box: tuple[float, float, float, float]
    track: int | None = None
    confidence: float | None = None
    visible: float = 1.0


def read_detections(path: str | Path, first_frame: int | None = None,
                    ) -> dict[int, list[Detection]]:
    """Reads a file of detections.

    MOTChallenge text (`.txt`): lines of frame, track (-1 for none), left, top, width, height,
    confidence and, in ground truth, class, of which 1 is a person, and visible part; a confidence
    of 0 there means that the box does not count. COCO JSON (`.json`): `images` and `annotations`,
    or a list of results; `track_id` is the track. CSV (`.csv`): columns frame, left, top, width,
    height and perhaps track and confidence. Negative tracks mean none.

    Args:
        path: The file.
        first_frame: Number that the file gives the first frame. Defaults to 1 in MOTChallenge text
            and where COCO's files have numbers in their names, to 0 in CSV and in COCO's
            `frame_id`.

    Returns:
        Frame, from 0 -> its detections, in the file's order.

    Raises:
        UserError: If the file cannot be read, or a line has no such numbers.
    """
    path = Path(path)
    readers = {".txt": _read_mot, ".json": _read_coco, ".csv": _read_csv}
    if path.suffix.lower() not in readers:
        raise UserError(f"{path}: detections are .txt (MOTChallenge), .json (COCO) or .csv; rename "
                        "or convert the file.")
    frames: dict[int, list[Detection]] = defaultdict(list)
    unit = "annotation" if path.suffix.lower() == ".json" else "line"
    for place, found in readers[path.suffix.lower()](path, first_frame):
        if found.frame < 0:
            raise UserError(f"{path}, {unit} {place}: frame {found.frame} lies before the first "
                            "one; give --first-frame, the number of the film's first frame.")
        if found.box[2] <= 0 or found.box[3] <= 0 or not math.isfinite(
                sum(found.box) + (found.confidence or 0) + found.visible):
            raise UserError(f"{path}, {unit} {place}: the box {list(found.box)} has no area, or it "
                            f"or its confidence is not a number; {_FIX}.")
        if max(map(abs, found.box)) > _LARGEST:
            raise UserError(f"{path}, {unit} {place}: the box {list(found.box)} reaches beyond "
                            f"{_LARGEST:,} pixels; {_FIX}.")
        frames[found.frame].append(found)
    if not frames:
        raise UserError(f"{path} has no detection of a person; name another file.")
    return dict(frames)


def _read_mot(path: Path, first_frame: int | None) -> Iterator[tuple[int, Detection]]:
    start = 1 if first_frame is None else first_frame
    for number, line in enumerate(read_text(path, _READ_FIX).splitlines(), 1):
        if not line.strip():
            continue
        try:
            frame, track, *rest = line.replace(",", " ").split()
            numbers = [float(text) for text in rest]
            # Only lines of ground truth end with the class and the visible part.
            is_truth = len(numbers) == 7
            found = Detection(_whole(frame) - start, _box(numbers[:4]), _track(track),
                              numbers[4] if len(numbers) > 4 else None,
                              numbers[6] if is_truth else 1.0)
        except (OverflowError, ValueError):
            raise UserError(f"{path}, line {number}: not frame, track, left, top, width, height "
                            f"with commas between them; {_FIX}.") from None
        if not is_truth or numbers[5] == _PERSON_CLASS and found.confidence != 0:
            yield number, found


def _read_csv(path: Path, first_frame: int | None) -> Iterator[tuple[int, Detection]]:
    try:
        reader = open_table(path, _FIX)
    except csv.Error as error:
        raise UserError(f"{path}, line 1: {error}; {_FIX}.") from None
    try:
        missing = [name for name in ("frame", *_BOX) if name not in reader.fieldnames]
        if missing:
            raise UserError(f"{path} has no column {' and '.join(missing)}; its first line is "
                            "frame,left,top,width,height and perhaps track,confidence.")
        for row in reader:
            yield reader.line_num, _from_row(row, first_frame or 0)
    except (csv.Error, OverflowError, TypeError, ValueError):
        raise UserError(f"{path}, line {reader.line_num}: not a row of numbers; {_FIX}.") from None


def _from_row(row: Mapping[str, str], start: int) -> Detection:
    track, confidence = (str(row.get(name) or "").strip() for name in ("track", "confidence"))
    return Detection(_whole(row["frame"]) - start, _box(row[name] for name in _BOX),
                     _track(track) if track else None, float(confidence) if confidence else None)


def _read_coco(path: Path, first_frame: int | None) -> Iterator[tuple[int, Detection]]:
    try:
        content = json.loads(read_text(path, _READ_FIX))
        results = content if isinstance(content, list) else content["annotations"]
        images = {} if isinstance(content, list) else {
            image["id"]: _coco_frame(image, first_frame) for image in content["images"]}
        for number, result in enumerate(results):
            if result.get("category_id", _PERSON_CLASS) != _PERSON_CLASS or result.get("iscrowd"):
                continue
            image = result["image_id"]
            frame = images[image] if images else _whole(image) - (first_frame or 0)
            track, score = result.get("track_id"), result.get("score")
            yield number, Detection(
                frame, _box(result["bbox"]), None if track is None else _track(track),
                None if score is None else float(score))
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
        raise UserError(f"{path} is not a COCO file with image_id and bbox; {_FIX}.") from None


def _coco_frame(image: Mapping[str, Any], first_frame: int | None) -> int:
    if "frame_id" in image:
        return _whole(image["frame_id"]) - (first_frame or 0)
    digits = _LAST_NUMBER.search(Path(image["file_name"]).stem)
    if digits is None:
        raise ValueError("no number in its name")
    return int(digits[1]) - (1 if first_frame is None else first_frame)


def _box(numbers: Iterable[Any]) -> tuple[float, float, float, float]:
    left, top, width, height = map(float, numbers)
    return left, top, width, height


def _track(number: Any) -> int | None:
    """Returns the number of a track; negative ones mean none."""
    track = _whole(number)
    return track if track >= 0 else None


def _whole(number: Any) -> int:
    """Returns a whole number that may be written 7, 7.0 or 7e0, large ones to the last digit."""
    try:
        return int(str(number))
    except ValueError:
        whole = int(float(number))
        if whole != float(number):
            raise
        return whole
