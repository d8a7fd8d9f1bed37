"""CUHK03's original protocol: people of all camera pairs, drawn or official test identities."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tfrecords.build import main
from tfrecords.cuhk03 import scan_cuhk03
from tfrecords.cuhk03_images import list_mat_images, read_testsets
from tfrecords.errors import UserError
from tfreid.records import Records, decode_image

ROWS = (843, 440, 77, 58, 49)
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)


def people(rows, images=(1, 7)):
    """Images of the same few pixels, for people of each camera pair."""
    return {(pair, person, image): PIXELS for pair, count in enumerate(rows, start=1)
            for person in range(1, count + 1) for image in images}


def scan(root, **settings):
    return scan_cuhk03(root, protocol="original", **settings)


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """All rows of the release in both views, but for person 2 of the last pair: view 1 alone."""
    return tmp_path_factory.mktemp("cuhk03")


@pytest.fixture
def root(release, write_cuhk03_mat):
    file = release / "cuhk03_release" / "cuhk-03.mat"
    if not file.exists():
        images = people(ROWS)
        del images[5, 2, 7]
        random = np.random.default_rng(2)
        everyone = [(pair, person) for pair, count in enumerate(ROWS, start=1)
                    for person in range(1, count + 1) if (pair, person) != (5, 2)]
        tests = [[everyone[i] for i in random.choice(len(everyone), 100, replace=False)]
                 for _ in range(20)]
        tests[3][0] = (5, 2)
        write_cuhk03_mat(file, {"detected": images, "labeled": people(ROWS)}, tests)
    return release


@pytest.fixture
def small(tmp_path, write_cuhk03_mat):
    """205 people of three pairs, of whom the first have images of their own sizes."""
    images = people((100, 0, 103, 2), images=(1, 3, 7, 10))
    for person in range(1, 11):
        for image in (1, 3, 7, 10):
            images[1, person, image] = np.random.default_rng(20 * person + image).integers(
                0, 256, (7 + person, 5 + image, 3), dtype=np.uint8)
    # An image of pair 2, so that its cells have a row, and nobody else there.
    images[2, 1, 6] = PIXELS
    write_cuhk03_mat(tmp_path / "small" / "cuhk-03.mat", {"detected": images},
                     [[(1, person) for person in range(1, 101)]])
    return tmp_path / "small"


def test_three_camera_pairs_divide_1160_100_100(root):
    found = scan(root, kind="labeled", camera_pairs=3)
    assert not found.warnings
    assert found.options == {"kind": "labeled", "protocol": "original", "camera_pairs": 3,
                             "official_testsets": False, "splits": 20, "seed": 0}
    assert len(found.identity_splits) == 20
    for split in found.identity_splits:
        assert [len(split[name]) for name in ("train", "val", "test")] == [1160, 100, 100]
        assert sorted(split["train"] + split["val"] + split["test"]) == list(range(1, 1361))
    again = scan(root, kind="detected", camera_pairs=3)
    assert again.identity_splits == found.identity_splits
    assert scan(root, camera_pairs=3, seed=1).identity_splits != found.identity_splits


def test_five_camera_pairs_and_who_has_no_match(root):
    found = scan(root, splits=40)
    images = found.splits["images"]
    assert len({entry.person_id for entry in images}) == 1467
    assert [(entry.path, entry.person_id, entry.camera_id) for entry in (
        images[0], images[1], images[2 * 843], images[-1])] == [
        ("images_detected/1_001_1_01.png", 1, 1), ("images_detected/1_001_2_07.png", 1, 2),
        ("images_detected/2_001_1_01.png", 844, 3), ("images_detected/5_049_2_07.png", 1467, 10)]
    single = 843 + 440 + 77 + 58 + 2
    assert [entry.camera_id for entry in images if entry.person_id == single] == [9]
    for split in found.identity_splits:
        assert [len(split[name]) for name in ("train", "val", "test")] == [1267, 100, 100]
        assert single in split["train"]
    [warning] = found.warnings
    assert "images has 2,933 images of 1,467 identities, not 14,097 of 1,467" in warning


def test_official_testsets(root):
    found = scan(root, official_testsets=True)
    assert found.options["official_testsets"] is True
    first = np.cumsum([0, *ROWS])
    testsets = read_testsets(root / "cuhk03_release" / "cuhk-03.mat")
    assert [len(testset) for testset in testsets] == [100] * 20
    for testset, split in zip(testsets, found.identity_splits):
        assert split["test"] == sorted(first[pair - 1] + person for pair, person in testset)
        assert len(split["val"]) == 100 and len(split["train"]) == 1267
        assert sorted(split["train"] + split["val"] + split["test"]) == list(range(1, 1468))
    assert "1 people of the release's testsets have no image in one of the views" in (
        found.warnings[1])
    assert scan(root, official_testsets=True, splits=4).identity_splits == (
        found.identity_splits[:4])
    with pytest.raises(UserError, match="--splits is 21 but the release fixes .* of 20 splits"):
        scan(root, official_testsets=True, splits=21)
    with pytest.raises(UserError, match=r"testsets of .* name people .* \(\[4, \d+\]"):
        scan(root, official_testsets=True, camera_pairs=3)


def test_all_images_of_the_mat_are_listed(small):
    rows, images = list_mat_images(small / "cuhk-03.mat", "detected")
    assert rows == [100, 1, 103, 2, 1]
    assert len(images) == 4 * 205 + 1
    assert [image for image in images if image[1] == 2] == [("2_001_2_06.png", 2, 1, 2)]


def test_a_build_end_to_end(small, build_dataset, capsys):
    output, manifest = build_dataset("cuhk03", small, "--protocol", "original", "--splits", "2")
    assert "2 identity splits: train 6, val 100, test 100\n" in capsys.readouterr().out
    assert manifest.splits["images"].images == 821
    for number, split in enumerate(manifest.identity_splits):
        for part, views in (("val", ("val_query", "val_gallery")), ("test", ("query", "gallery"))):
            query, gallery = (Records(output, number)[name].index for name in views)
            assert query.ids.tolist() == gallery.ids.tolist() == np.repeat(split[part], 2).tolist()
            assert {camera % 2 for camera in query.cameras} == {1}
            assert (gallery.cameras == query.cameras + 1).all()
        query = Records(output, number)["query"].index
        encoded = Records(output, number)["query"].encoded
        for path, data in zip(query.paths, encoded):
            pair, person, _, image = (int(part) for part in path[-14:-4].split("_"))
            expected = PIXELS if pair > 1 or person > 10 else np.random.default_rng(
                20 * person + image).integers(0, 256, (7 + person, 5 + image, 3), dtype=np.uint8)
            np.testing.assert_array_equal(decode_image(data).numpy(), expected)


@pytest.mark.parametrize("flags", [["--official-testsets"], ["--splits", "3"], ["--seed", "0"],
                                   ["--camera-pairs", "3"]])
def test_flags_of_the_other_protocol_are_refused(small, tmp_path, capsys, flags):
    assert main(["cuhk03", "--root", str(small), "--output", str(tmp_path / "out"), *flags]) == 2
    assert f"error: {flags[0]} goes with --protocol original only" in capsys.readouterr().err


@pytest.mark.parametrize(("testsets", "message"), [
    (None, "holds no variable testsets: .* leave out --official-testsets"),
    ([[(1, 1, 1)]], r"is damaged \("),
    ([np.zeros(3)], r"is damaged \("),
    ([[(1, 400)]], r"name people .* \(\[1, 400\]\): leave out --camera-pairs"),
    ([[(6, 1)]], r"\(\[6, 1\]\)"),
])
def test_broken_testsets_are_one_sentence(tmp_path, write_cuhk03_mat, capsys, testsets, message):
    write_cuhk03_mat(tmp_path / "cuhk-03.mat", {"detected": people((210,))}, testsets)
    assert main(["cuhk03", "--root", str(tmp_path), "--output", str(tmp_path / "out"),
                 "--protocol", "original", "--official-testsets", "--splits", "1"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert re.search(message, error), error


def test_too_small_or_empty_releases(tmp_path, write_cuhk03_mat):
    with pytest.raises(UserError, match="cuhk-03.mat is missing or not a file: take it from"):
        scan(tmp_path)
    file = tmp_path / "cuhk-03.mat"
    write_cuhk03_mat(file, {"detected": people((200,)), "labeled": {}})
    with pytest.raises(UserError, match="200 identities, 200 of them .* too few for 100 test and"):
        scan(tmp_path)
    with pytest.raises(UserError, match="holds no image of kind labeled"):
        scan(tmp_path, kind="labeled")
    write_cuhk03_mat(file, {"detected": people((201,))})
    assert len(scan(tmp_path).identity_splits[0]["train"]) == 1
    with pytest.raises(ValueError, match="'newest'"):
        scan_cuhk03(tmp_path, protocol="newest")
