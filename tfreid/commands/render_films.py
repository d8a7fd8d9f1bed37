"""Renders films of people who walk past several cameras, with the truth about who is who."""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tfrecords.arguments import whole
from tfrecords.errors import UserError, command_line
from tfrecords.pool import run_jobs, usable_cores
from tfreid.commands.parser import CommandParser

if TYPE_CHECKING:
    from tfrecords.synthetic.walks import FilmOptions, Walk

PLAN_NAME, TRUTH_NAME = "films.json", "tracks.csv"
CAMERAS = ("entrance", "yard", "hall", "gate", "lobby", "square", "passage", "court", "platform")
_FIX = "name another --output, or delete that folder"
_EPILOG = f"""\
examples:
  tfreid render-films --output films
  tfreid crop-people films/entrance.mp4 films/yard.mp4 --detections films/entrance.txt \\
    films/yard.txt --per-track 5 --output crops

Everyone walks through the view of every camera, some twice, and several at once, so that they hide
each other. CAMERA.txt has their boxes, as MOTChallenge's ground truth, numbered by track: one
walk through one view. {TRUTH_NAME} says which person (1, 2, ...) each track is. --detections adds
boxes as a detector would find them. No rendered dataset has these people or these cameras. Films
that are finished are kept when the command is given again.
"""


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and renders."""
    parsed = _parser().parse_args(arguments)
    from tqdm import tqdm

    from tfrecords.synthetic.walks import FilmOptions, plan_walks
    from tfrecords.writing import sole_writer, write_whole

    options = FilmOptions(**{field.name: getattr(parsed, field.name)
                             for field in dataclasses.fields(FilmOptions)})
    walks = dict(zip(CAMERAS, plan_walks(options).values()))
    output = Path(parsed.output)
    with sole_writer(output, "rendering films"):
        _start(output, options)
        missing = [name for name in walks if not (output / f"{name}.mp4").exists()]
        render = functools.partial(_render, output=output, options=options, walks=walks)
        with tqdm(total=len(missing) * options.frames, unit="frame", leave=False) as progress:
            for _ in run_jobs(render, missing, parsed.workers, progress.update):
                pass
        rows = [f"{name},{name}-{track},{walk.person}\n" for name, some in walks.items()
                for track, walk in enumerate(some, 1)]
        write_whole(output / TRUTH_NAME, "".join(["camera,track,person\n", *rows]).encode())
        if parsed.detections:
            for name in walks:
                _detect(name, output, options)
    print(f"wrote {', '.join(f'{name}.mp4' for name in walks)}: {options.seconds} s of "
          f"{options.people} people in {len(rows)} tracks; {output / TRUTH_NAME}")


def _render(name: str, advance: Callable[[int], object], *, output: Path, options: FilmOptions,
            walks: dict[str, list[Walk]]) -> None:
    from tfrecords.synthetic.film import write_film

    write_film(output / f"{name}.mp4", options, CAMERAS.index(name) + 1, walks[name], advance)


def _detect(name: str, output: Path, options: FilmOptions) -> None:
    from tfrecords.synthetic.detector import detections_of, read_boxes
    from tfrecords.writing import write_whole

    boxes = read_boxes((output / f"{name}.txt").read_text())
    write_whole(output / f"{name}-detections.txt",
                detections_of(boxes, options, CAMERAS.index(name) + 1))


def _start(output: Path, options: FilmOptions) -> None:
    """Writes what the films are made of, or compares it with what is there."""
    from tfrecords.writing import write_or_compare

    if not (output / PLAN_NAME).exists() and any(
            not path.name.startswith(".") for path in output.iterdir()):
        raise UserError(f"{output} has files but no {PLAN_NAME}; name an empty --output.")
    other = write_or_compare(output / PLAN_NAME, dataclasses.asdict(options), _FIX)
    if other:
        raise UserError(f"{output} has films of other settings ({', '.join(other)}); {_FIX}.")


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(__doc__, _EPILOG)
    parser.add_argument("--output", required=True, metavar="DIR",
                        help="folder for the films, their boxes and tracks.csv")
    parser.add_number("--people", 20, "people who walk past every camera", high=1000)
    parser.add_number("--cameras", 2, "cameras, each of which makes a film", high=len(CAMERAS))
    parser.add_number("--seconds", 60, "length of each film")
    parser.add_number("--rate", 10, "frames a second", high=60)
    parser.add_number("--height", 540, "of a frame in pixels", low=120, high=2160)
    parser.add_number("--width", 960, "of a frame in pixels, 1 to 3 heights", low=120, high=6480)
    parser.add_seed("people, cameras and walks")
    parser.add_argument("--detections", action="store_true",
                        help="also write CAMERA-detections.txt: boxes as a detector would find "
                        "them, some missing, some false, all slightly off, without tracks")
    parser.add_argument("--workers", type=whole(high=1024), default=usable_cores(), metavar="N",
                        help="films rendered at once (default: %(default)s, the processors)")
    return parser
