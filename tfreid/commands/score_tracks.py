"""Scores tracks against the truth: IDF1, HOTA, MOTA, by TrackEval."""

from __future__ import annotations

from pathlib import Path

from tfrecords.errors import UserError, command_line
from tfreid.commands.parser import CommandParser

_EPILOG = """\
examples:
  tfreid score-tracks --truth films/yard.txt --tracks tracks.txt
  tfreid score-tracks --truth films/yard.txt --tracks tracks.txt --people films/tracks.csv
  tfreid score-tracks --truth a/gt.txt b/gt.txt --tracks a.txt b.txt

Both are MOTChallenge text. The figures are those of TrackEval (`pip install --no-deps trackeval`),
the evaluation of MOTChallenge, for boxes that overlap by half; HOTA is the mean over 19 overlaps.
Of MOTChallenge's own truth only people (class 1) are read, so boxes on what it calls distractors
count as false here and not there.
With --people, who returns must get the number back.
"""


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and scores."""
    parser = CommandParser(__doc__, _EPILOG)
    parser.add_argument("--truth", nargs="+", required=True, metavar="FILE",
                        help="ground truth, one file a film")
    parser.add_argument("--tracks", nargs="+", required=True, metavar="FILE",
                        help="tracks, one file a film in the same order")
    parser.add_argument("--people", metavar="CSV",
                        help="columns track and person, as tfreid render-films writes them: the "
                        "truth's tracks, named FILM-NUMBER after its files, count as their people")
    parsed = parser.parse_args(arguments)
    if len(parsed.truth) != len(parsed.tracks):
        raise UserError(f"{len(parsed.truth)} films with a truth have {len(parsed.tracks)} files "
                        "of tracks; give one for each, in the same order.")
    if len(set(parsed.truth)) < len(parsed.truth):
        twice = next(file for file in parsed.truth if parsed.truth.count(file) > 1)
        raise UserError(f"--truth names {twice} twice; score the tracks of two trackers one after "
                        "the other.")

    from tfreid.evaluation.identification import read_people
    from tfreid.evaluation.results import ruled_table
    from tfreid.footage.detections import read_detections
    from tfreid.tracking.scores import score_tracks

    people = read_people(parsed.people) if parsed.people else None
    truths = {file: read_detections(file) for file in parsed.truth}
    if people is not None:
        truths = {file: _as_people(frames, file, people) for file, frames in truths.items()}
    tracks = dict(zip(parsed.truth, map(read_detections, parsed.tracks)))
    scores = score_tracks(truths, tracks)
    rows = [(film, *(f"{value:.3f}" for value in found[:-1]), f"{found.switches:,}")
            for film, found in scores.items()]
    print(ruled_table([[("film", "IDF1", "HOTA", "DetA", "AssA", "MOTA", "switches")], rows]))


def _as_people(frames, file: str, people):
    """Replaces the tracks of a truth by numbers of people."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(people.values()), 1)}

    def person(one):
        track = f"{Path(file).stem}-{one.track}"
        if track not in people:
            raise UserError(f"the table of people has no track {track}, which {file} has; give "
                            "the table of its films.")
        return one._replace(track=numbers[people[track]])

    return {frame: [person(one) for one in found] for frame, found in frames.items()}
