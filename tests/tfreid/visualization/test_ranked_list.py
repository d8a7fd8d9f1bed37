"""The ranked-list picture, read back pixel by pixel."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.visualization import RankedImage, RankedRow, draw_ranked_lists
from tfreid.visualization.ranked_list import _MATCH, _MISMATCH

BLUE, YELLOW = (20, 40, 220), (230, 220, 30)


def plain(colour, height=128, width=64):
    return np.full((height, width, 3), colour, np.uint8)


def drawn(rows, path, **options):
    draw_ranked_lists(rows, path, **options)
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def region(picture, colour):
    """Top, left, height and width of the box around all pixels of one colour."""
    vertical, horizontal = np.nonzero(np.all(picture == np.array(colour), axis=2))
    top, left = vertical.min(), horizontal.min()
    return top, left, vertical.max() - top + 1, horizontal.max() - left + 1


def test_frames_and_places(tmp_path):
    results = [
        RankedImage(plain((1, 2, 3)), True, 2, 0.125),
        RankedImage(plain((4, 5, 6)), False, -1, 0.5),
    ]
    row = RankedRow(plain(BLUE), 7, 1, results)
    picture = drawn([row], tmp_path / "new" / "ranked.png", cell_size=(128, 64))
    query, match, mismatch = (region(picture, c) for c in (BLUE, (1, 2, 3), (4, 5, 6)))
    # Colours are RGB and images of the cell's size are copied as they are.
    assert query[2:] == match[2:] == mismatch[2:] == (128, 64)
    assert query[0] == match[0] == mismatch[0]
    assert query[1] + 64 < match[1] < match[1] + 64 < mismatch[1]
    for (top, left, _, _), colour in ((match, _MATCH), (mismatch, _MISMATCH)):
        assert tuple(picture[top - 1, left + 30]) == colour
        assert tuple(picture[top + 60, left - 1]) == colour
        # Something is written under the frame, and the gap between the columns stays white.
        assert picture[top + 135 : top + 170, left : left + 64].min() < 200
        assert picture[top + 60, left - 12 : left - 6].min() == 255


def test_sizes_are_fitted_with_their_aspect_kept(tmp_path):
    results = [RankedImage(plain(YELLOW, 50, 100), True, 1, 0.0)]
    picture = drawn([RankedRow(plain(BLUE, 300, 60), 7, 1, results)], tmp_path / "ranked.png",
                    cell_size=(100, 50))
    # 300 x 60 fits the height, 50 x 100 the width.
    assert region(picture, BLUE)[2:] == (100, 20)
    assert region(picture, YELLOW)[2:] == (25, 50)


def test_rows_of_different_length(tmp_path):
    result = RankedImage(plain(YELLOW), True, 1, 0.0)
    rows = [RankedRow(plain(BLUE), 7, 1, [result] * count) for count in (3, 0)]
    picture = drawn(rows, tmp_path / "ranked.png")
    one = drawn(rows[:1], tmp_path / "one.png")
    assert picture.shape[1] == one.shape[1] and picture.shape[0] > 1.7 * one.shape[0]
    # The second row shows its query and nothing else.
    query_top = region(picture[one.shape[0] :], BLUE)[0] + one.shape[0]
    assert not np.any(np.all(picture[query_top:] == np.array(YELLOW), axis=2))


def test_average_precision_stands_under_the_query(tmp_path):
    results = [RankedImage(plain(YELLOW), True, 1, 0.0)] * 6
    bare = RankedRow(plain(BLUE), 7, 1, results)
    scored = RankedRow(plain(BLUE), 7, 1, results, 0.4567, 12)
    assert bare.score() == "" and scored.score() == "AP 45.7 % (12)"
    assert RankedRow(plain(BLUE), 7, 1, results, 1.0).score() == "AP 100.0 %"
    without, picture = (drawn(rows, tmp_path / "ranked.png") for rows in ([bare], [scored]))
    top, left, height, width = region(picture, BLUE)
    line = slice(top + height + 36, top + height + 54)
    assert picture[line, left - 5 : left + width + 5].min() < 200
    # Nothing stands there under a result, and the foot explains the figures.
    assert picture[line, left + width + 40 :].min() == 255
    below = top + height + 60
    assert picture.shape[0] > without.shape[0] and picture[below:].min() < 200
    assert without[top + height + 36 :].min() == 255


def test_a_remark_is_written_below_with_or_without_small_print(tmp_path):
    for scores in ((), (0.5, 1)):
        row = RankedRow(plain(BLUE), 7, 1, [RankedImage(plain(YELLOW), True, 1, 0.0)], *scores)
        without, remarked = (drawn([row], tmp_path / "ranked.png", remark=remark)
                             for remark in ("", "Chosen on these very images."))
        assert remarked.tobytes() != without.tobytes()


def test_bad_input(tmp_path):
    with pytest.raises(UserError, match="no query to draw"):
        draw_ranked_lists([], tmp_path / "ranked.png")
    for image in (np.zeros((8, 4), np.uint8), np.zeros((8, 4, 3), np.float32)):
        with pytest.raises(ValueError, match="RGB uint8"):
            draw_ranked_lists([RankedRow(image, 1, 1, [])], tmp_path / "ranked.png")


def test_names_of_any_letters_are_drawn(tmp_path):
    names = ("Łukasz", "张三", "\udcb0\x1b", "a$b$")
    rows = [RankedRow(plain(BLUE), name, "$x", []) for name in names]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert drawn(rows, tmp_path / "ranked.png").any()
