"""Numbers the people in a film: boxes of a detector in, tracks out, as MOTChallenge text."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

from tfrecords.arguments import number, whole
from tfrecords.errors import UserError, command_line
from tfreid.commands.parser import CommandParser
from tfreid.commands.tracker_thresholds import USUAL_RATE, exported_threshold

_EPILOG = f"""\
examples:
  tfreid track --model served/reid --frames yard.mp4 --detections yard.txt --output tracks.txt
  tfreid track --no-appearance --frames MOT17-02/img1 --detections det.txt --output tracks.txt
  tfreid score-tracks --truth gt.txt --tracks tracks.txt

The tracker is Norfair's: people are followed by place and motion, and one who was lost gets the
number back if the new track looks like the lost one. How near is the model's calibrated distance
at which one in {1 / USUAL_RATE:,.0f} pairs of different people is accepted; see `tfreid
tracker-thresholds`. Detections are what `tfreid crop-people` reads. Boxes outside the frame or in
frames that the film has not are left out and counted. tracks.txt counts frames from 1.
"""


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and tracks."""
    parsed = _parser().parse_args(arguments)
    _check(parsed)
    from tqdm import tqdm

    from tfrecords.writing import write_whole
    from tfreid.footage.detections import read_detections
    from tfreid.footage.films import Film
    from tfreid.tracking.follow import follow_people, mot_text
    from tfreid.tracking.tracker import TrackingOptions
    from tfreid.visualization.track_film import draw_tracks

    film = Film(parsed.frames)
    frames, doubtful = _confident(read_detections(parsed.detections, parsed.first_frame), parsed)
    distance, embed = _appearance(parsed)
    options = TrackingOptions(distance, parsed.longest_gap, parsed.memory, parsed.least_overlap)

    def bar(what):
        return tqdm(total=film.count or None, desc=what, unit="frame", leave=False)

    with bar("tracking") as progress:
        found = follow_people(film, frames, options, embed, parsed.least_frames, progress.update)
    write_whole(parsed.output, mot_text(found.people))
    for count, why in ((doubtful, f"of a confidence below {parsed.least_confidence:g}"),
                       (found.missing, "of frames that the film does not have; check that they "
                        "belong together (--first-frame)"),
                       (found.outside, "outside the frame; check that the detections are of a "
                        "film of this size"),
                       (found.brief, f"of tracks of fewer than {parsed.least_frames} boxes")):
        if count:
            print(f"note: left out {count:,} boxes {why}")
    if parsed.draw and not found.people:
        print(f"note: {parsed.draw} was not drawn, since there is no track; --least-frames lets "
              "shorter ones in")
    elif parsed.draw:
        with bar("drawing") as progress:
            draw_tracks(film, found.people, Path(parsed.draw), progress.update)
    tracks = len({one.track for one in found.people})
    look = "without appearance" if distance is None else f"distance {distance:.4f}"
    print(f"wrote {len(found.people):,} boxes of {tracks:,} tracks ({look}) to {parsed.output}")


def _confident(frames, parsed):
    """Returns the boxes of the confidence that is wanted, by frame, and how many others are."""
    chosen = {place: [one for one in found if one.confidence is None
                      or one.confidence >= parsed.least_confidence]
              for place, found in frames.items()}
    if not any(chosen.values()):
        raise UserError(f"{parsed.detections} has no box of a confidence of "
                        f"{parsed.least_confidence:g} or more; lower --least-confidence.")
    return ({place: found for place, found in chosen.items() if found},
            sum(map(len, frames.values())) - sum(map(len, chosen.values())))


def _appearance(parsed):
    """Returns the distance of one person's tracks and what embeds people; None and None without."""
    if parsed.no_appearance:
        return None, None

    from tfreid.tracking.thresholds import cosine_distance, share_note
    from tfreid.trained_model import load

    distance = parsed.distance
    if distance is None:
        threshold = exported_threshold(parsed.model)
        distance = cosine_distance(threshold, USUAL_RATE)
        print(f"distance {distance:.4f}: {share_note(threshold, USUAL_RATE)}")
    model = load(parsed.model)
    return distance, functools.partial(model.embed, color="bgr")


def _check(parsed) -> None:
    from tfreid.visualization.track_film import FILM_SUFFIXES, PICTURE_SUFFIXES

    if bool(parsed.model) == parsed.no_appearance:
        raise UserError("give either --model, which compares people, or --no-appearance.")
    if parsed.no_appearance and parsed.distance is not None:
        raise UserError("--distance is of appearances; leave out it or --no-appearance.")
    suffixes = (*FILM_SUFFIXES, *PICTURE_SUFFIXES)
    if parsed.draw and not parsed.draw.lower().endswith(suffixes):
        raise UserError(f"--draw {parsed.draw} must end in one of {', '.join(suffixes)}.")


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(__doc__, _EPILOG)
    parser.add_argument("--model", metavar="DIR",
                        help="export that compares people, in any format")
    parser.add_argument("--no-appearance", action="store_true",
                        help="number by place and motion alone")
    parser.add_argument("--frames", required=True, metavar="FILM",
                        help="video file, or folder of numbered images")
    parser.add_argument("--detections", required=True, metavar="FILE",
                        help="boxes of people: MOTChallenge text, COCO JSON or CSV; tracks that "
                        "they have are ignored")
    parser.add_argument("--output", required=True, metavar="FILE",
                        help="MOTChallenge text: frame, track, left, top, width, height, "
                        "confidence")
    parser.add_argument("--draw", metavar="FILE",
                        help="film (.mp4) with numbered boxes, or picture (.jpg, .png) of the "
                        "frame with the most people")
    parser.add_argument("--distance", type=number(low=0.0, high=2.0), metavar="D",
                        help="cosine distance up to which a new track is a lost one (default: "
                        f"where the calibration accepts {USUAL_RATE} of the pairs of different "
                        "people)")
    parser.add_argument("--first-frame", type=whole(0, 10**9), metavar="N",
                        help="number that the detections give the first frame (default: as for "
                        "tfreid crop-people)")
    parser.add_argument("--least-confidence", type=number(low=-1e9, high=1e9), default=0.0,
                        metavar="X", help="boxes of a lower confidence are left out (default: "
                        "%(default)s)")
    parser.add_argument("--least-overlap", type=number(low=0.01, high=0.99), default=0.2,
                        metavar="PART", help="intersection over union with the predicted place "
                        "from which on a box continues a track (default: %(default)s)")
    parser.add_number("--longest-gap", 30, "frames that a person may be missing and be found again "
                      "by place, but no more than the person was seen in")
    parser.add_number("--memory", 600, "further frames in which a lost person may be found again "
                      "by appearance", high=10**6)
    parser.add_number("--least-frames", 3, "tracks of fewer boxes are left out")
    return parser
