"""Images and a small Market-1501 tree for the builders' tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

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
def market_root(tmp_path, write_images):
    """A tree with the quirks of the release: junk, distractors, Thumbs.db and .jpg.jpg."""
    root = tmp_path / "market"
    write_images(root, [f"{folder}/{name}" for folder, names in MARKET_FILES.items()
                        for name in names])
    for folder in MARKET_FILES:
        (root / folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    return root
