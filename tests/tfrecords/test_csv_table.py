"""The user's own table: what is read and which mistakes are named."""

from __future__ import annotations

import os

import pytest

from tfrecords.csv_table import scan_csv
from tfrecords.errors import UserError
from tfrecords.scan import ImageEntry

HEADER = "path,person_id,camera_id,split"
ROWS = [
    "a/1.jpg,7,1,train", "a/2.jpg,7,2,train", "b/1.png,9,1,query", "b/2.jpg,9,2,gallery",
    "c/1.jpg,12,1,gallery",
]


@pytest.fixture
def make_table(tmp_path, write_images):
    """Returns a function that writes a table beside the images of `ROWS` and gives the root."""
    write_images(tmp_path, [row.split(",")[0] for row in ROWS])

    def make(rows=ROWS, header=HEADER):
        (tmp_path / "labels.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return tmp_path

    return make


def _error(root, **options) -> str:
    with pytest.raises(UserError) as caught:
        scan_csv(root, **options)
    return str(caught.value)


def test_whole_numbers_stay_as_they_are(make_table):
    scan = scan_csv(make_table())
    assert scan.splits == {
        "train": [ImageEntry("a/1.jpg", 7, 1), ImageEntry("a/2.jpg", 7, 2)],
        "query": [ImageEntry("b/1.png", 9, 1)],
        "gallery": [ImageEntry("b/2.jpg", 9, 2), ImageEntry("c/1.jpg", 12, 1)]}
    assert scan.options == {"allow_single": False, "person_names": {}}
    assert (scan.warnings, scan.dropped) == ([], {})


def test_names_are_numbered_in_sorted_order(make_table):
    rows = [row.replace(",7,", ",bob,").replace(",9,", ",Ada,").replace(",12,", ",zoë,")
            for row in ROWS]
    scan = scan_csv(make_table(rows))
    assert scan.options["person_names"] == {"Ada": 1, "bob": 2, "zoë": 3}
    assert [entry.person_id for entry in scan.splits["gallery"]] == [1, 3]


def test_spellings_of_one_number_are_two_persons(make_table):
    rows = ["a/1.jpg,7,1,train", "a/2.jpg,7,1,train", "b/1.png,007,1,train", "b/2.jpg,007,1,train"]
    assert scan_csv(make_table(rows)).options["person_names"] == {"007": 1, "7": 2}


def test_without_cameras_the_camera_is_unknown(make_table):
    rows = ["a/1.jpg,7,Train", "a/2.jpg,7,TRAIN", "b/1.png,9, Query ", "b/2.jpg,9,gallery"]
    scan = scan_csv(make_table(rows, "path,person_id,split"))
    assert {entry.camera_id for entries in scan.splits.values() for entry in entries} == {-1}
    assert set(scan.splits) == {"train", "query", "gallery"}


def test_spreadsheet_quirks_are_read(make_table):
    root = make_table()
    text = (root / "labels.csv").read_text(encoding="utf-8")
    text = text.replace("a/1.jpg", '"./a/1.jpg"').replace("\n", "\r\n") + "\r\n"
    (root / "excel.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert scan_csv(root, table=root / "excel.csv").splits == scan_csv(root).splits


@pytest.mark.parametrize(("row", "message"), [
    ("a/1.jpg,7,1,test", "line 7: unknown split 'test' (train, query or gallery)"),
    ("a/1.jpg,,1,gallery", "line 7: empty person_id"),
    (" ,7, ,gallery", "line 7: empty path and camera_id"),
    ("a/1.jpg,7,1", "line 7: another number of values"),
    ("a/1.jpg,7,1,gallery,x", "line 7: another number of values"),
    ("a/1.jpg,-1,1,gallery", "line 7: negative person_id -1"),
    ("a/1.jpg,7,-1,gallery", "line 7: negative camera_id -1"),
    ("a/3.jpg,7,1,gallery", "line 7: a/3.jpg is not a file in"),
    (f"a/{'3' * 300}.jpg,7,1,gallery", f"line 7: a/{'3' * 300}.jpg is not a file in"),
    ("a,7,1,gallery", "line 7: a is not a file in"),
    ("../x.jpg,7,1,gallery", "line 7: ../x.jpg lies outside"),
    ("/etc/hostname,7,1,gallery", "line 7: /etc/hostname lies outside"),
    ("./a/../a/1.jpg,7,1,train", "line 7: a/1.jpg is already in split train at line 2"),
    ("a/1.jpg,7,1,query", "line 7: query person 7 is not in the gallery"),
    ("c/1.jpg,12,1,query", "line 7: query person 12 is in the gallery only in the query's own"),
    ("c/1.jpg,40,1,train", "line 7: training person 40 has one image"),
])
def test_a_wrong_row_is_named_by_its_line(make_table, row, message):
    assert f"1 problem: {message}" in _error(make_table([*ROWS, row]))


def test_several_problems_come_in_one_message(make_table):
    rows = ["no.jpg,1,1,train", *ROWS, *[f"{index}.jpg,1,1,train" for index in range(12)]]
    message = _error(make_table(rows))
    assert "13 problems: line 2: no.jpg is not a file in" in message
    assert message.count("line ") == 10
    assert message.endswith("and 3 more.")


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_are_found(make_table, separator):
    rows = [row.replace(",", separator) for row in ROWS]
    root = make_table(rows, HEADER.replace(",", separator).upper())
    assert scan_csv(root).splits == scan_csv(make_table()).splits


def test_absolute_paths_inside_the_root_are_relative(make_table, tmp_path):
    expected = scan_csv(make_table()).splits
    root = tmp_path / "link"
    root.symlink_to(tmp_path)
    for above in (root, tmp_path):
        make_table([f"{above}/{row}" for row in ROWS])
        assert scan_csv(root).splits == expected


def test_cameras_may_have_names(make_table):
    rows = [row.replace(",1,", ",gate,").replace(",2,", ",Halle 7,") for row in ROWS]
    scan = scan_csv(make_table(rows))
    assert scan.options["camera_names"] == {"Halle 7": 1, "gate": 2}
    assert [entry.camera_id for entry in scan.splits["train"]] == [2, 1]


def test_tracklets_are_numbered_and_have_one_person_and_camera(make_table):
    rows = [f"{row},{name}" for row, name in zip(ROWS, ("a", "a", "b", "c", "d"))]
    rows[1] = rows[1].replace(",2,", ",1,")
    header = f"{HEADER},tracklet_id"
    scan = scan_csv(make_table(rows, header))
    assert [entry.tracklet_id for entries in scan.splits.values() for entry in entries] == [
        1, 1, 2, 3, 4]
    rows[4] = rows[4].replace(",d", ",a")
    assert "line 6: tracklet a has another person or camera than at line 2" in _error(
        make_table(rows, header))


@pytest.mark.parametrize(("first", "second"), [
    ("0051", "051"), ("Jos\u00e9", "Jose\u0301"), ("anna", "Anna"), ("p_01", "p_1")])
def test_spellings_of_one_name_are_a_warning(make_table, first, second):
    rows = [row.replace(",7,", f",{first},").replace(",12,", f",{second},") for row in ROWS]
    (warning,) = scan_csv(make_table(rows)).warnings
    assert f"{ascii(first)} and {ascii(second)}" in warning or (
        f"{ascii(second)} and {ascii(first)}" in warning)
    assert "different people" in warning


def test_file_names_are_found_in_either_unicode_form(make_table, tmp_path):
    root = make_table([*ROWS, "a/\u00e9.jpg,7,1,train"])
    (tmp_path / "a" / "e\u0301.jpg").write_bytes((tmp_path / "a" / "1.jpg").read_bytes())
    assert scan_csv(root).splits["train"][-1].path == "a/e\u0301.jpg"


def test_a_single_camera_is_named_once(make_table):
    message = _error(make_table([row.replace(",2,", ",1,") for row in ROWS]))
    assert "1 problem: all images are by camera 1" in message
    assert "leave out the column camera_id" in message


def test_pipes_and_links_to_themselves_are_refused(make_table, tmp_path):
    os.mkfifo(tmp_path / "a" / "pipe.jpg")
    (tmp_path / "a" / "loop.jpg").symlink_to("loop.jpg")
    for name in ("pipe", "loop"):
        root = make_table([*ROWS, f"a/{name}.jpg,7,1,train"])
        assert f"line 7: a/{name}.jpg is not a file in" in _error(root)
    assert "is a pipe or device" in _error(root, table=tmp_path / "a" / "pipe.jpg")


def test_a_query_must_not_find_itself(make_table):
    rows = ["a/1.jpg,7,query", "a/1.jpg,7,gallery", "a/2.jpg,7,gallery"]
    message = _error(make_table(rows, "path,person_id,split"))
    assert "line 2: a/1.jpg is query and gallery" in message


def test_single_training_images_can_be_kept(make_table):
    root = make_table([*ROWS, "c/1.jpg,40,1,train"])
    assert len(scan_csv(root, allow_single=True).splits["train"]) == 3


def test_persons_in_training_and_test_are_a_warning(make_table):
    scan = scan_csv(make_table([*ROWS, "a/1.jpg,7,1,gallery"]))
    assert "1 identities are in training and in query or gallery" in scan.warnings[0]
    assert scan.warnings[0].endswith(": 7")


@pytest.mark.parametrize(("header", "message"), [
    ("path,person_id,camera_id,set", "no column split, an unknown column 'set'"),
    ("path:person_id:camera_id:split", "no column path, no column person_id, no column split"),
    ("path,person_id,camera_id,split,path", "column path twice"),
    ("", "no column path"),
])
def test_a_wrong_header_is_named(make_table, header, message):
    assert f"labels.csv has {message}" in _error(make_table(header=header))


def test_tables_that_are_none_are_refused(make_table):
    root = make_table([])
    assert "labels.csv has no rows" in _error(root)
    (root / "labels.csv").write_bytes(b"")
    assert "no column path" in _error(root)
    (root / "labels.csv").write_bytes(b"path,person_id,split\n\xff\xfe,1,train\n")
    assert "labels.csv is not UTF-8 text (byte 21)" in _error(root)
    assert "other.csv cannot be read (No such file" in _error(root, table=root / "other.csv")
    assert "is a folder, not a file" in _error(root, table=root)
