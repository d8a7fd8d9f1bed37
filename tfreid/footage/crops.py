"""Crops of people, cut from films: which, how, and what is written about them."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from tfrecords.writing import write_whole
from tfreid.footage.detections import Detection
from tfreid.footage.films import Film

COLUMNS = ("path", "person_id", "camera_id", "split", "tracklet_id", "time", "frame", "left", "top",
           "width", "height", "confidence")
# Size of the crop of a box without a pixel inside the frame, for models of no fixed size.
_BLACK = (64, 32, 3)


class CropOptions(NamedTuple):
    """Which people are cut, and how.

    Attributes:
        margin: Added on each side, in parts of the box's width and height.
        least_height: Boxes that have fewer pixels in height, inside the frame, are left out.
        least_confidence: So are those of a lower confidence.
        least_visible: So are those of which a smaller part is inside the frame or, as the
            detections tell, can be seen.
        every: Of every so many frames only the first is used.
        per_track: Sharpest crops of each track, one from each of so many equal parts of its frames;
            0 keeps all.
        split: What the table says in the column `split`.
        quality: JPEG quality.
    """

    margin: float = 0.0
    least_height: int = 32
    least_confidence: float = 0.0
    least_visible: float = 0.0
    every: int = 1
    per_track: int = 0
    split: str = "gallery"
    quality: int = 95


class _Crop(NamedTuple):
    detection: Detection
    pixels: np.ndarray
    sharpness: float


def choose_detections(frames: Mapping[int, list[Detection]],
                      options: CropOptions) -> dict[int, list[Detection]]:
    """Leaves out frames, boxes that the options leave out, and frames without a box."""
    chosen = {frame: [one for one in found if one.box[3] >= options.least_height and (
        one.confidence is None or one.confidence >= options.least_confidence) and (
        one.visible >= options.least_visible)]
        for frame, found in frames.items() if frame % options.every == 0}
    return {frame: found for frame, found in chosen.items() if found}


def cut(image: np.ndarray, box: tuple[float, float, float, float],
        margin: float) -> np.ndarray | None:
    """Cuts a box with a margin out of an image [h, w, 3], clipped to it; None if nothing is left.

    Args:
        image: The frame.
        box: Left, top, width and height in pixels.
        margin: Added on each side, in parts of the box.
    """
    left, top, width, height = box
    return cut_ends(image, np.array([
        left - margin * width, top - margin * height,
        left + (1 + margin) * width, top + (1 + margin) * height]))


def cut_ends(image: np.ndarray, ends: np.ndarray) -> np.ndarray | None:
    """Cuts an image at left, top, right and bottom [4]; see `cut`."""
    limits = np.array([image.shape[1], image.shape[0]] * 2)
    left, top, right, bottom = np.clip(np.rint(ends), 0, limits).astype(int)
    return image[top:bottom, left:right] if right > left and bottom > top else None


def cut_boxes(frame: np.ndarray, boxes: np.ndarray, size: tuple[int, int] | None,
              color: str) -> np.ndarray | list[np.ndarray]:
    """Cuts boxes out of a frame and resizes them, as trackers do.

    Edges are rounded, halves to the even pixel, and clipped to the frame; what is inside is resized
    by OpenCV's bilinear rule, whose kernel does not widen where the crop shrinks. A box without a
    pixel inside the frame is black.

    Args:
        frame: uint8 [h, w, 3].
        boxes: float32 [n, 4], see `check_boxes`.
        size: Height and width of the crops, or None to leave them as they are.
        color: Order of the frame's colours, `bgr` or `rgb`.

    Returns:
        uint8 RGB [n, height, width, 3], or without a size a list of [h, w, 3].
    """
    found = (cut_ends(frame, box) for box in boxes)
    if size is None:
        crops = (np.zeros(_BLACK, np.uint8) if crop is None else crop for crop in found)
        return [crop[..., ::-1] if color == "bgr" else crop for crop in crops]
    height, width = size
    crops = np.zeros((len(boxes), height, width, 3), np.uint8)
    for crop, target in zip(found, crops):
        if crop is not None:
            cv2.resize(crop, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)
    if color == "bgr" and len(crops):
        rows = crops.reshape(-1, width, 3)
        cv2.cvtColor(rows, cv2.COLOR_BGR2RGB, dst=rows)
    return crops


def check_boxes(boxes: object) -> np.ndarray:
    """Returns boxes as float32 [n, 4] of left, top, right and bottom; without any, [0, 4].

    Raises:
        ValueError: If they are no such numbers, or a right or bottom edge lies before its opposite.
    """
    try:
        found = np.asarray(boxes, np.float32)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("boxes must be numbers [n, 4]: left, top, right and bottom of each, in "
                         "pixels") from None
    if not found.size:
        return np.empty((0, 4), np.float32)
    found = found[np.newaxis] if found.ndim == 1 else found
    if found.ndim != 2 or found.shape[1] != 4:
        raise ValueError("boxes must be [n, 4]: left, top, right and bottom of each, received "
                         f"{list(found.shape)}; give boxes[:, :4]")
    unknown = ~np.isfinite(found).all(1)
    turned = (found[:, 2:] < found[:, :2]).any(1)
    for wrong, what in ((unknown, "is not finite; leave it out"),
                        (turned, "has its right or bottom edge before its left or top one; give "
                         "left, top, right and bottom")):
        if wrong.any():
            place = int(wrong.argmax())
            raise ValueError(f"box {place} of {len(found)}, {found[place].tolist()}, {what}")
    return found


def sharpness(crop: np.ndarray) -> float:
    """Returns the variance of the Laplacian at one size, so that near and far crops compare.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy" (2000).
    """
    grey = cv2.cvtColor(cv2.resize(crop, (64, 128), interpolation=cv2.INTER_AREA),
                        cv2.COLOR_BGR2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def cut_crops(film: Film, frames: Mapping[int, list[Detection]], options: CropOptions,
              advance: Callable[[int], object] = lambda _: None) -> Iterator[_Crop]:
    """Yields the crops of a film, of tracks the sharpest as the options say.

    Args:
        film: The film.
        frames: What `choose_detections` left of each frame.
        options: How they are cut.
        advance: Called with 1 after each frame.
    """
    parts = _parts(frames, options.per_track)
    best: dict[tuple[int, int], _Crop] = {}
    for number, image in film.frames(frames.__contains__):
        for found in frames.get(number, ()) if image is not None else ():
            if not _is_inside(image, found.box, options):
                continue
            pixels = cut(image, found.box, options.margin)
            key, _ = parts.get((found.track, number), (None, 0))
            if key is None:
                yield _Crop(found, pixels, 0.0)
                continue
            sharp = sharpness(pixels)
            if key not in best or sharp > best[key].sharpness:
                best[key] = _Crop(found, pixels.copy(), sharp)
        for found in frames.get(number, ()):
            key, last = parts.get((found.track, number), (None, 0))
            if key in best and number >= last:
                yield best.pop(key)
        advance(1)
    yield from best.values()  # of tracks that go on behind the film's last frame


def _is_inside(image, box, options):
    """Tells whether enough of a box is inside the image."""
    inside = cut(image, box, 0.0)
    if inside is None or len(inside) < options.least_height:
        return False
    height, width = inside.shape[:2]
    return height * width >= options.least_visible * round(box[2]) * round(box[3])


def _parts(frames, per_track):
    """Returns (track, frame) -> the part of the track, and that part's last frame."""
    tracks: dict[int, list[int]] = {}
    for frame in sorted(frames) if per_track else ():
        for track in {found.track for found in frames[frame]} - {None}:
            tracks.setdefault(track, []).append(frame)
    parts = {}
    for track, places in tracks.items():
        for number, some in enumerate(np.array_split(places, min(per_track, len(places)))):
            for frame in some.tolist():
                parts[track, frame] = (track, number), int(some[-1])
    return parts


def write_crops(crops: Iterator[_Crop], film: Film, folder: Path, options: CropOptions,
                start: datetime.datetime | None) -> list[dict[str, object]]:
    """Writes crops as JPEG files and returns the rows of their table; see `COLUMNS`."""
    rows, taken = [], set()
    (folder / film.name).mkdir(parents=True, exist_ok=True)
    for detection, pixels, _ in crops:
        name = _name(detection, taken)
        path = f"{film.name}/{name}.jpg"
        write_whole(folder / path, cv2.imencode(
            ".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, options.quality])[1].tobytes())
        seconds = detection.frame / film.rate
        time = f"{seconds:.3f}" if start is None else (
            start + datetime.timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
        track = "" if detection.track is None else f"{film.name}-{detection.track}"
        left, top, width, height = (f"{side:g}" for side in detection.box)
        confidence = "" if detection.confidence is None else f"{detection.confidence:g}"
        rows.append(dict(zip(COLUMNS, (
            path, track, film.name, options.split, track, time, detection.frame, left, top, width,
            height, confidence))))
    return sorted(rows, key=lambda row: row["path"])


def _name(detection: Detection, taken: set[str]) -> str:
    name = f"{detection.frame:07d}"
    if detection.track is not None:
        name = f"{detection.track:05d}_{name}"
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    taken.add(unique)
    return unique


def table_of(rows: list[dict[str, object]]) -> bytes:
    """Returns the rows as a CSV table."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
