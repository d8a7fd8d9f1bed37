"""Heat maps over images, and the pictures of pairs made of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tfreid.systems.csn.drawing import (
    RankedPair,
    draw_pair,
    draw_ranked_pairs,
    heat_scale,
    level_name,
    overlay_map,
    pair_limits,
)
from tfreid.systems.csn.inspection import LevelDetails, PairDetails

SHAPES = {2: (40, 15), 3: (20, 8), 4: (20, 8)}


def pair(levels=(2, 3), parts=3, height=160, width=60, scale=1.0, distance=0.25):
    random = np.random.default_rng(0)
    regions = np.tile([0.5, 0, 0, 0, 0.4, 0], (parts, 1))
    found = {}
    for level in levels:
        halvings = 4 if level == 2 else 8
        shape = (-(-height // halvings), -(-width // halvings))
        maps = scale * random.random((2, parts, *shape))
        found[level] = LevelDetails(shape, (regions, regions), (maps[0], maps[1]), 96)
    images = random.integers(0, 256, (2, height, width, 3)).astype(np.uint8)
    return PairDetails((images[0], images[1]), found, 0.75, distance, 1.5)


@pytest.mark.parametrize(("shape", "cell", "place"), [
    ((40, 15), (3, 12), (14, 50)),
    # The last of 8 cells of 8 pixels lies at pixels 56 to 64, of which the image has 4.
    ((20, 8), (10, 7), (84, 59.5)),
])
def test_a_cell_lies_where_it_saw(shape, cell, place):
    values = np.zeros(shape)
    values[cell] = 1.0
    drawn = overlay_map(np.zeros((160, 60, 3), np.uint8), values, (0.0, 1.0), enlarged=2)
    assert drawn.shape == (320, 120, 3)
    light = drawn.sum(-1, dtype=float)
    brightest = np.argwhere(light >= light.max() - 1).mean(0)
    np.testing.assert_allclose(brightest, 2 * np.array(place) - 0.5, atol=1.0)
    # A cell and a half away there is nothing of it.
    far = (2 * place[0] + 80) % 320
    assert light[int(far), 10] == light.min()


def test_heat_and_grey_are_mixed():
    image = np.full((16, 16, 3), 200, np.uint8)
    image[:, 8:] = 100
    drawn = overlay_map(image, np.full((2, 2), 0.5), (0.0, 1.0), enlarged=1).astype(float)
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 2
    np.testing.assert_allclose(drawn[0, 0] - drawn[0, 15], 38, atol=1)  # 0.38 of 100


def test_limits_span_all_maps_of_a_level():
    low, high = pair(scale=0.5), pair(scale=3.0)
    limits = pair_limits([low, high])
    for level in (2, 3):
        maps = [half for one in (low, high) for half in one.levels[level].maps]
        assert limits[level] == (min(m.min() for m in maps), max(m.max() for m in maps))


def test_the_scale_is_a_root():
    np.testing.assert_allclose(heat_scale((2.0, 6.0))([1.0, 2.0, 3.0, 6.0, 9.0]), [0, 0, 0.5, 1, 1])


@pytest.mark.parametrize(("levels", "parts", "size"), [
    ((2, 3), 3, (160, 60)), ((3,), 1, (160, 60)), ((2, 3, 4), 3, (32, 64)), ((4,), 3, (32, 16)),
])
def test_pair_picture(tmp_path, levels, parts, size):
    details = pair(levels, parts, *size)
    draw_pair(details, tmp_path / "new" / "pair.png", ("a.jpg", "b.jpg"), "Title")
    picture = cv2.imread(str(tmp_path / "new" / "pair.png"))
    # Nothing is cut off: the margins stay white.
    for edge in (picture[:8], picture[-8:], picture[:, :8], picture[:, -8:]):
        assert edge.min() == 255
    middle = picture.shape[0] // 2
    assert picture[middle - 20 : middle + 20].min() < 128


def test_shared_limits_change_the_colours(tmp_path):
    details = pair((2,), 1)
    pictures = []
    for name, limits in (("own", None), ("shared", {2: (0.0, 50.0)})):
        draw_pair(details, tmp_path / name, limits=limits)
        pictures.append(cv2.imread(str(tmp_path / name)).astype(float))
    middle = (slice(220, 480), slice(450, 600))
    assert pictures[0][middle].mean() > pictures[1][middle].mean() + 5


def test_flat_maps_and_no_distance(tmp_path):
    details = pair((3,), 1, scale=0.0, distance=None)
    assert details.figures() == ["match probability 0.750", "SimiScore 1.500"]
    draw_pair(details, tmp_path / "pair.png")
    assert cv2.imread(str(tmp_path / "pair.png")) is not None


def test_figures_and_names():
    assert pair().figures()[1] == "distance 0.250"
    assert [level_name(level) for level in (2, 3, 4)] == [
        "level 2 (low)", "level 3 (mid)", "level 4 (high)"]
    assert list(pair().part_names) == ["upper part", "middle part", "bottom part"]
    assert list(pair(parts=1).part_names) == ["part"]


@pytest.mark.parametrize(("levels", "parts"), [((3,), 1), ((2, 3, 4), 3)])
def test_ranked_pairs(tmp_path, levels, parts):
    results = [RankedPair(pair(levels, parts, 80, 32), match, "person 1, camera 2")
               for match in (False, True, False)]
    draw_ranked_pairs(results, tmp_path / "ranked.png", "person 1, camera 1")
    picture = cv2.cvtColor(cv2.imread(str(tmp_path / "ranked.png")), cv2.COLOR_BGR2RGB)
    for edge in (picture[:8], picture[-8:], picture[:, :8], picture[:, -8:]):
        assert edge.min() == 255
    rows = {color: np.flatnonzero(np.sum(np.all(picture == color, -1), 1) > 60)
            for color in ((0, 146, 80), (208, 48, 40))}
    green, red = rows.values()
    # The match is framed between the two others.
    assert red.min() < green.min() < green.max() < red.max()
    assert not ((red >= green.min()) & (red <= green.max())).any()


def test_ranked_pairs_need_results(tmp_path):
    with pytest.raises(ValueError, match="empty"):
        draw_ranked_pairs([], tmp_path / "ranked.png")
