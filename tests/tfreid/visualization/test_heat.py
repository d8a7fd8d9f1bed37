"""Heat maps over images, and the pictures that hold them, read back pixel by pixel."""

from __future__ import annotations

import cv2
import matplotlib
import numpy as np
import pytest

from tfreid.systems.embedding.drawing import draw_attention, draw_matching_regions
from tfreid.systems.embedding.grad_cam import (
    AttendedImage,
    AttentionRow,
    MatchingDimension,
    MatchingRegions,
)
from tfreid.visualization.heat import HEAT_COLORS, overlay_cam
from tfreid.visualization.page import fit_image

# Not grey, so that a plain image differs from one under a heat map.
GREEN, BLUE = (30, 200, 60), (20, 40, 220)


def plain(colour, height=64, width=32):
    return np.full((height, width, 3), colour, np.uint8)


def drawn(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def area(picture, colour):
    """How many pixels of a picture have one colour."""
    return np.all(picture == np.array(colour), axis=2).sum()


def bright(picture):
    """How many pixels have about the colour of the maximum over black."""
    top = 0.62 * 255 * np.array(matplotlib.colormaps[HEAT_COLORS](1.0)[:3])
    return np.all(np.abs(picture - top) < 20, axis=2).sum()


def test_heat_lies_where_the_map_is_high():
    cam = np.zeros((4, 2))
    cam[3, 0] = 7.0
    heat = overlay_cam(plain((0, 0, 0), 80, 30), cam).astype(float)
    top = 255 * np.array(matplotlib.colormaps[HEAT_COLORS](1.0)[:3])
    np.testing.assert_allclose(heat[75, 3], 0.62 * top, atol=2)
    assert heat[:40].max() < 5 and heat[75, 27].max() < 5
    # The scale of a map is its own.
    np.testing.assert_array_equal(overlay_cam(plain((0, 0, 0), 80, 30), cam / 1000), heat)


def test_the_image_shows_through_and_stays_plain_without_evidence():
    image = plain(GREEN)
    image[:32] = BLUE
    shown = overlay_cam(image, np.ones((2, 2))).astype(float)
    assert shown[40].sum() > shown[10].sum() + 50
    assert overlay_cam(image, np.zeros((4, 2))) is image


def test_images_of_any_size_fit():
    for size in ((64, 32), (300, 60), (50, 400)):
        height, width = fit_image(plain(BLUE, *size), 200, 150).shape[:2]
        assert max(height / 200, width / 150) == pytest.approx(1, abs=0.01)
        assert width / height == pytest.approx(size[1] / size[0], rel=0.05)


def pair(cams, similarity=0.5):
    images = (plain(GREEN), plain(BLUE, 48, 48))
    dimensions = [MatchingDimension(7 + place, 0.1, cam) for place, cam in enumerate(cams)]
    return MatchingRegions(images, similarity, dimensions)


def test_matching_regions_have_a_column_a_dimension(tmp_path):
    some, none = np.array([[0.0, 1.0], [0.0, 0.0]]), np.zeros((2, 2))
    pictures = {}
    for name, cams in {"none": [], "one": [(some, some)], "empty": [(some, none)],
                       "many": [(some, some)] * 7}.items():
        path = tmp_path / "new" / f"{name}.png"
        draw_matching_regions(pair(cams), path, ("a.jpg", "b.jpg"))
        pictures[name] = drawn(path)
    # Without evidence in B, it is shown plain a second time.
    assert area(pictures["empty"], BLUE) == pytest.approx(2 * area(pictures["one"], BLUE), rel=0.05)
    assert area(pictures["empty"], GREEN) == pytest.approx(area(pictures["one"], GREEN), rel=0.05)
    assert area(pictures["one"], BLUE) == pytest.approx(area(pictures["none"], BLUE), rel=0.05)
    assert pictures["many"].shape[1] > 1.2 * pictures["one"].shape[1]
    assert pictures["many"].shape[0] == pictures["one"].shape[0]


def test_attention_has_a_row_a_person(tmp_path):
    cam = np.array([[0.0, 1.0], [0.0, 0.0]])
    shown = AttendedImage(plain((0, 0, 0)), cam, "a name much longer than its image is wide.jpg")
    sizes, heats = [], []
    for rows in ([[shown]], [[shown] * 4], [[shown] * 4, [shown] * 2]):
        draw_attention([AttentionRow("person", images) for images in rows], tmp_path / "a.png", 50)
        sizes.append(drawn(tmp_path / "a.png").shape)
        heats.append(bright(drawn(tmp_path / "a.png")))
    assert sizes[0][0] == sizes[1][0] < sizes[2][0] and sizes[0][1] < sizes[1][1] == sizes[2][1]
    # Beyond the bar of the scale, as much heat as there are maps.
    assert (heats[2] - heats[1]) / (heats[1] - heats[0]) == pytest.approx(2 / 3, rel=0.1)


def test_an_empty_map_leaves_the_image_plain_and_says_so(tmp_path):
    pictures = []
    for cam in (np.ones((2, 2)), np.zeros((2, 2))):
        draw_attention([AttentionRow("", [AttendedImage(plain(GREEN), cam, "x")])],
                       tmp_path / "a.png", 50)
        pictures.append(drawn(tmp_path / "a.png"))
    assert area(pictures[1], GREEN) == pytest.approx(2 * area(pictures[0], GREEN), rel=0.05)
    # There is a line more under the image.
    last = [np.nonzero(np.all(picture == np.array(GREEN), axis=2))[0].max() for picture in pictures]
    assert last[0] == last[1]
    ink = [(picture[last[0] + 5 : last[0] + 45, :150].min(2) < 200).sum() for picture in pictures]
    assert ink[1] > 3 * ink[0]


def test_rows_without_images():
    for rows in ([], [AttentionRow("", [])]):
        with pytest.raises(ValueError, match="rows"):
            draw_attention(rows, "a.png", 50)
