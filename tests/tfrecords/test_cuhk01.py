"""CUHK01: four images a person by two cameras, 871/100 splits."""

from __future__ import annotations

import pytest

from tfrecords.build import main
from tfrecords.cuhk01 import scan_cuhk01
from tfrecords.errors import UserError
from tfreid.records import Records

NAMES = [f"campus/{person:04}{image:03}.png" for person in (1, 2, 3, 10) for image in range(1, 5)]


@pytest.fixture
def root(tmp_path, write_images, clutter):
    folder = tmp_path / "CUHK01"
    write_images(folder, [*NAMES, "campus/0011005.png", "campus/map.png"])
    clutter(folder / "campus")
    return folder


def test_names_tell_person_and_camera(root):
    scan = scan_cuhk01(root, splits=2, test_identities=1)
    images = scan.splits["images"]
    assert [entry.path for entry in images] == NAMES
    assert [entry.person_id for entry in images] == [1] * 4 + [2] * 4 + [3] * 4 + [10] * 4
    assert [entry.camera_id for entry in images] == [1, 1, 2, 2] * 4
    assert scan.dropped == {"not_an_image": 3, "unknown_name": 2}
    strangers, counts = scan.warnings
    assert "0011005.png, map.png" in strangers
    assert "images has 16 images of 4 identities, not 3,884 of 971" in counts


def test_the_release_divides_871_to_100(tmp_path):
    (tmp_path / "campus").mkdir()
    for person in range(1, 972):
        for image in range(1, 5):
            (tmp_path / "campus" / f"{person:04}{image:03}.png").touch()
    scan = scan_cuhk01(tmp_path)
    assert not scan.warnings and not scan.dropped
    assert len(scan.identity_splits) == 10
    for split in scan.identity_splits:
        assert [len(split["train"]), len(split["test"])] == [871, 100]
        assert sorted(split["train"] + split["test"]) == list(range(1, 972))
    assert scan_cuhk01(tmp_path, test_identities=486).identity_splits[0]["train"][484:] != []
    assert len(scan_cuhk01(tmp_path, test_identities=486).identity_splits[0]["train"]) == 485


def test_a_build_end_to_end(root, build_dataset, capsys):
    output, manifest = build_dataset("cuhk01", root.parent, "--splits", "3",
                                     "--test-identities", "2")
    assert "3 identity splits: train 2, test 2\n" in capsys.readouterr().out
    assert manifest.options == {"splits": 3, "seed": 0, "test_identities": 2, "shards": 2}
    for number, split in enumerate(manifest.identity_splits):
        train = Records(output, number)["train"].index
        assert train.ids.tolist() == [person for person in split["train"] for _ in range(4)]
        assert train.labels.tolist() == [0] * 4 + [1] * 4
        for name, camera in (("query", 1), ("gallery", 2)):
            index = Records(output, number)[name].index
            assert index.ids.tolist() == [person for person in split["test"] for _ in range(2)]
            assert set(index.cameras) == {camera}


def test_mistakes_are_one_sentence(root, tmp_path, capsys):
    with pytest.raises(UserError, match="holds no folder campus"):
        scan_cuhk01(root / "campus")
    with pytest.raises(UserError, match="--test-identities must be at least 1, but is 0"):
        scan_cuhk01(root, test_identities=0)
    assert main(["cuhk01", "--root", str(root), "--output", str(tmp_path / "out")]) == 2
    assert "too few for 100 test and 0 validation identities" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
