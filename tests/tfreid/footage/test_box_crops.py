"""Crops of boxes, against bilinear interpolation written out and cases worked out by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tfreid.footage.crops import check_boxes, cut_boxes

FRAME = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)


def bilinear(image, height, width):
    """Interpolates between the four pixels around each target's centre, clamped at the edges."""
    rows = (np.arange(height) + 0.5) * image.shape[0] / height - 0.5
    columns = (np.arange(width) + 0.5) * image.shape[1] / width - 0.5
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = (rows - top)[:, None, None], (columns - left)[:, None]

    def pixels(y, x):
        return image[np.clip(y, 0, len(image) - 1)][:, np.clip(x, 0, image.shape[1] - 1)].astype(
            float)

    upper = pixels(top, left) * (1 - right) + pixels(top, left + 1) * right
    lower = pixels(top + 1, left) * (1 - right) + pixels(top + 1, left + 1) * right
    return upper * (1 - down) + lower * down


@pytest.mark.parametrize("size", [(64, 32), (7, 5), (20, 40)])
def test_resized_between_the_four_nearest_pixels(size):
    boxes = check_boxes([[3, 4, 33, 36], [10, 0, 20, 40]])
    found = cut_boxes(FRAME, boxes, size, "rgb")
    assert found.shape == (2, *size, 3) and found.dtype == np.uint8
    for crop, region in zip(found, (FRAME[4:36, 3:33], FRAME[0:40, 10:20])):
        np.testing.assert_allclose(crop, bilinear(region, *size), atol=1.01)


@pytest.mark.parametrize(("box", "region"), [
    ([2.5, 3.5, 12.5, 13.5], np.s_[4:14, 2:12]),  # halves to the even pixel
    ([2.4, 3.6, 12.6, 13.4], np.s_[4:13, 2:13]),
    ([-5, -0.2, 8, 99], np.s_[0:40, 0:8]),  # clipped
    ([50, 30, 1e9, 1e9], np.s_[30:40, 50:60]),
])
def test_edges_are_rounded_and_clipped(box, region):
    found = cut_boxes(FRAME, check_boxes([box]), None, "rgb")
    np.testing.assert_array_equal(found[0], FRAME[region])


@pytest.mark.parametrize("box", [
    [60, 5, 70, 20], [-9, 5, 0, 20], [5, -30, 20, -10], [5, 5, 5, 20], [5.1, 5, 5.4, 20]])
def test_a_box_without_a_pixel_in_the_frame_is_black(box):
    boxes = check_boxes([[0, 0, 60, 40], box])
    found = cut_boxes(np.maximum(FRAME, 1), boxes, (8, 4), "bgr")
    assert found[0].all() and not found[1].any()
    assert not cut_boxes(FRAME, boxes[1:], None, "bgr")[0].any()


def test_colours_become_rgb():
    boxes = check_boxes([[3, 4, 33, 36], [10, 0, 20, 40]])
    for size in ((8, 4), None):
        for found, expected in zip(cut_boxes(FRAME, boxes, size, "bgr"),
                                   cut_boxes(FRAME, boxes, size, "rgb")):
            np.testing.assert_array_equal(found, expected[..., ::-1])


@pytest.mark.parametrize("view", [
    lambda frame: frame[..., ::-1], lambda frame: frame[::-1], lambda frame: frame[:, ::2],
    np.asfortranarray])
def test_frames_need_not_lie_in_one_piece(view):
    boxes = check_boxes([[3, 4, 25, 36]])
    np.testing.assert_array_equal(
        cut_boxes(view(FRAME), boxes, (64, 32), "bgr"),
        cut_boxes(np.ascontiguousarray(view(FRAME)), boxes, (64, 32), "bgr"))


def test_without_boxes_there_are_no_crops():
    for boxes in ([], np.empty((0, 4)), np.empty((0, 6), np.float32)):
        assert check_boxes(boxes).shape == (0, 4)
    assert cut_boxes(FRAME, check_boxes([]), (8, 4), "bgr").shape == (0, 8, 4, 3)
    assert cut_boxes(FRAME, check_boxes([]), None, "bgr") == []


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint16, np.float16, np.float64])
def test_numbers_of_any_type_are_one_box(dtype):
    box = np.array([3, 4, 33, 36], dtype)
    for boxes in (box, [box], box[None], tuple(box)):
        found = check_boxes(boxes)
        assert found.dtype == np.float32 and found.tolist() == [[3, 4, 33, 36]]


@pytest.mark.parametrize(("boxes", "words"), [
    ([[1, 2, 3, 4], [1, 2, np.nan, 4]], r"box 1 of 2, \[1.0, 2.0, nan, 4.0\], is not finite"),
    ([[1, 2, np.inf, 4]], "box 0 of 1.* is not finite; leave it out"),
    ([[50, 60, 20, 80]], "right or bottom edge before its left or top one"),
    ([[50, 60, 80, 20]], "give left, top, right and bottom"),
    (np.zeros((3, 6)), r"received \[3, 6\]; give boxes\[:, :4\]"),
    (np.zeros((2, 2, 4)), r"received \[2, 2, 4\]"),
    ([1.0, 2.0, 3.0], r"received \[1, 3\]"),
    ([[1, 2, 3], [1, 2, 3, 4]], r"must be numbers \[n, 4\]"),
    ([["a", "b", "c", "d"]], r"must be numbers \[n, 4\]"),
])
def test_other_boxes_get_one_sentence(boxes, words):
    with pytest.raises(ValueError, match=words):
        check_boxes(boxes)


def test_the_rule_is_that_of_opencv():
    """Also where the crop shrinks, and beside the pixels of the whole frame."""
    crop = cut_boxes(FRAME, check_boxes([[0, 0, 60, 40]]), (10, 6), "rgb")[0]
    np.testing.assert_array_equal(crop, cv2.resize(FRAME, (6, 10), interpolation=cv2.INTER_LINEAR))
