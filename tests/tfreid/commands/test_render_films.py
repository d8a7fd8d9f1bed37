"""Rendered films as files: what is written, going on, refusing, and cutting people out of them."""

from __future__ import annotations

import csv
import json

import cv2
import pytest

from tfreid.commands import crop_people, render_films
from tfreid.footage.films import Film

SMALL = ["--people", "2", "--seconds", "40", "--rate", "1", "--height", "120", "--width", "160",
         "--workers", "1"]


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    output = tmp_path_factory.mktemp("rendered") / "films"
    assert render_films.main(["--output", str(output), *SMALL]) == 0
    return output


def read(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_files_and_their_contents(films):
    assert {path.name for path in films.iterdir()} == {
        "entrance.mp4", "entrance.txt", "yard.mp4", "yard.txt", "tracks.csv", "films.json"}
    film = Film(films / "yard.mp4")
    assert (film.count, film.rate) == (40, 1.0)
    assert next(film.frames())[1].shape == (120, 160, 3)
    rows = read(films / "tracks.csv")
    for camera in ("entrance", "yard"):
        assert {row["person"] for row in rows if row["camera"] == camera} == {"1", "2"}
        lines = [line.split(",") for line in (films / f"{camera}.txt").read_text().splitlines()]
        assert {len(line) for line in lines} == {9}
        assert {line[6:8] == ["1", "1"] for line in lines} == {True}
        assert all(1 <= int(line[0]) <= 40 and 0.25 <= float(line[8]) <= 1 for line in lines)
        assert {f"{camera}-{line[1]}" for line in lines} == {
            row["track"] for row in rows if row["camera"] == camera}


def test_people_are_cut_out_of_them(films, tmp_path):
    assert crop_people.main([
        str(films / "entrance.mp4"), str(films / "yard.mp4"), "--detections",
        str(films / "entrance.txt"), str(films / "yard.txt"), "--per-track", "2",
        "--least-height", "20", "--output", str(tmp_path)]) == 0
    tracks = {row["track"] for row in read(films / "tracks.csv")}
    rows = read(tmp_path / "crops.csv")
    assert {row["tracklet_id"] for row in rows} == tracks
    assert cv2.imread(str(tmp_path / rows[0]["path"])) is not None


def test_finished_films_are_kept_and_missing_ones_made_again(films, capsys):
    kept = (films / "yard.mp4").stat().st_mtime_ns
    before = (films / "entrance.txt").read_bytes()
    (films / "entrance.mp4").unlink()
    (films / "entrance.txt").unlink()
    assert render_films.main(["--output", str(films), *SMALL]) == 0
    assert "wrote entrance.mp4, yard.mp4: 40 s of 2 people" in capsys.readouterr().out
    assert (films / "yard.mp4").stat().st_mtime_ns == kept
    assert (films / "entrance.txt").read_bytes() == before and (films / "entrance.mp4").exists()


def test_other_settings_and_other_folders_are_refused(films, tmp_path, capsys):
    assert render_films.main(["--output", str(films), *SMALL, "--seed", "1"]) == 2
    assert "films of other settings (seed)" in capsys.readouterr().err
    (tmp_path / "entrance.mp4").write_bytes(b"mine")
    assert render_films.main(["--output", str(tmp_path), *SMALL]) == 2
    assert "has files but no films.json; name an empty --output" in capsys.readouterr().err
    assert (tmp_path / "entrance.mp4").read_bytes() == b"mine"
    assert json.loads((films / "films.json").read_text())["seed"] == 0


def test_an_opencv_that_cannot_write_films_leaves_nothing(tmp_path, monkeypatch, capsys):
    class Deaf:
        write = release = staticmethod(lambda *_: None)

    monkeypatch.setattr(cv2, "VideoWriter", lambda *_: Deaf())
    output = tmp_path / "films"
    assert render_films.main(["--output", str(output), *SMALL, "--cameras", "1"]) == 2
    assert "entrance.mp4 could not be written whole" in capsys.readouterr().err
    assert {path.name for path in output.iterdir()} == {"films.json"}
