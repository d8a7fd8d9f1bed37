"""MSMT17's lists, in both versions."""

from __future__ import annotations

import pytest

from tfrecords.build import main
from tfrecords.errors import UserError
from tfrecords.msmt17 import scan_msmt17
from tfrecords.scan import ImageEntry
from tfreid.records import Records


@pytest.fixture
def root(make_msmt17):
    """MSMT17_V1."""
    return make_msmt17("V1")


def test_lists_tell_person_and_camera(root):
    scan = scan_msmt17(root)
    assert scan.splits["train"] == [
        ImageEntry("train/0000/0000_045_12_0303morning_0006_2.jpg", 0, 12),
        ImageEntry("train/0000/0000_046_12_0303morning_0006_2_ex.jpg", 0, 12),
        ImageEntry("train/0001/0001_000_01_0303morning_0031_0.jpg", 1, 1),
        ImageEntry("train/0002/0002_000_05_0303noon_0011_1.JPG", 2, 5)]


def test_test_identities_are_numbered_on_from_training(root):
    scan = scan_msmt17(root)
    assert scan.options["first_test_id"] == 3
    assert [entry.person_id for entry in scan.splits["query"]] == [3, 4]
    assert [entry.person_id for entry in scan.splits["gallery"]] == [3, 3, 4]


@pytest.mark.parametrize("version", ["V1", "V2"])
def test_the_build_holds_what_the_lists_do(make_msmt17, build_dataset, version):
    output, manifest = build_dataset("msmt17", make_msmt17(version).parent)
    assert manifest.options["version"] == version
    assert {name: (split.images, split.identities, split.cameras)
            for name, split in manifest.splits.items()} == {
        "train": (4, 3, 3), "query": (2, 2, 2), "gallery": (3, 2, 3)}
    opened = Records(output)
    train, query, gallery = (opened[split].index for split in ("train", "query", "gallery"))
    assert train.labels.tolist() == [0, 0, 1, 2]
    assert query.cameras.tolist() == [1, 15]
    assert gallery.cameras.tolist() == [1, 14, 11]
    assert not set(train.ids) & set(gallery.ids)
    assert set(query.ids) == set(gallery.ids)
    assert query.paths[0].startswith({"V1": "test/", "V2": "mask_test_v2/"}[version])


def test_validation_is_trained_on_when_wanted(root, build_dataset):
    output, manifest = build_dataset("msmt17", root, "--combine-train-val")
    assert manifest.options["combine_train_val"] is True
    train = Records(output)["train"].index
    assert train.ids.tolist() == [0, 0, 1, 2, 0]
    assert train.labels.tolist() == [0, 0, 1, 2, 0]
    assert train.cameras[-1] == 4


def test_validation_is_not_needed_otherwise(root):
    (root / "list_val.txt").unlink()
    [warning] = scan_msmt17(root).warnings
    assert "train has 4 images of 3 identities, not 30,248 of 1,041" in warning
    with pytest.raises(UserError, match="list_val.txt cannot be .*; put the release's four lists"):
        scan_msmt17(root, combine_train_val=True)


def test_wrong_lines_are_all_named_in_one_sentence(root, tmp_path, capsys):
    with open(root / "list_gallery.txt", "a") as stream:
        stream.write("0009/0009_000_02_0303morning_0019_2.jpg 9\n"
                     "0001/0001_005_11_0303morning_0010_0.jpg\n"
                     "0001/0001_005.jpg 1\n"
                     "0001/0001_005_11_0303morning_0010_0.jpg 1\n"
                     "../0001_005_11_0303morning_0010_0.jpg 1\n"
                     "0001/0001_005_11_0303morning_0010_0.jpg -1\n")
    assert main(["msmt17", "--root", str(root), "--output", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "list_gallery.txt: 6 problems: " in message
    for problem in (
            "line 5: test/0009/0009_000_02_0303morning_0019_2.jpg is not in",
            "line 6: '0001/0001_005_11_0303morning_0010_0.jpg' is not an image and its identity",
            "line 7: 0001/0001_005.jpg has no camera",
            "line 8: test/0001/0001_005_11_0303morning_0010_0.jpg is at line 3 already",
            "line 9: ../0001_005_11_0303morning_0010_0.jpg lies outside test",
            "line 10: '0001/0001_005_11_0303morning_0010_0.jpg -1' is not an image"):
        assert problem in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("content", "message"), [
    (b"\n", "list_query.txt is empty"), (b"\xff\xfe0", "list_query.txt is not UTF-8 text")])
def test_a_list_of_nothing_is_refused(root, content, message):
    (root / "list_query.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        scan_msmt17(root)


def test_lists_of_windows_are_read(root):
    text = (root / "list_query.txt").read_text()
    (root / "list_query.txt").write_bytes(text.replace("\n", "\r\n").encode())
    assert len(scan_msmt17(root).splits["query"]) == 2


def test_the_root_must_be_one_version(make_msmt17, tmp_path):
    root = make_msmt17("V1")
    with pytest.raises(UserError, match="neither folders train and test .* --root must name"):
        scan_msmt17(root / "train")
    make_msmt17("V2")
    with pytest.raises(UserError, match="two versions of MSMT17: --root must name one"):
        scan_msmt17(tmp_path / "msmt17")
    assert scan_msmt17(tmp_path / "msmt17" / "MSMT17_V2").options["version"] == "V2"
