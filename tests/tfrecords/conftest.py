"""Images and small trees of the published datasets, with their quirks, for the builders' tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from tfrecords.build import main
from tfrecords.manifest import read_manifest

MARKET_FILES = {
    "bounding_box_train": [
        "0002_c1s1_000451_03.jpg", "0002_c2s1_000452_01.jpg", "0007_c3s2_000001_01.jpg",
        "0007_c3s3_077419_01.jpg", "0010_c6s1_000001_01.jpg", "0010_c1s1_000002_01.jpg"],
    "query": ["0001_c1s1_001051_00.jpg", "0001_c2s1_000301_00.jpg.jpg", "0003_c4s6_015641_00.jpg"],
    "bounding_box_test": [
        "-1_c1s1_000401_03.jpg", "-1_c4s6_022316_11.jpg.jpg", "0000_c1s1_000151_01.jpg",
        "0000_c6s3_094992_01.jpg.jpg", "0000_c3s1_000151_02.jpg", "0001_c1s1_001051_01.jpg",
        "0001_c2s1_000301_01.jpg", "0003_c4s6_015641_01.jpg", "0003_c5s6_015642_01.jpg"],
    "gt_bbox": [
        "0001_c1s1_001051_00.jpg", "0001_c1s1_001076_00.jpg", "0001_c3s1_001076_00.jpg",
        "0002_c1s1_000451_00.jpg", "0003_c4s6_015641_00.jpg"],
}
DUKE_FILES = {
    # Person 20 has one image; the release has eight cameras.
    "bounding_box_train": ["0001_c2_f0046182.jpg", "0001_c8_f0046302.JPG", "0020_c5_f0058841.jpg"],
    "query": ["0005_c2_f0046985.jpg", "0005_c5_f0051341.jpg"],
    # Person 41 is never queried.
    "bounding_box_test": ["0005_c2_f0046986.jpg", "0005_c5_f0051342.jpg", "0041_c1_f0056412.jpg"],
}
LAST_FILES = [
    "train/000001/000001_0012_01.jpg", "train/000001/000001_0013_02.JPG",
    "train/000007/000007_0001_01.jpg",
    "val/query/000003_0001_01.jpg", "val/gallery/000003/000003_0002_01.jpg",
    # Person 1 of the test set is not person 1 of training, and person 9 is never queried.
    "test/query/000001_0001_01.jpg", "test/query/000004_0001_01.jpg",
    "test/gallery/000001/000001_0002_01.jpg", "test/gallery/000004/000004_0002_01.jpg",
    "test/gallery/000004/000004_0003_01.jpg", "test/gallery/000009/000009_0001_01.jpg"]
MSMT_LISTS = {
    "list_train.txt": [
        "0000/0000_045_12_0303morning_0006_2.jpg 0", "0000/0000_046_12_0303morning_0006_2_ex.jpg 0",
        "0001/0001_000_01_0303morning_0031_0.jpg 1", "0002/0002_000_05_0303noon_0011_1.JPG 2"],
    "list_val.txt": ["0000/0000_013_04_0303morning_0020_2.jpg 0"],
    # The test set counts its persons from 0 again.
    "list_query.txt": ["0000/0000_000_01_0303morning_0015_0.jpg 0",
                       "0001/0001_003_15_0303morning_0015_1.jpg 1"],
    "list_gallery.txt": ["0000/0000_008_01_0303morning_0019_2.jpg 0",
                         "0000/0000_012_14_0303morning_0019_2.jpg 0",
                         "0001/0001_005_11_0303morning_0010_0.jpg 1"],
}


@pytest.fixture
def encode_image():
    """Returns a function that encodes a small random image; a seed gives one image."""

    def encode(seed: int = 0, height: int = 24, width: int = 12, suffix: str = ".jpg") -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        return cv2.imencode(suffix, pixels)[1].tobytes()

    return encode


@pytest.fixture
def write_images(encode_image):
    """Returns a function that writes one image per relative path; no two are alike."""

    def write(root: Path, paths: list[str]) -> None:
        for seed, path in enumerate(paths):
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encode_image(seed, 24 + seed % 5, suffix=file.suffix))

    return write


@pytest.fixture
def clutter():
    """Returns a function that drops into a folder what file managers leave: three files."""

    def drop(folder: Path) -> None:
        (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
        (folder / ".DS_Store").write_bytes(b"\x00\x00\x00\x01")
        (folder / "._0001.jpg").write_bytes(b"\x00\x05\x16\x07")

    return drop


@pytest.fixture
def market_root(tmp_path, write_images):
    """A tree with the quirks of the release: junk, distractors, Thumbs.db and .jpg.jpg."""
    root = tmp_path / "market"
    write_images(root, [f"{folder}/{name}" for folder, names in MARKET_FILES.items()
                        for name in names])
    for folder in MARKET_FILES:
        (root / folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    return root


@pytest.fixture
def duke_root(tmp_path, write_images, clutter):
    """DukeMTMC-reID: two training identities, one queried, one more in the gallery."""
    root = tmp_path / "duke" / "DukeMTMC-reID"
    write_images(root, [f"{folder}/{name}" for folder, names in DUKE_FILES.items()
                        for name in names])
    clutter(root / "query")
    return root


@pytest.fixture
def last_root(tmp_path, write_images, clutter):
    """LaST: folders of persons but for the queries, identities without cameras."""
    root = tmp_path / "films" / "last"
    write_images(root, LAST_FILES)
    clutter(root / "train" / "000007")
    (root / "test" / "gallery" / "000010").mkdir()
    return root


@pytest.fixture
def make_msmt17(tmp_path, write_images):
    """Returns a function that writes MSMT17 of a version, "V1" or "V2", and gives its folder."""

    def make(version: str) -> Path:
        root = tmp_path / "msmt17" / f"MSMT17_{version}"
        train, test = {"V1": ("train", "test"), "V2": ("mask_train_v2", "mask_test_v2")}[version]
        paths = []
        for name, lines in MSMT_LISTS.items():
            folder = train if name in ("list_train.txt", "list_val.txt") else test
            paths += [f"{folder}/{line.split()[0]}" for line in lines]
        write_images(root, paths)
        for name, lines in MSMT_LISTS.items():
            (root / name).write_text("\n".join(lines) + "\n\n")
        return root

    return make


@pytest.fixture
def viper_root(tmp_path, write_images, clutter):
    """VIPeR: six people twice, and one whom camera b alone saw; numbers have gaps."""
    root = tmp_path / "viper" / "VIPeR"
    write_images(root, [f"{folder}/{person:03}_{angle}.bmp" for folder, angle in
                        (("cam_a", 45), ("cam_b", 180)) for person in (0, 1, 4, 5, 9, 873)])
    write_images(root, ["cam_b/002_90.bmp"])
    clutter(root / "cam_a")
    return root


@pytest.fixture
def write_cuhk03_mat():
    """Returns a function that writes cuhk-03.mat.

    `kinds` maps a kind to (camera pair, person, image) -> RGB pixels, `testsets` is the release's.
    """

    def write(file: Path, kinds: dict, testsets=None) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(file, "w", userblock_size=512) as mat:
            store = mat.create_group("#refs#")
            written: dict[int, h5py.Reference] = {}

            def reference(data):
                # A checksum lets HDF5 notice damage, as it does in MATLAB's compressed arrays.
                return store.create_dataset(str(len(store)), data=data,
                                            fletcher32=data.ndim == 3).ref

            # As MATLAB does: axes reversed, empty cells as vectors of their sizes.
            empty = reference(np.zeros(2, np.uint64))
            mat[empty].attrs["MATLAB_empty"] = np.uint8(1)
            for kind, images in kinds.items():
                pairs = []
                for pair in range(1, 6):
                    people = max([person for found, person, _ in images if found == pair],
                                 default=1)
                    cells = np.full((10, people), empty, dtype=h5py.ref_dtype)
                    for (found, person, image), pixels in images.items():
                        if found == pair:
                            if id(pixels) not in written:
                                written[id(pixels)] = reference(pixels.T)
                            cells[image - 1, person - 1] = written[id(pixels)]
                    pairs.append(reference(cells))
                mat.create_dataset(kind, data=np.array([pairs], h5py.ref_dtype),
                                   dtype=h5py.ref_dtype)
            if testsets is not None:
                tables = [reference(np.asarray(table, np.float64).T) for table in testsets]
                mat.create_dataset("testsets", data=np.array([tables], h5py.ref_dtype),
                                   dtype=h5py.ref_dtype)
        with open(file, "r+b") as stream:
            stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")

    return write


@pytest.fixture
def build_dataset(tmp_path):
    """Returns a function that runs the command line, which must succeed, into a records folder."""

    def build(dataset: str, root: Path, *flags: str):
        output = tmp_path / "records"
        assert main([dataset, "--root", str(root), "--output", str(output), "--shards", "2",
                     "--workers", "1", *flags]) == 0
        return output, read_manifest(output)

    return build
