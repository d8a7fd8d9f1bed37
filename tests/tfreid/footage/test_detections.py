"""Detections from the three formats: the same people, and sentences for broken files."""

from __future__ import annotations

import json

import pytest

from tfrecords.errors import UserError
from tfreid.footage.detections import Detection, read_detections

# Frame 0 has two people, one of them tracked; frame 2 has the tracked one again.
EXPECTED = {0: [Detection(0, (10, 20, 30, 60), 7, 0.5), Detection(0, (50, 20, 30, 60), None, 0.25)],
            2: [Detection(2, (12, 20, 30, 60), 7, 1.0)]}
MOT = "1,7,10,20,30,60,0.5,-1,-1,-1\n1,-1,50,20,30,60,0.25,-1,-1,-1\n\n3,7,12,20,30,60,1,-1,-1,-1\n"
CSV = ("frame;track;left;top;width;height;confidence\n0;7;10;20;30;60;0.5\n0;;50;20;30;60;0.25\n"
       "2;7;12;20;30;60;1\n")


def coco(images=None):
    annotations = [
        {"image_id": 5, "bbox": [10, 20, 30, 60], "track_id": 7, "score": 0.5, "category_id": 1},
        {"image_id": 5, "bbox": [50, 20, 30, 60], "score": 0.25},
        {"image_id": 5, "bbox": [0, 0, 9, 9], "category_id": 3},
        {"image_id": 9, "bbox": [12, 20, 30, 60], "track_id": 7, "score": 1.0}]
    return json.dumps({"images": images or [{"id": 5, "file_name": "film2/000001.jpg"},
                                            {"id": 9, "file_name": "film2/000003.jpg"}],
                       "annotations": annotations})


@pytest.mark.parametrize(("name", "text"), [
    ("a.txt", MOT), ("a.csv", CSV), ("a.json", coco()),
    ("b.json", coco([{"id": 5, "frame_id": 0}, {"id": 9, "frame_id": 2}]))])
def test_one_scene_in_every_format(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_detections(tmp_path / name) == EXPECTED


def test_results_of_coco_and_another_first_frame(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{"image_id": 8, "bbox": [1, 2, 3, 4]}]))
    assert read_detections(tmp_path / "a.json", first_frame=6) == {
        2: [Detection(2, (1, 2, 3, 4))]}
    (tmp_path / "a.txt").write_text(MOT)
    assert set(read_detections(tmp_path / "a.txt", first_frame=0)) == {1, 3}


def test_ground_truth_of_motchallenge_leaves_out_what_is_no_person(tmp_path):
    lines = ["1,1,0,0,10,20,1,1,0.9", "1,2,0,0,10,20,0,1,0.9", "1,3,0,0,10,20,1,8,0.9"]
    (tmp_path / "gt.txt").write_text("\n".join(lines))
    assert [one.track for one in read_detections(tmp_path / "gt.txt")[0]] == [1]


    assert read_detections(tmp_path / "gt.txt")[0][0].visible == 0.9


@pytest.mark.parametrize(("name", "text"), [
    ("a.txt", "1.0000e+00\t3\t1\t2\t3\t4\r\n\r\n2,-1,1,2,3,4\r\n"),
    ("a.csv", "\ufeffframe,left,top,width,height,track\r\n0.0,1,2,3,4,3.0\r\n1,1,2,3,4,-1\r\n"),
    ("a.json", json.dumps([{"image_id": 0, "bbox": [1, 2, 3, 4], "track_id": 3.0},
                           {"image_id": "1", "bbox": [1, 2, 3, 4], "track_id": -1}]))])
def test_whole_numbers_with_a_point_and_lines_of_windows(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode())
    assert read_detections(tmp_path / name) == {0: [Detection(0, (1, 2, 3, 4), 3)],
                                                1: [Detection(1, (1, 2, 3, 4), None)]}


def test_tracks_of_sixty_digits_stay_apart(tmp_path):
    text = "1,{0}1,1,2,3,4\n1,{0}2,1,2,3,4\n".format("9" * 59)
    (tmp_path / "a.txt").write_text(text)
    first, second = read_detections(tmp_path / "a.txt")[0]
    assert second.track - first.track == 1


@pytest.mark.parametrize(("name", "text", "words"), [
    ("a.mp4", "", "detections are .txt"),
    ("a.txt", "\n", "no detection of a person"),
    ("a.txt", "1,2,3\n", "line 1: not frame"),
    ("a.txt", MOT + "x,1,2,3,4,5\n", "line 5: not frame"),
    ("a.txt", "0,1,2,3,4,5\n", "line 1: frame -1 lies before the first one; give --first-frame"),
    ("a.txt", "1,1,2,3,0,5\n", "has no area"),
    ("a.txt", "1,1,nan,3,4,5\n", "has no area"),
    ("a.txt", "1,1,2,3,1e10,5\n", "reaches beyond 1,000,000 pixels"),
    ("a.txt", "1,1,2,3,4,5,nan\n", "its confidence is not a number"),
    ("a.txt", "1,1,2,3,4,5,1,1,nan\n", "its confidence is not a number"),
    ("a.txt", "1,nan,2,3,4,5\n", "line 1: not frame"),
    ("a.txt", "1.5,1,2,3,4,5\n", "line 1: not frame"),
    ("a.txt", "inf,1,2,3,4,5\n", "line 1: not frame"),
    ("a.json", '[{"image_id": 1e400, "bbox": [1, 2, 3, 4]}]', "not a COCO file"),
    ("a.csv", "frame,left,top,width,height,track\n1,2,3,4,5,6.5\n", "line 2: not a row"),
    ("a.csv", "frame,left\n1,2\n", "no column top and width and height"),
    ("a.csv", "frame,left,top,width,height\n1,2,3,4\n", "line 2: not a row of numbers"),
    ("a.csv", f"frame,{'x' * 131073}\n0,1\n", "line 1: field larger than field limit"),
    ("a.json", "[", "not a COCO file"),
    ("a.json", "[[1]]", "not a COCO file"),
    ("a.json", '{"annotations": []}', "not a COCO file"),
    ("a.json", coco([{"id": 5, "file_name": "x.jpg"}]), "not a COCO file"),
    ("a.json", '[{"image_id": 1, "bbox": [1, 2, 3]}]', "not a COCO file"),
])
def test_broken_files_get_one_sentence(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=words):
        read_detections(tmp_path / name)
