"""Boxes cut out of scenes."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest

from tfrecords.image_headers import CorruptImage
from tfrecords.scenes import SceneSource, box_path, clip_box


@pytest.mark.parametrize(("box", "inside"), [
    ((2, 3, 4, 5), (3, 8, 2, 6)), ((0, 0, 10, 20), (0, 20, 0, 10)), ((-3, -4, 5, 6), (0, 2, 0, 2)),
    ((8, 17, 9, 9), (17, 20, 8, 10)), ((-5, -5, 50, 50), (0, 20, 0, 10)), ((9, 19, 1, 1),
     (19, 20, 9, 10)), ((10, 3, 4, 4), None), ((3, 20, 4, 4), None), ((-4, 3, 4, 4), None),
    ((3, -9, 4, 9), None), ((3, 3, 0, 4), None), ((3, 3, 4, -2), None)])
def test_a_box_is_clipped_to_its_picture(box, inside):
    found = clip_box(box, height=20, width=10)
    assert (found and (found[0].start, found[0].stop, found[1].start, found[1].stop)) == inside


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_source_gives_the_pixels_of_a_box(tmp_path, encode_image, suffix):
    scene = f"SSM/s1{suffix}"
    (tmp_path / "SSM").mkdir()
    (tmp_path / scene).write_bytes(encode_image(3, 30, 20, suffix))
    pixels = cv2.imread(str(tmp_path / scene))
    source = pickle.loads(pickle.dumps(SceneSource(str(tmp_path))))
    path = box_path(scene, (-2, 5, 9, 40))
    assert path == f"{scene}/-2_5_9_40.png"
    assert source.size(path) == (tmp_path / scene).stat().st_size
    assert source.scene_size(scene) == (30, 20)
    with source.open() as read:
        found = cv2.imdecode(np.frombuffer(read(path), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found, pixels[5:30, :7])


def test_what_gives_no_box_is_corrupt(tmp_path, encode_image):
    (tmp_path / "s1.jpg").write_bytes(encode_image(3, 30, 20))
    (tmp_path / "s2.jpg").write_bytes(encode_image(3, 30, 20)[:-30])
    source = SceneSource(str(tmp_path))
    with source.open() as read:
        for path, reason in (("s1.jpg/20_3_4_4.png", "outside its scene"),
                             ("s1.jpg/1_2_3.png", "not a box"), ("s2.jpg/1_2_3_4.png", "truncated"),
                             ("s3.jpg/1_2_3_4.png", "No such file")):
            with pytest.raises(CorruptImage, match=reason):
                read(path)
    assert source.scene_size("s3.jpg") is None


def test_the_header_may_lie_behind_a_long_thumbnail(tmp_path, encode_image):
    data = encode_image(3, 30, 20)
    thumbnail = b"\xff\xe2" + (65000).to_bytes(2, "big") + bytes(64998)
    (tmp_path / "s1.jpg").write_bytes(data[:2] + thumbnail * 2 + data[2:])
    assert SceneSource(str(tmp_path)).scene_size("s1.jpg") == (30, 20)
