"""Market-1501 with more distractors: wrong for every query, and never ignored."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tfrecords.build import main
from tfrecords.errors import UserError
from tfrecords.market1501 import scan_market1501
from tfrecords.market1501_500k import scan_market1501_500k
from tfreid.evaluation.ranking import evaluate_ranking
from tfreid.records import Records


@pytest.fixture
def distractors(tmp_path, write_images, clutter):
    """A folder outside the dataset, unpacked as published: images in `images`."""
    folder = tmp_path / "distractors_500k"
    write_images(folder / "images", ["0000_c1s1_000001_01.jpg", "0000_c6s9_000001_02.JPG",
                                     "detection_17.jpg", "-1_c2s1_000001_01.jpg"])
    clutter(folder / "images")
    return folder


def test_the_gallery_grows_and_nothing_else(market_root, distractors):
    plain, scan = scan_market1501(market_root), scan_market1501_500k(
        market_root, distractors=distractors)
    assert scan.splits["gallery"][:7] == plain.splits["gallery"]
    assert [entry.path for entry in scan.splits["gallery"][7:]] == [
        "distractors/0000_c1s1_000001_01.jpg", "distractors/0000_c6s9_000001_02.JPG",
        "distractors/detection_17.jpg"]
    assert {(entry.person_id, entry.camera_id) for entry in scan.splits["gallery"][7:]} == {(0, -1)}
    assert scan.dropped == {"junk": 3, "not_an_image": 6}
    assert {name: entries for name, entries in scan.splits.items() if name != "gallery"} == {
        name: entries for name, entries in plain.splits.items() if name != "gallery"}


def test_the_build_reads_both_folders(market_root, distractors, build_dataset):
    output, manifest = build_dataset("market1501_500k", market_root, "--distractors",
                                     str(distractors), "--multi-query")
    gallery = manifest.splits["gallery"]
    assert (gallery.images, gallery.identities, gallery.cameras, gallery.distractors) == (
        10, 2, 6, 6)
    assert manifest.options["added_distractors"] == 3
    assert manifest.splits["multi_query"].images == 3
    index = Records(output)["gallery"].index
    assert index.ids[7:].tolist() == [0, 0, 0]
    assert index.cameras[7:].tolist() == [-1, -1, -1]
    encoded = Records(output)["gallery"].encoded
    assert encoded[7] == (distractors / "images/0000_c1s1_000001_01.jpg").read_bytes()
    assert encoded[0] == (market_root / index.paths[0]).read_bytes()


def test_every_distractor_ahead_of_a_match_costs(market_root, distractors, build_dataset):
    output, _ = build_dataset("market1501_500k", market_root, "--distractors", str(distractors))
    query, gallery = Records(output)["query"].index, Records(output)["gallery"].index
    # Distractors look exactly like the queries, everything else like nothing.
    features = np.zeros((len(gallery), 2), np.float32)
    features[:, 1] = 1
    features[gallery.ids == 0] = [1, 0]
    result = evaluate_ranking(np.tile(np.float32([1, 0]), (len(query), 1)), query.ids,
                              query.cameras, features, gallery.ids, gallery.cameras)
    # Three distractors of Market and three more come first; a query's one match is seventh, or
    # eighth behind the other person.
    assert result.cmc[5] == 0 and result.num_gallery == 10
    assert result.first_match_rank.min() == 7


def test_the_default_folder_is_in_the_dataset(market_root, distractors):
    with pytest.raises(UserError, match="no folder images: name .* with --distractors"):
        scan_market1501_500k(market_root)
    shutil.move(str(distractors / "images"), str(market_root / "images"))
    assert len(scan_market1501_500k(market_root).splits["gallery"]) == 10


def test_wrong_folders_are_refused(market_root, distractors, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, message in (
            (market_root / "bounding_box_test", "holds 4 images of identities (0001_c1s1_001051"),
            (empty, "holds no JPEG or PNG files"), (tmp_path / "nowhere", "is not a folder")):
        assert main(["market1501_500k", "--root", str(market_root), "--distractors", str(folder),
                     "--output", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
