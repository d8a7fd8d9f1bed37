"""VIPeR: half/half splits of people seen by two cameras, bitmaps in and PNG records out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tfrecords.build import main
from tfrecords.errors import UserError
from tfrecords.image_headers import CorruptImage
from tfrecords.images import stored_image
from tfrecords.viper import scan_viper
from tfreid.records import Records, decode_image

ANGLES = (0, 45, 90, 135, 180)


def test_names_tell_the_person_and_folders_the_camera(viper_root):
    scan = scan_viper(viper_root, splits=3)
    images = scan.splits["images"]
    assert list(scan.splits) == ["images"]
    assert [(entry.path, entry.person_id, entry.camera_id) for entry in images[:2] + images[8:9]
            ] == [("cam_a/000_45.bmp", 0, 1), ("cam_a/001_45.bmp", 1, 1),
                  ("cam_b/002_90.bmp", 2, 2)]
    assert scan.dropped == {"not_an_image": 3}
    assert scan.warnings == ["this copy of VIPeR is not the published one: images has 13 images "
                             "of 7 identities, not 1,264 of 632"]
    for split in scan.identity_splits:
        assert len(split["test"]) == 3 and 2 in split["train"]
        assert sorted(split["train"] + split["test"]) == [0, 1, 2, 4, 5, 9, 873]


def test_the_release_divides_316_to_316(tmp_path):
    random = np.random.default_rng(5)
    numbers = np.sort(random.choice(874, 632, replace=False))
    for folder in ("cam_a", "cam_b"):
        (tmp_path / "VIPeR" / folder).mkdir(parents=True)
        for number in numbers:
            (tmp_path / "VIPeR" / folder / f"{number:03}_{random.choice(ANGLES)}.bmp").touch()
    scan = scan_viper(tmp_path)
    assert not scan.warnings and not scan.dropped
    assert len(scan.identity_splits) == 10
    assert len({tuple(split["test"]) for split in scan.identity_splits}) == 10
    for split in scan.identity_splits:
        assert [len(split["train"]), len(split["test"])] == [316, 316]
        assert sorted(split["train"] + split["test"]) == numbers.tolist()
    assert scan_viper(tmp_path).identity_splits == scan.identity_splits
    assert scan_viper(tmp_path, seed=1).identity_splits != scan.identity_splits


def test_a_build_end_to_end(viper_root, build_dataset, capsys):
    output, manifest = build_dataset("viper", viper_root.parent, "--splits", "4", "--seed", "9")
    shown = capsys.readouterr().out
    assert "4 identity splits: train 4, test 3\n" in shown
    assert manifest.options == {"splits": 4, "seed": 9, "shards": 2}
    assert manifest.identity_splits == scan_viper(viper_root, splits=4, seed=9).identity_splits
    stored = manifest.splits["images"]
    assert (stored.images, stored.identities, stored.cameras) == (13, 7, 2)
    for number, split in enumerate(manifest.identity_splits):
        query, gallery = (Records(output, number)[name].index for name in ("query", "gallery"))
        assert query.ids.tolist() == gallery.ids.tolist() == split["test"]
        assert set(query.cameras) == {1} and set(gallery.cameras) == {2}
        table = Records(output, number)["train"].load()
        assert set(table.index.ids) == set(split["train"])
        encoded = list(Records(output, number)["query"].encoded)[:3]
        for path, data in zip([*query.paths, *table.index.paths], encoded + table.encoded):
            expected = cv2.imread(str(viper_root / path))[:, :, ::-1]
            np.testing.assert_array_equal(decode_image(data).numpy(), expected, err_msg=path)


def test_missing_folders_and_foreign_names(tmp_path, write_images):
    with pytest.raises(UserError, match="holds no folder cam_a and no cam_b: --root must name"):
        scan_viper(tmp_path)
    write_images(tmp_path, ["cam_a/one.bmp", "cam_b/001_90.bmp"])
    with pytest.raises(UserError, match="holds no image named like 000_45.bmp"):
        scan_viper(tmp_path)
    write_images(tmp_path, ["cam_a/002_90.bmp"])
    with pytest.raises(UserError, match="2 identities, 0 of them seen by two cameras"):
        scan_viper(tmp_path)


@pytest.mark.parametrize("flags", [("--splits", "0"), ("--seed", "-3")])
def test_wrong_flags_stop_before_anything_is_written(viper_root, tmp_path, capsys, flags):
    with pytest.raises(SystemExit):
        main(["viper", "--root", str(viper_root), "--output", str(tmp_path / "out"), *flags])
    assert f"argument {flags[0]}: must" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("channels", "width"), [(3, 7), (1, 9), (4, 5)])
def test_a_bitmap_keeps_every_pixel(channels, width):
    """Rows of a bitmap are padded to four bytes."""
    shape = (11, width, channels) if channels > 1 else (11, width)
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    bitmap = cv2.imencode(".bmp", pixels)[1].tobytes()
    colour = pixels[..., :3] if channels > 1 else np.repeat(pixels[..., None], 3, axis=2)
    png = np.frombuffer(stored_image(bitmap)[0], np.uint8)
    np.testing.assert_array_equal(cv2.imdecode(png, cv2.IMREAD_UNCHANGED), colour)
    for cut in (1, 100):
        with pytest.raises(CorruptImage, match="truncated"):
            stored_image(bitmap[:-cut])


@pytest.mark.parametrize(("data", "message"), [
    (b"", "empty file"), (b"BM", "truncated"),
    (b"BM" + bytes(80), "0 x 0 pixels")])
def test_what_is_no_bitmap(data, message):
    with pytest.raises(CorruptImage, match=message):
        stored_image(data)
