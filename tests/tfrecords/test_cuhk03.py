"""CUHK03: arrays of a .mat and split files in, PNG records out."""

from __future__ import annotations

import pickle
import re

import cv2
import h5py
import numpy as np
import pytest
from scipy.io import savemat

from tfrecords.build import main
from tfrecords.cuhk03 import scan_cuhk03
from tfrecords.cuhk03_images import MatSource
from tfrecords.errors import UserError
from tfrecords.image_headers import CorruptImage
from tfreid.records import Records, decode_image

# Images (1-5 in view 1, 6-10 in view 2) of each person of each camera pair; the fifth pair's only
# person was seen in one view.
PEOPLE = {(1, 1): (1, 2, 6), (1, 2): (1, 2, 6, 7), (2, 1): (1, 3, 7, 8), (5, 1): (6, 10)}
TRAIN, TEST = [(1, 1), (5, 1)], [(1, 2), (2, 1)]
MATLAB_HEADER = b"MATLAB 7.3 MAT-file, Platform: GLNXA64"


def _pixels(kind, pair, person, image) -> np.ndarray:
    """RGB [height, width, 3]; no two images are of one size and no channel is like another."""
    seed = 1000 * (kind == "labeled") + 100 * pair + 10 * person + image
    shape = (20 + image + pair, 8 + person + image % 3, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _names() -> list[tuple[str, int, int, int]]:
    """All images as (name, identity over all pairs, view, image), in the release's order."""
    return [(f"{pair}_{person:03}_{1 if image <= 5 else 2}_{image:02}.png", identity,
             1 if image <= 5 else 2, image)
            for identity, ((pair, person), images) in enumerate(PEOPLE.items(), start=1)
            for image in images]


@pytest.fixture
def write_mat(write_cuhk03_mat):
    """Returns a function that writes cuhk-03.mat with the images of PEOPLE."""

    def write(file, kinds=("detected", "labeled"), change=lambda pixels: pixels):
        write_cuhk03_mat(file, {
            kind: {(pair, person, image): change(_pixels(kind, pair, person, image))
                   for (pair, person), images in PEOPLE.items() for image in images}
            for kind in kinds})

    return write


def _write_config(file, **changes):
    names = _names()
    identities = list(PEOPLE)
    positions = {"train": [], "query": [], "gallery": []}
    for position, (_, identity, _, image) in enumerate(names, start=1):
        split = "train" if identities[identity - 1] in TRAIN else (
            "query" if image in (1, 7) else "gallery")
        positions[split].append(position)
    content = {
        "filelist": np.array([[name] for name, *_ in names], object),
        "labels": np.uint16([[identity] for _, identity, *_ in names]),
        "camId": np.uint8([[view] for _, _, view, _ in names]),
        **{f"{split}_idx": np.uint16(found)[:, None] for split, found in positions.items()},
        **changes,
    }
    savemat(file, {name: value for name, value in content.items() if value is not None})


@pytest.fixture
def root(tmp_path, write_mat):
    """The release and the split files of both kinds."""
    folder = tmp_path / "cuhk03"
    write_mat(folder / "cuhk03_release" / "cuhk-03.mat")
    for kind in ("detected", "labeled"):
        _write_config(folder / f"cuhk03_new_protocol_config_{kind}.mat")
    return folder


def _decoded(output, split) -> dict[str, np.ndarray]:
    index = Records(output)[split].index
    encoded = Records(output)[split].encoded
    return {path: decode_image(image).numpy() for path, image in zip(index.paths, encoded)}


@pytest.mark.parametrize("kind", ["detected", "labeled"])
def test_the_build_holds_the_arrays_of_its_kind(root, build_dataset, kind):
    output, manifest = build_dataset("cuhk03", root, "--kind", kind)
    assert manifest.options == {"kind": kind, "protocol": "767/700", "shards": 2}
    assert {name: (split.images, split.identities, split.cameras)
            for name, split in manifest.splits.items()} == {
        "train": (5, 2, 2), "query": (4, 2, 2), "gallery": (4, 2, 2)}
    for split in manifest.splits:
        for path, pixels in _decoded(output, split).items():
            folder, name = path.split("/")
            pair, person, _, image = (int(part) for part in name[:-4].split("_"))
            assert folder == f"images_{kind}"
            np.testing.assert_array_equal(pixels, _pixels(kind, pair, person, image), err_msg=path)


def test_the_split_file_tells_person_and_view(root, build_dataset):
    output, _ = build_dataset("cuhk03", root)
    opened = Records(output)
    train, query, gallery = (opened[split].index for split in ("train", "query", "gallery"))
    assert train.ids.tolist() == [1, 1, 1, 4, 4]
    assert train.labels.tolist() == [0, 0, 0, 1, 1]
    assert train.cameras.tolist() == [1, 1, 2, 2, 2]
    assert query.paths.tolist() == [f"images_detected/{name}" for name in (
        "1_002_1_01.png", "1_002_2_07.png", "2_001_1_01.png", "2_001_2_07.png")]
    assert query.ids.tolist() == [2, 2, 3, 3]
    assert query.cameras.tolist() == [1, 2, 1, 2]
    assert gallery.ids.tolist() == [2, 2, 3, 3]


def test_extracted_images_are_read_where_there_is_no_mat(root, build_dataset):
    folder = root / "images_detected"
    folder.mkdir()
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf")
    for name, *_ in _names():
        pair, person, _, image = (int(part) for part in name[:-4].split("_"))
        cv2.imwrite(str(folder / name), _pixels("detected", pair, person, image)[:, :, ::-1])
    (root / "cuhk03_release" / "cuhk-03.mat").unlink()
    output, manifest = build_dataset("cuhk03", root)
    assert manifest.splits["gallery"].images == 4
    for path, pixels in _decoded(output, "query").items():
        pair, person, _, image = (int(part) for part in path[-14:-4].split("_"))
        np.testing.assert_array_equal(pixels, _pixels("detected", pair, person, image))
    (folder / "2_001_1_01.png").unlink()
    with pytest.raises(UserError, match=r"names 1 images that .*images_detected does not hold "
                                        r"\(2_001_1_01.png\)"):
        scan_cuhk03(root)
    with pytest.raises(UserError, match="neither cuhk03_release/cuhk-03.mat nor a folder images_l"):
        scan_cuhk03(root, kind="labeled")


def test_another_process_reads_the_same_images(root):
    source = scan_cuhk03(root).source
    with source.open() as read, pickle.loads(pickle.dumps(source)).open() as read_copy:
        assert read("images_detected/2_001_2_07.png") == read_copy("images_detected/2_001_2_07.png")


def test_other_counts_than_published_are_reported(root):
    [warning] = scan_cuhk03(root, kind="labeled").warnings
    assert "train has 5 images of 2 identities, not 7,368 of 767" in warning
    assert "gallery has 4 images of 2 identities, not 5,328 of 700" in warning


def test_files_right_in_the_root_and_all_in_the_release_will_do(root):
    (root / "cuhk03_release" / "cuhk-03.mat").rename(root / "cuhk-03.mat")
    for kind in ("detected", "labeled"):
        name = f"cuhk03_new_protocol_config_{kind}.mat"
        (root / name).rename(root / "cuhk03_release" / name)
    scan = scan_cuhk03(root)
    assert str(scan.source) == str(root / "cuhk-03.mat")


def test_the_other_kind_is_not_read_by_mistake(root, write_mat):
    (root / "cuhk03_new_protocol_config_labeled.mat").unlink()
    scan_cuhk03(root, kind="detected")
    with pytest.raises(UserError, match="config_labeled.mat is missing .*Zhong et al. 2017"):
        scan_cuhk03(root, kind="labeled")
    write_mat(root / "cuhk03_release" / "cuhk-03.mat", kinds=["labeled"])
    with pytest.raises(UserError, match="cuhk-03.mat holds no variable detected"):
        scan_cuhk03(root)
    with pytest.raises(ValueError, match="'drawn'"):
        scan_cuhk03(root, kind="drawn")
    with pytest.raises(SystemExit):
        main(["cuhk03", "--root", str(root), "--output", str(root / "out"), "--kind", "drawn"])


def _truncate(file):
    file.write_bytes(file.read_bytes()[:1500])


def _replace(file, content):
    file.write_bytes(content)


@pytest.mark.parametrize(("name", "damage", "message"), [
    ("cuhk-03.mat", _truncate, r"cuhk-03.mat is damaged \("),
    ("cuhk-03.mat", lambda file: savemat(file, {"detected": 1}),
     "cuhk-03.mat is a MATLAB v5 file where a v7.3 one is expected"),
    ("cuhk-03.mat", lambda file: _replace(file, b"<html>"), "cuhk-03.mat is not a MATLAB file"),
    ("cuhk-03.mat", lambda file: h5py.File(file, "w").close(), "holds no variable detected"),
    ("cuhk-03.mat", lambda file: h5py.File(file, "w").create_dataset("detected", data=[[1.0]]),
     r"cuhk-03.mat is damaged \("),
    ("config", _truncate, r"config_detected.mat is damaged \("),
    ("config", lambda file: _replace(file, MATLAB_HEADER.ljust(600)),
     "config_detected.mat is a MATLAB v7.3 file where a v5 one"),
    ("config", lambda file: _replace(file, b""), "config_detected.mat is not a MATLAB file"),
    ("config", lambda file: file.unlink(), "or pass --protocol original"),
    ("config", lambda file: _write_config(file, query_idx=None, camId=None),
     "holds no variable camId and no query_idx"),
    ("config", lambda file: _write_config(file, labels=np.uint16([[1]])),
     "has 13 names for 1 labels and 13 cameras"),
    ("config", lambda file: _write_config(file, query_idx=np.uint16([[99]])),
     "positions in query_idx that are not among its 13 names"),
    ("config", lambda file: _write_config(file, gallery_idx=np.uint16([[0]])),
     "positions in gallery_idx that are not"),
    ("config", lambda file: _write_config(file, query_idx=np.zeros((0, 1), np.uint16)),
     "no image in query_idx"),
    ("config", lambda file: _write_config(file, labels=np.array([["one"]], object)),
     "holds variables of another kind"),
    ("config", lambda file: _write_config(file, filelist=np.array(
        [["5_001_1_01.png"], ["x.png"]] + [["1_001_1_01.png"]] * 11, object)),
     r"names 2 images that .*cuhk-03.mat does not hold \(5_001_1_01.png, x.png\)"),
])
def test_broken_files_are_one_sentence(root, tmp_path, capsys, name, damage, message):
    file = (root / "cuhk03_release" / name if name == "cuhk-03.mat" else
            root / "cuhk03_new_protocol_config_detected.mat")
    damage(file)
    assert main(["cuhk03", "--root", str(root), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert re.search(message, error), error
    assert not (tmp_path / "out").exists()


def test_an_array_that_is_no_colour_image_is_corrupt(root, tmp_path, capsys, write_mat):
    write_mat(root / "cuhk03_release" / "cuhk-03.mat",
              change=lambda pixels: pixels[:, :, :2] if pixels.shape[1] == 12 else pixels)
    assert main(["cuhk03", "--root", str(root), "--output", str(tmp_path / "out"), "--workers",
                 "1"]) == 2
    assert re.search(r"images in .*cuhk-03.mat are corrupt: images_detected/\S+ "
                     r"\(not an 8-bit colour image but uint8 of shape", capsys.readouterr().err)


def test_an_array_with_damaged_bytes_is_corrupt(root, build_dataset, capsys):
    file = root / "cuhk03_release" / "cuhk-03.mat"
    whole = file.read_bytes()
    stored = whole.index(_pixels("detected", 2, 1, 7).T.tobytes())
    file.write_bytes(whole[:stored] + bytes([whole[stored] ^ 1]) + whole[stored + 1:])
    _, manifest = build_dataset("cuhk03", root, "--skip-corrupt")
    assert manifest.splits["query"].images == 3
    assert "2_001_2_07.png (cannot be read from the .mat)" in capsys.readouterr().err


def test_names_without_an_image_are_corrupt_to_the_reader(root):
    source = MatSource(str(root / "cuhk03_release" / "cuhk-03.mat"), "detected")
    assert source.size("images_detected/1_001_1_01.png") > 0
    with source.open() as read:
        assert read("images_detected/1_001_1_01.png").startswith(b"\x89PNG")
        for name in ("1_001_1_05.png", "6_001_1_01.png", "1_009_1_01.png", "1_001_1_11.png",
                     "0_001_1_01.png"):
            with pytest.raises(CorruptImage, match="not in the .mat"):
                read(f"images_detected/{name}")
