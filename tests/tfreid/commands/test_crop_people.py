"""People cut out of films: which pixels, which of a track, the table and what reads it."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.onnx_files import write_model
from tfrecords import build
from tfreid.commands import crop_people
from tfreid.footage.crops import cut, sharpness
from tfreid.footage.films import Film
from tfreid.serving.image_lists import list_images

HEIGHT, WIDTH, FRAMES = 96, 160, 12


def scene(number, blurred=False):
    """A frame in which a pattern of 24 x 48 pixels walks 8 pixels to the right a frame."""
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    blocks = np.random.default_rng(1).integers(0, 256, (12, 6, 1)).astype(np.uint8)
    person = blocks.repeat(4, 0).repeat(4, 1).repeat(3, 2)
    if blurred:
        person = cv2.GaussianBlur(person, (9, 9), 4)
    image[30:78, 8 * number : 8 * number + 24] = person
    return image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of frames with its detections, and a film of the same frames."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "yard" / "img1").mkdir(parents=True)
    film = cv2.VideoWriter(str(folder / "gate.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0,
                           (WIDTH, HEIGHT))
    for number in range(FRAMES):
        # Two frames of twelve are sharp, one in each half.
        image = scene(number, blurred=number not in (4, 7))
        cv2.imwrite(str(folder / "yard" / "img1" / f"{number + 1:06d}.png"), image)
        film.write(image)
    film.release()
    lines = [f"{number + 1},3,{8 * number},30,24,48,0.9" for number in range(FRAMES)]
    (folder / "boxes.txt").write_text("\n".join([*lines, "2,-1,100,30,24,20,0.9", "99,4,0,0,9,40"]))
    return folder


def crop(folder, output, *more, film="yard/img1", boxes="boxes.txt"):
    return crop_people.main([str(folder / film), "--detections", str(folder / boxes),
                             "--output", str(output), *more])


def table(output):
    with open(output / "crops.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_box_is_cut_where_it_is(folder, tmp_path, capsys):
    assert crop(folder, tmp_path, "--rate", "10") == 0
    printed = capsys.readouterr().out
    assert "1 of the 13 frames with boxes" in printed
    assert "yard: 12 crops of 14 boxes, 2 tracks" in printed
    rows = table(tmp_path)
    assert [int(row["frame"]) for row in rows] == list(range(FRAMES))
    assert rows[4] == {
        "path": "yard/00003_0000004.jpg", "person_id": "yard-3", "camera_id": "yard",
        "split": "gallery", "tracklet_id": "yard-3", "time": "0.400", "frame": "4", "left": "32",
        "top": "30", "width": "24", "height": "48", "confidence": "0.9"}
    found = cv2.imread(str(tmp_path / rows[4]["path"]))
    assert found.shape == (48, 24, 3)
    assert np.abs(found.astype(int) - scene(4)[30:78, 32:56]).mean() < 12  # of JPEG


def test_a_film_gives_what_its_frames_give(folder, tmp_path):
    assert crop(folder, tmp_path, "--start", "2026-05-01T08:30:00", film="gate.avi") == 0
    rows = table(tmp_path)
    assert len(rows) == FRAMES and rows[4]["time"] == "2026-05-01T08:30:00.400"
    found = cv2.imread(str(tmp_path / rows[4]["path"]))
    assert np.abs(found.astype(int) - scene(4)[30:78, 32:56]).mean() < 30  # of JPEG, twice


def test_the_sharpest_of_each_part_of_a_track(folder, tmp_path):
    assert crop(folder, tmp_path, "--per-track", "2") == 0
    assert [int(row["frame"]) for row in table(tmp_path)] == [4, 7]
    assert sharpness(scene(4)[30:78, 32:56]) > sharpness(scene(5, True)[30:78, 40:64])


@pytest.mark.parametrize(("lines", "frames"), [
    (["1,3,0,30,24,48", "5,3,32,30,24,48", "5,3,99,30,24,48"], [0, 4]),
    (["5,3,99,30,24,48", "5,3,32,30,24,48"], [4])])
def test_two_boxes_of_a_track_in_one_frame_are_one_place(folder, tmp_path, lines, frames):
    (tmp_path / "two.txt").write_text("\n".join(lines))
    assert crop(folder, tmp_path / "out", "--per-track", "2", boxes=tmp_path / "two.txt") == 0
    rows = table(tmp_path / "out")
    assert [int(row["frame"]) for row in rows] == frames
    assert rows[-1]["left"] == "32"  # the sharper one


def test_every_third_frame_and_the_margin(folder, tmp_path):
    assert crop(folder, tmp_path, "--every", "3", "--margin", "0.25", "--least-height", "10") == 0
    rows = table(tmp_path)
    assert [int(row["frame"]) for row in rows] == [0, 3, 6, 9]
    # At the left edge the margin is cut off.
    assert [cv2.imread(str(tmp_path / row["path"])).shape[:2] for row in rows[:2]] == [
        (72, 30), (72, 36)]


def test_what_is_hardly_inside_the_frame_or_seen_is_left_out(folder, tmp_path):
    # Of 40 x 60 pixels: 31 rows inside; 32 rows inside; half the columns; all, of which 0.4 seen.
    boxes = [(60, -29, 1, 1), (60, -28, 1, 1), (-20, 20, 1, 1), (60, 20, 1, 0.4)]
    (tmp_path / "gt.txt").write_text("".join(
        f"1,{track},{left},{top},40,60,1,{kind},{seen}\n"
        for track, (left, top, kind, seen) in enumerate(boxes)))
    for least, tracks in (("0", "123"), ("0.45", "12"), ("0.52", "1"), ("0.54", "")):
        assert crop_people.main([
            str(folder / "gate.avi"), "--detections", str(tmp_path / "gt.txt"), "--least-visible",
            least, "--output", str(tmp_path / least)]) == 0
        assert [row["tracklet_id"] for row in table(tmp_path / least)] == [
            f"gate-{track}" for track in tracks]


def test_cut():
    image = np.arange(60).reshape(6, 10, 1)
    np.testing.assert_array_equal(cut(image, (2, 1, 3, 2), 0.0), image[1:3, 2:5])
    np.testing.assert_array_equal(cut(image, (-2, -1, 4, 3), 0.0), image[:2, :2])
    assert cut(image, (20, 1, 3, 2), 0.0) is None


def test_a_finished_film_is_kept_and_another_joins(folder, tmp_path, capsys):
    assert crop(folder, tmp_path) == 0
    (tmp_path / "yard" / "00003_0000004.jpg").unlink()
    assert crop_people.main([
        str(folder / "yard" / "img1"), str(folder / "gate.avi"), "--detections",
        *2 * [str(folder / "boxes.txt")], "--output", str(tmp_path)]) == 0
    assert "yard: finished before" in capsys.readouterr().out
    assert not (tmp_path / "yard" / "00003_0000004.jpg").exists()
    cameras = FRAMES * ["gate"] + FRAMES * ["yard"]
    assert [row["camera_id"] for row in table(tmp_path)] == cameras
    (tmp_path / "parts" / ".tmp-left.csv").write_text("of a killed process\n")
    assert crop(folder, tmp_path, film="gate.avi") == 0
    assert [row["camera_id"] for row in table(tmp_path)] == cameras
    assert crop(folder, tmp_path, "--margin", "0.1") == 2
    assert "crops of other settings (margin)" in capsys.readouterr().err


@pytest.mark.parametrize(("change", "words"), [
    ("boxes", "(detections)"), ("film", "(modified)"), ("place", "(path)"),
    ("record", "(path, size, modified, detections)"), ("part", "(detections)")])
def test_crops_of_another_film_or_detections_are_refused(folder, tmp_path, capsys, change, words):
    film, boxes, output = (tmp_path / name for name in ("gate.avi", "boxes.txt", "out"))
    shutil.copy(folder / "gate.avi", film)
    boxes.write_text("1,3,0,30,24,48\n")
    assert crop(tmp_path, output, film=film, boxes=boxes) == 0
    before = (output / "crops.csv").read_bytes()
    if change in ("boxes", "part"):
        boxes.write_text("1,3,8,30,24,48\n")
    if change == "film":
        os.utime(film, ns=(0, 5))
    if change == "place":
        (tmp_path / "other").mkdir()
        film = shutil.copy2(film, tmp_path / "other")
    if change in ("record", "part"):  # of an earlier version; of a run that was killed
        (output / "parts" / f"gate.{'json' if change == 'record' else 'csv'}").unlink()
    assert crop(tmp_path, output, film=film, boxes=boxes) == 2
    assert f"{output} has crops of gate that" in (error := capsys.readouterr().err)
    assert words in error and "delete gate, parts/gate.csv and gate.json there" in error
    assert (output / "crops.csv").read_bytes() == before and len(table(output)) == 1


def test_a_film_called_by_a_point_stays_in_the_output(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(folder / "yard" / "img1")
    for path in (".", "../../yard/img1/"):
        assert crop(Path(), tmp_path, film=path, boxes=folder / "boxes.txt") == 0
        assert {row["path"].partition("/")[0] for row in table(tmp_path)} == {"yard"}
    assert "yard: finished before" in capsys.readouterr().out
    (folder / "..avi").symlink_to("gate.avi")
    assert crop(folder, tmp_path / "out", film="..avi") == 2
    assert "'.', which is not a plain file name" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_records_are_built_from_the_table(folder, tmp_path):
    shutil.copytree(folder / "yard", folder / "hall", dirs_exist_ok=True)
    assert crop_people.main([
        str(folder / "yard" / "img1"), str(folder / "hall" / "img1"), "--detections",
        *2 * [str(folder / "boxes.txt")], "--output", str(tmp_path / "crops")]) == 0
    listed = list_images([str(tmp_path / "crops" / "crops.csv")])
    assert len(listed) == 2 * FRAMES and listed.times[1] == "0.040"
    rows = table(tmp_path / "crops")
    for row in rows:  # as a user would, who knows the people
        row["person_id"] = "anna"
        row["split"] = "query" if row["camera_id"] == "hall" else "gallery"
    with open(tmp_path / "crops" / "labels.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert build.main(["csv", "--root", str(tmp_path / "crops"), "--output",
                       str(tmp_path / "records")]) == 0
    manifest = json.loads((tmp_path / "records" / "manifest.json").read_text())
    assert manifest["splits"]["gallery"]["images"] == FRAMES


def test_the_built_in_detector_runs(folder, tmp_path, capsys):
    output = tmp_path / "out"
    status = crop_people.main([str(folder / "gate.avi"), "--detector", "hog", "--every", "6",
                               "--output", str(output)])
    printed = capsys.readouterr()
    if hasattr(cv2, "HOGDescriptor"):
        assert status == 0 and table(output) == []
        assert "gate: 0 crops of 0 boxes" in printed.out  # a pattern is nobody
    else:
        assert status == 2 and "'opencv-python-headless<5'" in printed.err


def test_a_detector_of_the_users(folder, tmp_path, capsys):
    """SSD that sees one person in the middle half of every frame, and one of low confidence."""
    model = write_model(tmp_path / "ssd.onnx", {"rows": (
        [[[[0, 1, 0.9, 0.25, 0.25, 0.75, 0.75], [0, 1, 0.2, 0, 0, 0.2, 1]]]], 0)}, (1, 3, 32, 32))
    arguments = [str(folder / "gate.avi"), "--detector", str(model), "--every", "6"]
    assert crop_people.main([*arguments, "--output", str(tmp_path / "out")]) == 0
    assert "gate: 2 crops of 2 boxes" in capsys.readouterr().out
    rows = table(tmp_path / "out")
    assert [row["frame"] for row in rows] == ["0", "6"]
    assert [float(rows[0][side]) for side in ("left", "top", "width", "height")] == [40, 24, 80, 48]
    assert rows[0]["confidence"] == "0.9" and rows[0]["person_id"] == ""
    assert cv2.imread(str(tmp_path / "out" / rows[0]["path"])).shape == (48, 80, 3)
    assert crop_people.main([*arguments, "--person-class", "2", "--output",
                             str(tmp_path / "out")]) == 2
    assert "crops of other settings (person_class)" in capsys.readouterr().err
    assert crop_people.main([*arguments, "--least-confidence", "0.1", "--output",
                             str(tmp_path / "more")]) == 0
    assert len(table(tmp_path / "more")) == 4
    write_model(model, {"rows": ([[[[0, 1, 0.9, 0, 0, 0.75, 0.75]]]], 0)}, (1, 3, 32, 32))
    assert crop_people.main([*arguments, "--output", str(tmp_path / "out")]) == 2
    assert "source (detector)" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "words"), [
    (["FILM"], "give either --detections"),
    (["FILM", "FILM", "--detections", "BOXES"], "2 films have 1 files of detections"),
    (["FILM", "FILM", "--detections", "BOXES", "BOXES"], "two films are called gate"),
    (["FILM", "--detector", "hog", "--per-track", "2"], "finds no tracks"),
    (["FILM", "--detector", "none.onnx"], "none.onnx cannot be read"),
    (["FILM", "--detector", "BOXES"], "boxes.txt is not an ONNX model"),
    (["FILM", "--detector", "hog", "--person-class", "1"], "are of an ONNX file"),
    (["FILM", "--detections", "BOXES", "--detector-pixels", "rgb-1"], "are of an ONNX file"),
    (["none.mp4", "--detections", "BOXES"], "none.mp4 does not exist"),
    (["BOXES", "--detections", "BOXES"], "not a film that OpenCV can decode"),
    (["EMPTY", "--detections", "BOXES"], "holds no image"),
    (["FILM", "--detections", "BOXES", "--start", "noon"], "'noon' is not a time"),
    (["FILM", "--detections", "BOXES", "--margin", "7"], "is not a number from 0 to 1"),
    (["FILM", "--detections", "none.txt"], "none.txt"),
])
def test_mistakes_get_one_sentence(folder, tmp_path, capsys, arguments, words):
    (tmp_path / "empty").mkdir()
    places = {"FILM": folder / "gate.avi", "BOXES": folder / "boxes.txt",
              "EMPTY": tmp_path / "empty"}
    try:
        status = crop_people.main([*(str(places.get(word, word)) for word in arguments),
                                   "--output", str(tmp_path / "out")])
    except SystemExit as error:  # of the parser
        status = error.code
    assert status == 2 and words in capsys.readouterr().err


def test_a_film_that_is_cut_short(folder, tmp_path, capsys):
    """It gives the crops up to there, and a note."""
    data = (folder / "gate.avi").read_bytes()
    (tmp_path / "gate.avi").write_bytes(data[: len(data) * 2 // 3])
    numbers = [number for number, image in Film(tmp_path / "gate.avi").frames()]
    assert 0 < len(numbers) < FRAMES
    assert crop_people.main([str(tmp_path / "gate.avi"), "--detections", str(folder / "boxes.txt"),
                             "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert f"ends after {len(numbers)} of the {FRAMES} frames" in printed
    assert len(table(tmp_path / "out")) == len(numbers)
