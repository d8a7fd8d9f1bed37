"""Scores of tracks, worked out by hand, and files that cannot be scored."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.evaluation.identification import identification_scores
from tfreid.footage.detections import Detection
from tfreid.tracking.scores import score_tracks


def walk(*tracks):
    """Returns one person who stands for some frames, with the track of each frame; None: none."""
    return {frame: [Detection(frame, (10.0, 10.0, 40.0, 80.0), track)]
            for frame, track in enumerate(tracks) if track is not None}


def test_without_trackeval_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackeval", None)
    with pytest.raises(UserError, match="pip install --no-deps trackeval"):
        score_tracks({"film": walk(1)}, {"film": walk(1)})


class TestScores:
    """Needs TrackEval, which tools/environment.sh installs."""

    @pytest.fixture(autouse=True)
    def _trackeval(self):
        pytest.importorskip("trackeval")

    def test_a_number_that_changes(self):
        """6 frames have the number 1, 4 the number 2.

        IDF1: 6 agree, so 12 / (12 + 4 + 4). HOTA: all boxes agree, DetA = 1; of 6 boxes 6 of the
        person's 10 have their number, of 4 boxes 4: AssA = (6 * 0.6 + 4 * 0.4) / 10 = 0.52. MOTA:
        one switch of 10.
        """
        scores = score_tracks({"film": walk(*[5] * 10)}, {"film": walk(*[1] * 6, *[2] * 4)})
        assert scores.keys() == {"film"}
        assert scores["film"] == pytest.approx((0.6, 0.52**0.5, 1.0, 0.52, 0.9, 1))

    def test_numbers_as_large_as_identifiers(self):
        """Neither tracks nor frames cost memory by their numbers, and empty frames no score."""
        found = {10**12 * frame: [one[0]._replace(frame=10**12 * frame, track=2**62 + one[0].track)]
                 for frame, one in walk(*[1] * 6, *[2] * 4).items()}
        truth = {10**12 * frame: one for frame, one in walk(*[5] * 10).items()}
        assert score_tracks({"film": truth}, {"film": found})["film"] == pytest.approx(
            (0.6, 0.52**0.5, 1.0, 0.52, 0.9, 1))

    def test_boxes_that_are_missed_and_false(self):
        """Of 10 boxes 8 are found, and 2 elsewhere: 8 agree, 2 are missed, 2 false.

        IDF1 = 16 / (16 + 2 + 2). DetA = 8 / 12, AssA = 8 / 12 too: the number has two boxes that
        are not the person's. MOTA = 1 - 4 / 10.
        """
        found = walk(*[1] * 8, None, None)
        for frame in (8, 9):
            found[frame] = [Detection(frame, (500.0, 10.0, 40.0, 80.0), 1)]
        scores = score_tracks({"film": walk(*[5] * 10)}, {"film": found})["film"]
        assert scores == pytest.approx((0.8, 8 / 12, 8 / 12, 8 / 12, 0.6, 0))

    def test_boxes_that_overlap_by_half_and_more_count(self):
        """Shifted by a quarter of the width they overlap by 3 / 5: in HOTA at 11 of 19 overlaps."""
        shifted = {frame: [found[0]._replace(box=(20.0, 10.0, 40.0, 80.0))]
                   for frame, found in walk(*[1] * 10).items()}
        scores = score_tracks({"film": walk(*[5] * 10)}, {"film": shifted})["film"]
        assert scores.idf1 == 1.0
        # 0.05 ... 0.6; rounding decides whether 0.6 itself counts.
        assert min(abs(scores.hota - count / 19) for count in (11, 12)) < 1e-6

    def test_several_films_and_all_of_them(self):
        truth = walk(*[5] * 10)
        scores = score_tracks({"a": truth, "b": truth},
                              {"a": truth, "b": walk(*[1] * 6, *[2] * 4)})
        assert scores["a"].idf1 == 1.0 and scores["b"].idf1 == pytest.approx(0.6)
        assert scores["all"].idf1 == pytest.approx(2 * 16 / (2 * 16 + 4 + 4))
        assert scores["all"].switches == 1

    def test_idf1_is_ours_where_boxes_agree(self):
        rng = np.random.default_rng(0)
        truth, found = {}, {}
        for frame in range(40):
            places = [(60.0 * place, 10.0, 40.0, 80.0) for place in range(5)]
            truth[frame] = [Detection(frame, box, track) for track, box in enumerate(places, 1)]
            numbers = rng.permutation(5) if frame % 4 else np.arange(5)
            found[frame] = [Detection(frame, box, int(number))
                            for number, box in zip(numbers, places)]
        ours = identification_scores(*(
            [str(one.track) for frame in frames.values() for one in frame]
            for frames in (truth, found)))
        scores = score_tracks({"film": truth}, {"film": found})["film"]
        assert scores.idf1 == pytest.approx(ours.idf1)

    def test_a_box_without_a_track_is_refused(self):
        with pytest.raises(UserError, match="the tracks of film .* frame 1;"):
            score_tracks({"film": walk(1)}, {"film": {0: [Detection(0, (1.0, 1.0, 2.0, 2.0))]}})

    def test_a_track_that_is_twice_in_a_frame_is_refused(self):
        twice = {2: walk(1)[0] * 2}
        with pytest.raises(UserError, match="the truth of film has track 1 twice in frame 3;"):
            score_tracks({"film": twice}, {"film": walk(1)})
