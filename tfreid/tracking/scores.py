"""Scores tracks with TrackEval, the evaluation of MOTChallenge: IDF1, HOTA and their parts."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfrecords.errors import UserError
from tfreid.footage.detections import Detection

_NAME, _COMBINED, _CLASS = "tracks", "COMBINED_SEQ", "pedestrian"


class TrackScores(NamedTuple):
    """Scores of tracks, fractions in 0..1 but for the last.

    Attributes:
        idf1: Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera
            Tracking" (2016).
        hota: Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking"
            (2020), the mean over the overlaps 0.05, 0.1 ... 0.95, like the following two.
        det_a: How well the boxes agree.
        ass_a: How well the numbers agree.
        mota: Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance" (2008).
        switches: Changes of a person's number.
    """

    idf1: float
    hota: float
    det_a: float
    ass_a: float
    mota: float
    switches: int


def score_tracks(truths: Mapping[str, Mapping[int, Sequence[Detection]]],
                 tracks: Mapping[str, Mapping[int, Sequence[Detection]]],
                 ) -> dict[str, TrackScores]:
    """Scores the tracks of one or more films.

    Args:
        truths: Film -> frame, from 0 -> the true boxes with their tracks.
        tracks: Film -> the boxes that were found, with their tracks; the same films.

    Returns:
        Film -> its scores and, of several films, `all`: those of all films together.

    Raises:
        UserError: If TrackEval is not installed, or a box has no track, or a track has two boxes in
            a frame.
    """
    trackeval = _trackeval()
    for kind, files in (("truth", truths), ("tracks", tracks)):
        for film, frames in files.items():
            _check(frames, f"the {kind} of {film}")
    names = {f"film{place}": film for place, film in enumerate(truths)}
    with tempfile.TemporaryDirectory(prefix="tfreid-") as folder, contextlib.redirect_stdout(
            io.StringIO()):
        for name, film in names.items():
            numbers = _places({*truths[film], *tracks[film]})
            _write(Path(folder) / "gt" / name / "gt" / "gt.txt", truths[film], numbers)
            _write(Path(folder) / "found" / _NAME / "data" / f"{name}.txt", tracks[film], numbers)
        found = _evaluated(trackeval, Path(folder), {
            name: len({*truths[film], *tracks[film]}) for name, film in names.items()})
    scores = {film: _scores(found[name]) for name, film in names.items()}
    return scores if len(names) < 2 else {**scores, "all": _scores(found[_COMBINED])}


def _evaluated(trackeval, folder: Path, lengths: Mapping[str, int]):
    quiet = {"PRINT_CONFIG": False}
    dataset = trackeval.datasets.MotChallenge2DBox({
        **quiet, "GT_FOLDER": str(folder / "gt"), "TRACKERS_FOLDER": str(folder / "found"),
        "TRACKERS_TO_EVAL": [_NAME], "SEQ_INFO": dict(lengths), "SKIP_SPLIT_FOL": True})
    evaluator = trackeval.Evaluator({
        **quiet, "BREAK_ON_ERROR": True, "RETURN_ON_ERROR": False, "LOG_ON_ERROR": None,
        "PRINT_RESULTS": False, "TIME_PROGRESS": False, "OUTPUT_SUMMARY": False,
        "OUTPUT_DETAILED": False, "PLOT_CURVES": False})
    metrics = [trackeval.metrics.HOTA(), trackeval.metrics.Identity(quiet),
               trackeval.metrics.CLEAR(quiet)]
    return evaluator.evaluate([dataset], metrics)[0]["MotChallenge2DBox"][_NAME]


def _scores(found) -> TrackScores:
    hota, identity, clear = (found[_CLASS][name] for name in ("HOTA", "Identity", "CLEAR"))
    return TrackScores(float(identity["IDF1"]), *(
        float(np.mean(hota[name])) for name in ("HOTA", "DetA", "AssA")),
        float(clear["MOTA"]), int(clear["IDSW"]))


def _places(numbers: Iterable[int]) -> dict[int, int]:
    """Counts numbers from 1 in their order: TrackEval makes tables as long as the largest."""
    return {number: place for place, number in enumerate(sorted(numbers), 1)}


def _write(path: Path, frames: Mapping[int, Sequence[Detection]],
           numbers: Mapping[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tracks = _places({one.track for found in frames.values() for one in found})
    # Confidence 1, class 1 (a person), visible.
    path.write_text("".join(
        f"{numbers[frame]},{tracks[one.track]},{','.join(map(repr, one.box))},1,1,1\n"
        for frame, found in frames.items() for one in found))


def _check(frames: Mapping[int, Sequence[Detection]], name: str) -> None:
    for frame, found in frames.items():
        tracks = [one.track for one in found]
        if None in tracks:
            raise UserError(f"{name} has a box without a track in frame {frame + 1}; give files "
                            "whose second column numbers the tracks.")
        if len(set(tracks)) < len(tracks):
            twice = next(track for track in tracks if tracks.count(track) > 1)
            raise UserError(f"{name} has track {twice} twice in frame {frame + 1}; a track is one "
                            "person, who has one box a frame.")


def _trackeval():
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does without
            import trackeval
    except ImportError as error:
        raise UserError(f"scores need TrackEval ({error}); run `pip install --no-deps "
                        "trackeval`.") from None
    return trackeval
