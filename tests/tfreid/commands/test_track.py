"""From a rendered film to scored tracks, and the thresholds of trackers, by the commands."""

from __future__ import annotations

import shutil

import cv2
import pytest

from tfreid.commands import calibrate, export, render_films, score_tracks, track, tracker_thresholds
from tfreid.footage.detections import read_detections
from tfreid.footage.films import Film

SMALL = ["--people", "2", "--cameras", "1", "--seconds", "20", "--rate", "5", "--height", "120",
         "--width", "160", "--workers", "1", "--detections"]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    output = tmp_path_factory.mktemp("rendered") / "films"
    assert render_films.main(["--output", str(output), *SMALL]) == 0
    return output / "entrance.mp4"


@pytest.fixture(scope="module")
def given(film):
    """Options of the film and its detections."""
    return ["--frames", str(film), "--detections", str(film.with_name("entrance-detections.txt"))]


@pytest.fixture(scope="module")
def exported(untrained, tmp_path_factory):
    """The export of a calibrated run."""
    output = tmp_path_factory.mktemp("export") / "model"
    run = str(untrained[0])
    assert calibrate.main(["--run", run, "--false-positive-rates", "0.001,0.1"]) == 0
    assert export.main(["--run", run, "--output", str(output)]) == 0
    return str(output)


def refused(main, arguments, capsys):
    """Returns the one sentence with which a call is refused."""
    assert main(arguments) == 2
    message = capsys.readouterr().err.rpartition("\r")[2].strip()  # behind a progress bar
    assert message.startswith("error: ") and "\n" not in message
    return message


def test_tracks_without_appearance_are_scored(film, given, tmp_path, capsys):
    pytest.importorskip("norfair")
    pytest.importorskip("trackeval")
    output, drawn = tmp_path / "new" / "tracks.txt", tmp_path / "tracks.mp4"
    assert track.main([*given, "--no-appearance", "--output", str(output),
                       "--draw", str(drawn)]) == 0
    assert "(without appearance)" in capsys.readouterr().out
    found, given_boxes = (read_detections(file) for file in (output, given[-1]))
    boxes = [one.box for some in given_boxes.values() for one in some]
    assert all(one.track and one.box in boxes for some in found.values() for one in some)
    assert (Film(drawn).count, Film(drawn).rate) == (100, 5.0)
    truth = film.with_suffix(".txt")
    for people in ([], ["--people", str(film.with_name("tracks.csv"))]):
        assert score_tracks.main(["--truth", str(truth), "--tracks", str(output), *people]) == 0
        header, values = (line.split() for line in
                          capsys.readouterr().out.splitlines() if "---" not in line)
        scores = dict(zip(header, values))
        assert float(scores["IDF1"]) > 0.7 and 0.4 < float(scores["HOTA"]) < 1


def test_tracks_by_the_calibrated_distance(given, exported, tmp_path, capsys):
    pytest.importorskip("norfair")
    output, drawn = tmp_path / "tracks.txt", tmp_path / "tracks.png"
    assert track.main([*given, "--model", exported, "--output", str(output),
                       "--draw", str(drawn)]) == 0
    printed = capsys.readouterr().out
    assert tracker_thresholds.main(["--model", exported]) == 0
    row, = (line.split() for line in capsys.readouterr().out.splitlines()
            if line.startswith("tfreid track"))
    assert f"(distance {row[3]})" in printed
    assert cv2.imread(str(drawn)).shape == (120, 160, 3)


def test_a_calibration_without_the_rate_is_refused(exported, capsys):
    message = refused(tracker_thresholds.main, ["--model", exported, "--rate", "0.01"], capsys)
    assert "for 0.001, 0.1;" in message and "--false-positive-rates 0.01" in message


def test_an_export_without_a_calibration_is_refused(exported, tmp_path, capsys):
    plain = shutil.copytree(exported, tmp_path / "plain")
    for thresholds in plain.rglob("thresholds.json"):
        thresholds.unlink()
    message = refused(tracker_thresholds.main, ["--model", str(plain)], capsys)
    assert "run tfreid calibrate" in message


@pytest.mark.parametrize("lines, words", [
    ("1,-1,10,10,20\n", "line 1: not frame, track"),
    ("1,-1,10,10,20,x,1\n", "line 1: not frame, track"),
    ("1,-1,10,10,20,40,1\n2,-1,10,10,nan,40,1\n", "line 2: the box"),
    ("1,-1,10,10,0,40,1\n", "has no area"),
    ("0,-1,10,10,20,40,1\n", "--first-frame"),
    ("", "has no detection of a person"),
    ("1,-1,9000,9000,20,40,1\n", "none of the 1 boxes lies inside"),
    ("900,-1,10,10,20,40,1\n", "none of the 1 boxes lies inside"),
])
def test_detections_that_cannot_be_tracked_are_refused(film, tmp_path, capsys, lines, words):
    pytest.importorskip("norfair")
    detections, output = tmp_path / "bad.txt", tmp_path / "tracks.txt"
    detections.write_text(lines)
    message = refused(track.main, [
        "--frames", str(film), "--detections", str(detections), "--no-appearance",
        "--output", str(output)], capsys)
    assert words in message and not output.exists()


def test_boxes_that_are_left_out_are_counted(film, tmp_path, capsys):
    pytest.importorskip("norfair")
    detections = tmp_path / "some.txt"
    detections.write_text("".join(f"{frame},-1,10,10,20,60,0.9\n" for frame in range(1, 9))
                          + "1,-1,10,10,20,60,-1\n2,-1,500,10,20,60,0.9\n"
                          "999,-1,10,10,20,60,0.9\n3,-1,90,9,9,60,0.9\n")
    assert track.main(["--frames", str(film), "--detections", str(detections), "--no-appearance",
                       "--output", str(tmp_path / "tracks.txt")]) == 0
    printed = capsys.readouterr().out
    assert "left out 1 boxes of a confidence below 0" in printed
    assert "left out 1 boxes outside the frame" in printed
    assert "left out 1 boxes of frames that the film does not have" in printed
    assert "left out 1 boxes of tracks of fewer than 3 boxes" in printed
    assert "wrote 8 boxes of 1 tracks" in printed


@pytest.mark.parametrize("options, words", [
    ([], "--model, which compares people, or --no-appearance"),
    (["--model", "m", "--no-appearance"], "--model, which compares people, or --no-appearance"),
    (["--no-appearance", "--distance", "0.2"], "leave out it or --no-appearance"),
    (["--no-appearance", "--least-confidence", "5"], "no box of a confidence of 5 or more"),
    (["--no-appearance", "--draw", "tracks.gif"], "must end in one of .mp4, .jpg, .png"),
])
def test_options_that_contradict_are_refused(given, capsys, options, words):
    assert words in refused(track.main, [*given, "--output", "tracks.txt", *options], capsys)


def test_scores_need_a_file_of_tracks_for_each_truth(capsys):
    message = refused(score_tracks.main, ["--truth", "a.txt", "b.txt", "--tracks", "c.txt"], capsys)
    assert "2 films with a truth have 1 files of tracks" in message


def test_a_truth_is_given_once(capsys):
    message = refused(score_tracks.main, [
        "--truth", "a.txt", "a.txt", "--tracks", "b.txt", "c.txt"], capsys)
    assert "--truth names a.txt twice" in message


def test_the_table_of_people_must_be_of_the_film(film, tmp_path, capsys):
    table = tmp_path / "people.csv"
    table.write_text("track,person\nyard-1,1\n")
    truth = str(film.with_suffix(".txt"))
    message = refused(score_tracks.main, [
        "--truth", truth, "--tracks", truth, "--people", str(table)], capsys)
    assert "no track entrance-" in message
