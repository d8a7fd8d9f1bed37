"""Varied rendered people: textures around turning bodies, cameras, and the style in a dataset."""

from __future__ import annotations

import dataclasses
import json

import cv2
import numpy as np
import pytest

from tfrecords.build import main
from tfrecords.errors import UserError
from tfrecords.synthetic import DISTRACTOR, JUNK, SyntheticOptions, render_crop, render_dataset
from tfrecords.synthetic.pose import Pose
from tfrecords.synthetic.varied.cloth import ANGLES, LOWER, UPPER, dye, noise, upper_texture
from tfrecords.synthetic.varied.figure import Canvas, draw_person
from tfrecords.synthetic.varied.lens import Lens, lens_of, record
from tfrecords.synthetic.varied.place import PLACE_HEIGHT, PLACE_WIDTH, place_of, window
from tfrecords.synthetic.varied.wardrobe import look_of

TINY = SyntheticOptions(train_identities=2, test_identities=1, cameras=2, images_per_camera=2,
                        cameras_per_identity=2, distractors=1, junk=1, style="varied")
CLEAR = Lens(gain=1, gamma=1, cast=np.ones(3), saturation=1, contrast=1, haze=0, light=0,
             shading=0, falloff=0, pitch=0, detail=128, blur=0, sharpening=0, noise=0, quality=100)


def blank(height: int = 60, width: int = 40) -> Canvas:
    canvas = Canvas(np.zeros((height, width, 3), np.uint8), 0.0, 0.0, np.random.default_rng(0))
    canvas.folds = np.ones((height, width), np.float32)
    return canvas


def test_every_number_of_a_crop_matters():
    reference = render_crop(1, 2, 3, 4, "varied")
    assert reference.dtype == np.uint8 and reference.shape == (128, 64, 3)
    np.testing.assert_array_equal(reference, render_crop(1, 2, 3, 4, "varied"))
    for numbers in ((2, 2, 3, 4), (1, 3, 3, 4), (1, 2, 4, 4), (1, 2, 3, 5), (1, DISTRACTOR, 3, 4),
                    (1, JUNK, 3, 4)):
        assert not np.array_equal(reference, render_crop(*numbers, "varied"))


def test_a_tube_shows_the_side_of_its_texture_that_faces_the_camera():
    front, left, back, right = (40, 80, 120, 160)  # in the columns around the body
    texture = np.empty((8, ANGLES, 3), np.float32)
    quarter = ANGLES // 4
    for place, value in enumerate((back, right, front, left)):
        start = place * quarter - quarter // 2
        texture[:, np.arange(start, start + quarter) % ANGLES] = value
    for yaw, seen in ((0, front), (np.pi / 2, right), (np.pi, back), (-np.pi / 2, left)):
        canvas = blank()
        canvas.tube((20, 5), (20, 55), [12, 12], texture, turn=yaw, rounded=False)
        assert canvas.pixels[30, 20].tolist() == [seen] * 3


def test_a_tube_runs_through_the_rows_that_it_is_given():
    texture = np.repeat(np.arange(0, 200, 20, dtype=np.float32), ANGLES * 3).reshape(10, ANGLES, 3)
    canvas = blank()
    canvas.tube((20, 5), (20, 55), [12, 12], texture, rows=(0.5, 1.0), rounded=False)
    column = canvas.pixels[:, 20, 0].astype(int)
    assert column[7] == 80 and column[53] == 160 and np.all(np.diff(column[7:54]) >= 0)
    assert not canvas.pixels[:, :7].any() and not canvas.pixels[57:].any()


def test_rims_are_darker_and_the_light_comes_from_a_side():
    canvas = blank()
    canvas.depth, canvas.light = np.float32(0.3), np.float32(0.2)
    canvas.tube((20, 5), (20, 55), [12, 12], np.float32((100, 100, 100)), rounded=False)
    row = canvas.pixels[30, :, 0].astype(float)
    # At half the radius: 1 - 0.3 * 0.25 with 0.2 * 0.5 more or less; the pixel's middle is at +0.5.
    for pixel in (14, 25):
        side = (pixel + 0.5 - 20) / 12
        assert abs(row[pixel] - 100 * (1 - 0.3 * side ** 2 + 0.2 * side)) <= 1


def test_a_person_stands_on_the_ground_and_is_as_tall_as_told():
    canvas = blank(120, 60)
    canvas.pixels[:] = 255
    look = dataclasses.replace(look_of(0, 3), hat="none", bag="none", stature=1.0)
    draw_person(canvas, look, Pose(0.0, 0.0, 0.0, 0.05, 0.0, (0.2, 0.2)), 30, 110, 100)
    rows = np.flatnonzero((canvas.pixels < 250).any((1, 2)))
    assert abs(rows[0] - 10) <= 5 and abs(rows[-1] - 111) <= 5


def test_a_clear_lens_records_what_is_there():
    picture = cv2.resize(np.random.default_rng(2).integers(0, 255, (8, 4, 3), np.uint8), (64, 128),
                         interpolation=cv2.INTER_CUBIC)

    class Steady:  # an exposure that does not vary, without a shadow or motion
        def standard_normal(self, size=None, dtype=float):
            return 0.0 if size is None else np.zeros(size, dtype)

        def uniform(self, low=0.0, high=1.0):
            return (low + high) / 2

        def random(self):
            return 0.99

    seen = record(picture, CLEAR, Steady())
    assert np.abs(seen.astype(int) - picture).mean() < 2
    darker = record(picture, dataclasses.replace(CLEAR, gain=0.5), Steady())
    assert abs(darker.mean() / seen.mean() - 0.5) < 0.02
    grey = record(picture, dataclasses.replace(CLEAR, saturation=0.0), Steady())
    assert np.ptp(grey.astype(int), axis=2).mean() < 2
    low = record(picture, dataclasses.replace(CLEAR, detail=36), Steady())
    assert np.abs(np.diff(low.astype(int), axis=0)).mean() <= np.abs(
        np.diff(seen.astype(int), axis=0)).mean()


def test_a_camera_differs_from_others_more_than_from_itself():
    def gains(cameras):
        return np.array([[lens_of(0, camera, np.random.default_rng(walk)).detail
                          for walk in range(30)] for camera in cameras])

    found = gains(range(1, 9))
    assert found.mean(1).std() > 0.5 * found.std(1).mean()


def test_clothes_are_muted_and_textures_are_colours():
    rng = np.random.default_rng(5)
    dyes = np.array([dye(rng, UPPER) for _ in range(400)] + [dye(rng, LOWER) for _ in range(400)])
    assert dyes.min() >= 0 and dyes.max() <= 255
    saturation = 1 - dyes.min(1) / dyes.max(1)
    assert 0.45 < np.mean(saturation < 0.3) < 0.85  # black, white and grey prevail
    textures = [upper_texture(rng, dyes[number]) for number in range(60)]
    assert all(texture.shape[1:] == (ANGLES, 3) and texture.dtype == np.float32
               and texture.min() >= 0 and texture.max() <= 255 for texture in textures)
    # Most garments of one colour, many with more.
    varied = np.array([texture.std((0, 1)).mean() > 12 for texture in textures])
    assert 0.25 < varied.mean() < 0.8


def test_noise_is_smooth_and_of_unit_size():
    field = noise(np.random.default_rng(1), (200, 100), (20, 10))
    assert field.shape == (200, 100) and field.dtype == np.float32
    assert 0.5 < field.std() < 1.2 and np.abs(np.diff(field, axis=0)).max() < 0.8


def test_places_differ_and_a_window_has_the_shape_asked_for():
    place, horizon = place_of(0, 1, 2)
    assert place.shape == (PLACE_HEIGHT, PLACE_WIDTH, 3) and 0 < horizon < PLACE_HEIGHT
    assert not np.array_equal(place, place_of(0, 1, 3)[0])
    part = window(place, horizon, (90, 40), np.random.default_rng(0))
    assert part.shape == (90, 40, 3) and part.flags.writeable


def test_a_style_has_its_own_folders(tmp_path):
    render_dataset(tmp_path / "varied", TINY, progress=False)
    manifest = json.loads((tmp_path / "varied/synthetic.json").read_text())
    assert manifest["options"]["style"] == "varied"
    plain = dataclasses.replace(TINY, style="plain")
    with pytest.raises(UserError, match="style 'varied' instead of 'plain'"):
        render_dataset(tmp_path / "varied", plain, progress=False)
    render_dataset(tmp_path / "plain", plain, progress=False)
    manifest = json.loads((tmp_path / "plain/synthetic.json").read_text())
    assert "style" not in manifest["options"]  # as folders from before there were styles
    with pytest.raises(UserError, match="style must be one of plain, varied, not 'bright'"):
        render_dataset(tmp_path / "new", dataclasses.replace(TINY, style="bright"), progress=False)


def test_an_unknown_style_is_refused():
    with pytest.raises(ValueError, match="style 'bright'"):
        render_crop(0, 1, 1, 0, "bright")


def test_varied_people_are_built_into_records(tmp_path, capsys):
    flags = ["--train-identities", "2", "--test-identities", "1", "--cameras", "2",
             "--images-per-camera", "2", "--cameras-per-identity", "2", "--distractors", "1",
             "--junk", "1", "--workers", "1", "--shards", "1"]
    command = ["synthetic", "--root", str(tmp_path / "images"), "--output",
               str(tmp_path / "records"), *flags]
    assert main([*command, "--style", "varied"]) == 0
    capsys.readouterr()
    assert main(command) == 2
    assert "style" in capsys.readouterr().err
