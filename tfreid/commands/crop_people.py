"""Cuts the people out of films: JPEG crops and one table of them; run again, it goes on."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import Any

from tfrecords.arguments import number, whole
from tfrecords.errors import UserError, command_line
from tfreid.commands.parser import CommandParser
from tfreid.footage.pixels import PIXELS

_HOG, _OF_ONNX = "hog", 0.3
TABLE_NAME, PLAN_NAME = "crops.csv", "crops.json"
_PARTS = "parts"
# Part of the declared frames that whole films have; their headers are seldom exact.
_WHOLE = 0.98
_FIX = "name another --output, or delete that folder"
_EPILOG = """\
examples:
  tfreid crop-people entrance.mp4 yard.mp4 --detections entrance.txt yard.txt --output crops
  tfreid crop-people MOT17-02/img1 --detections MOT17-02/gt/gt.txt --per-track 5 --output crops
  tfreid crop-people entrance.mp4 --detector yolox_s.onnx --every 10 --output crops
  tfreid embed-images --model served/reid --input crops/crops.csv --output embedded/crops

A film is a video file or a folder of numbered images, and its name is the camera's. Detections are
MOTChallenge text, COCO JSON, or CSV with the columns frame,left,top,width,height and perhaps
track,confidence. An ONNX file as --detector gives YOLOX's output [1, n, 5 + classes], decoded or
not, or SSD's: [1, 1, n, 7], or outputs named boxes, scores and labels; see docs/footage.md.
crops.csv has a row per crop; its person_id is the track, which follows one person through one
camera: put the people's numbers there, and `tfreid build csv` reads it. Films that are finished are
kept when the command is given again, also for other films; changed films or detections are refused.
"""


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and cuts."""
    parsed = _parser().parse_args(arguments)
    _check(parsed)

    from tfrecords.writing import sole_writer, write_whole
    from tfreid.footage.films import Film

    films = [Film(path, parsed.rate) for path in parsed.films]
    names = [film.name for film in films]
    if len(set(names)) < len(names):
        raise UserError(f"two films are called {next(x for x in names if names.count(x) > 1)}, and "
                        "a film's name is its camera's; rename one.")
    detector = parsed.detector and _open_detector(parsed)
    output = Path(parsed.output)
    sources = _sources(films, parsed)
    with sole_writer(output, "cutting crops"):
        _start(output, parsed)
        for film, source in zip(films, sources):
            _refuse_others(output, film.name, source)
        for place, film in enumerate(films):
            _cut_film(film, parsed.detections[place] if parsed.detections else None, detector,
                      output, parsed, sources[place])
        # Temporary files, which begin with a dot, are left out.
        parts = [part.read_bytes() for part in sorted((output / _PARTS).glob("[!.]*.csv"))]
        table = parts[0] + b"".join(part.partition(b"\n")[2] for part in parts[1:])
        write_whole(output / TABLE_NAME, table)
    print(f"wrote {table.count(10) - 1:,} crops and {output / TABLE_NAME}")


def _cut_film(film, detections, detector, output: Path, parsed, source) -> None:
    from tqdm import tqdm

    from tfrecords.writing import write_json, write_whole
    from tfreid.footage import crops
    from tfreid.footage.detections import read_detections
    from tfreid.footage.detectors import detect_people

    part = output / _PARTS / f"{film.name}.csv"
    if part.exists():
        print(f"{film.name}: finished before")
        return

    def bar(what):
        return tqdm(total=film.count or None, desc=f"{film.name}, {what}", unit="frame",
                    leave=False)

    if detections is None:
        with bar("detecting") as progress:
            found = detect_people(film, detector, parsed.every, progress.update)
    else:
        found = read_detections(detections, parsed.first_frame)
        missing = sum(not film.has(number) for number in found)
        if missing:
            print(f"note: {missing:,} of the {len(found):,} frames with boxes in {detections} are "
                  f"not in {film.path}; check that they belong together (--first-frame)")
    options = crops.CropOptions(
        parsed.margin, parsed.least_height, parsed.least_confidence, parsed.least_visible,
        parsed.every, parsed.per_track, parsed.split)
    chosen = crops.choose_detections(found, options)
    write_json(part.with_suffix(".json"), source)
    with bar("cutting") as progress:
        rows = crops.write_crops(crops.cut_crops(film, chosen, options, progress.update), film,
                                 output, options, parsed.start)
    if film.decoded < _WHOLE * film.count:
        print(f"note: {film.path} ends after {film.decoded:,} of the {film.count:,} frames that it "
              "declares; it may be cut short")
    write_whole(part, crops.table_of(rows))
    boxes = sum(map(len, found.values()))
    tracks = len({one.track for some in found.values() for one in some} - {None})
    print(f"{film.name}: {len(rows):,} crops of {boxes:,} boxes"
          + (f", {tracks:,} tracks" if tracks else ""))


def _open_detector(parsed):
    if parsed.detector == _HOG:
        from tfreid.footage.hog_detector import make_hog_detector

        return make_hog_detector()

    from tfreid.footage.onnx_detector import load_onnx_detector

    return load_onnx_detector(parsed.detector, parsed.least_confidence, parsed.person_class,
                              parsed.detector_pixels)


def _start(output: Path, parsed) -> None:
    """Writes what the crops are made of, or compares it with what is there."""
    from tfrecords.writing import write_or_compare

    plan = {name: getattr(parsed, name) for name in (
        "margin", "least_height", "least_confidence", "least_visible", "every", "per_track",
        "split", "first_frame", "rate", "detector", "person_class", "detector_pixels")}
    plan["start"] = parsed.start and parsed.start.isoformat()
    other = write_or_compare(output / PLAN_NAME, plan, _FIX)
    if other:
        raise UserError(f"{output} has crops of other settings ({', '.join(other)}); {_FIX}.")


def _sources(films, parsed) -> list[dict[str, Any]]:
    """Returns what the crops of each film are made of, apart from the settings."""
    from tfrecords.files import file_checksum, regular_file

    kind = "detections" if parsed.detections else "detector"
    return [{**film.source(), kind: _HOG if parsed.detector == _HOG else file_checksum(
                regular_file(file, "check the path"))}
            for film, file in zip(films, parsed.detections or len(films) * [parsed.detector])]


def _refuse_others(output: Path, name: str, source: dict[str, Any]) -> None:
    """Refuses crops of another source, which may be in use, so that none are removed here."""
    from tfrecords.files import read_json

    part, record = (output / _PARTS / f"{name}.{kind}" for kind in ("csv", "json"))
    if not part.exists() and not record.exists():
        return
    found = read_json(record, _FIX) if record.exists() else {}
    other = [key for key, value in source.items() if found.get(key) != value]
    if other:
        raise UserError(f"{output} has crops of {name} that, as far as is known, are of another "
                        f"source ({', '.join(other)}); name another --output, or delete {name}, "
                        f"{_PARTS}/{part.name} and {record.name} there to cut them again.")


def _check(parsed) -> None:
    if bool(parsed.detections) == bool(parsed.detector):
        raise UserError("give either --detections, one file a film, or --detector.")
    if parsed.detections and len(parsed.detections) != len(parsed.films):
        raise UserError(f"{len(parsed.films)} films have {len(parsed.detections)} files of "
                        "detections; give one for each, in the same order.")
    if parsed.per_track and parsed.detector:
        raise UserError("--detector finds no tracks; leave out --per-track.")
    of_file = parsed.detector not in (None, _HOG)
    if not of_file and (parsed.person_class is not None or parsed.detector_pixels):
        raise UserError("--person-class and --detector-pixels are of an ONNX file as --detector; "
                        "leave them out.")
    if parsed.least_confidence is None:
        parsed.least_confidence = _OF_ONNX if of_file else 0.0


def _time(text: str) -> datetime.datetime:
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time such as 2026-05-01T08:30:00") from None


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(__doc__, _EPILOG)
    parser.add_argument("films", nargs="+", metavar="FILM",
                        help="video files, or folders of numbered images")
    parser.add_argument("--detections", nargs="+", metavar="FILE",
                        help="boxes of people, one file a film in the same order")
    parser.add_argument("--detector", metavar="FILE.onnx|hog",
                        help="finds people without a file of boxes: YOLOX or SSD in an ONNX file, "
                        "or OpenCV's own detector, which misses many")
    parser.add_argument("--person-class", type=whole(0, 10**6), metavar="N",
                        help="which class of the ONNX file is a person (default: 0 of YOLOX, 1 of "
                        "SSD)")
    parser.add_argument("--detector-pixels", choices=PIXELS, metavar="FORM",
                        help=f"what colours the ONNX file takes: {', '.join(PIXELS)} (default: "
                        "bgr-255 for YOLOX; for SSD rgb-255 if it takes bytes or has its channels "
                        "last, else rgb-1)")
    parser.add_argument("--output", required=True, metavar="DIR",
                        help="folder for the crops, CAMERA/TRACK_FRAME.jpg, and crops.csv")
    parser.add_argument("--first-frame", type=whole(0, 10**9), metavar="N",
                        help="number that the detections give the first frame (default: 1 in "
                        "MOTChallenge text and by the names of COCO's files, else 0)")
    parser.add_argument("--rate", type=number(low=0.01, high=1000), metavar="FPS",
                        help="frames a second (default: what the file says, 25 for a folder)")
    parser.add_argument("--start", type=_time, metavar="TIME",
                        help="when the films start, such as 2026-05-01T08:30:00; the column time "
                        "has seconds from the start without it")
    parser.add_argument("--margin", type=number(low=0.0, high=1.0), default=0.0, metavar="PART",
                        help="added on each side, in parts of the box (default: %(default)s)")
    parser.add_number("--least-height", 32, "boxes of fewer pixels in height, inside the frame, "
                      "are left out")
    parser.add_argument("--least-confidence", type=number(low=-1e9, high=1e9), metavar="X",
                        help=f"so are boxes of a lower confidence (default: {_OF_ONNX} of an ONNX "
                        "file, else 0)")
    parser.add_argument("--least-visible", type=number(low=0.0, high=1.0), default=0.0,
                        metavar="PART", help="so are boxes of which a smaller part is inside the "
                        "frame, or visible as MOTChallenge's ground truth tells (default: "
                        "%(default)s)")
    parser.add_number("--every", 1, "only one of so many frames is used", high=10**6)
    parser.add_number("--per-track", 0, "sharpest crops kept of a track, spread over its time; 0 "
                      "keeps all", low=0)
    parser.add_argument("--split", choices=("train", "query", "gallery"), default="gallery",
                        help="what the table's column split says (default: %(default)s)")
    return parser
