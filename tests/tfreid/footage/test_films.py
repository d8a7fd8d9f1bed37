"""Films: the numbers of their frames."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.footage.films import Film


@pytest.mark.parametrize(("names", "numbers"), [
    (["000001.png", "000002.png", "000004.png"], [0, 1, 3]),
    (["frame_10.png", "frame_9.png", "frame_11.png"], [8, 9, 10]),
    (["0.png", "3.png"], [0, 3]),
    (["000002_c1.png", "000007_c1.png"], [0, 1]),
    (["lum.1505292339490.png", "lum.1505292340490.png"], [0, 1]),
    (["a.png", "b.png", "7.png"], [0, 1, 2])])
def test_images_are_numbered_by_their_names(tmp_path, names, numbers):
    for place, name in enumerate(names):
        cv2.imwrite(str(tmp_path / name), np.full((4, 4, 3), place, np.uint8))
    film = Film(tmp_path)
    found = list(film.frames())
    assert [number for number, _ in found] == numbers
    assert film.count == film.decoded == numbers[-1] + 1
    assert [film.has(number) for number in (*numbers, numbers[-1] + 1)] == len(names) * [
        True] + [False]
    values = [image[0, 0, 0] for _, image in found]
    by_name = [names.index(name) for name in sorted(names)]
    assert values == (by_name if names[0] != "frame_10.png" else [1, 0, 2])


@pytest.mark.parametrize(("path", "name"), [
    (".", "yard"), ("sub/..", "yard"), ("img1", "yard"), ("img1/..", "yard"), ("sub", "sub")])
def test_a_path_has_the_name_of_its_place(tmp_path, monkeypatch, path, name):
    for folder in ("yard", "yard/sub", "yard/img1"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "1.png"), np.zeros((4, 4, 3), np.uint8))
    monkeypatch.chdir(tmp_path / "yard")
    assert Film(path).name == name


@pytest.mark.parametrize("name", ["/", "..mp4", "...mp4", ".lock", "a\nb.mp4", "a\udcff.mp4"])
def test_names_that_are_no_plain_file_names_get_one_sentence(tmp_path, name):
    if name != "/":
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match="not a plain file name; rename the film"):
        Film(tmp_path / name)


def test_a_film_that_changes_is_another_source(tmp_path):
    for name in "12":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((4, 4, 3), np.uint8))
    first = Film(tmp_path).source()
    assert Film(tmp_path / ".." / tmp_path.name).source() == first
    os.utime(tmp_path / "2.png", ns=(0, 5))
    second = Film(tmp_path).source()
    (tmp_path / "2.png").rename(tmp_path / "3.png")
    (tmp_path / "4.png").symlink_to("missing")
    assert len({source["listing"] for source in (first, second, Film(tmp_path).source())}) == 3


@pytest.mark.parametrize("data", [b"", b"RIFF", bytes(5000)])
def test_files_that_are_no_films_get_one_sentence(tmp_path, data):
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(UserError, match="a.mp4 is not a film that OpenCV can decode"):
        Film(tmp_path / "a.mp4")


def test_frames_are_read_as_a_viewer_shows_images_and_broken_ones_passed_over(tmp_path):
    transparent = np.dstack([np.zeros((4, 6, 3), np.uint8), np.tile(np.uint8([0, 255]), (4, 3))])
    cv2.imwrite(str(tmp_path / "1.png"), transparent)
    (tmp_path / "2.png").write_bytes((tmp_path / "1.png").read_bytes()[:-20])
    (tmp_path / "3.png").symlink_to("missing.png")
    (_, shown), *others = Film(tmp_path).frames()
    np.testing.assert_array_equal(shown[..., 0], np.tile(np.uint8([255, 0]), (4, 3)))
    assert [number for number, _ in others] == [1, 2]
    assert all(frame is None for _, frame in others)
