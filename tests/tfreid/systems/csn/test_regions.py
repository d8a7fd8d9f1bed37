"""Where attended regions lie in an image, worked by hand, and the outlines drawn there."""

from __future__ import annotations

import numpy as np
import pytest

from tfreid.systems.csn.inspection import (
    cell_sides,
    draw_regions,
    region_color,
    region_corners,
)

WHOLE = [1, 0, 0, 0, 1, 0]
IMAGE = (160, 60)  # x(2) of it has 40 x 15 cells of 4 pixels, x(3) 20 x 8 of 8


@pytest.mark.parametrize(("map_shape", "sides"), [
    ((40, 15), (4, 4)),
    # Eight cells of 8 pixels reach 4 pixels over the right border.
    ((20, 8), (8, 8)),
])
def test_cells_are_powers_of_two(map_shape, sides):
    assert cell_sides(map_shape, IMAGE) == sides


@pytest.mark.parametrize("level_side", [4, 8])
def test_cell_sides_of_all_sizes(level_side):
    for pixels in range(16, 300):
        cells = -(-pixels // level_side)
        assert cell_sides((cells, cells), (pixels, pixels)) == (level_side, level_side)


def test_the_identity_covers_the_outermost_cells_of_each_stripe():
    # Rows 1-20, 11-30 and 21-40: centres 0.5 to 19.5, 10.5 to 29.5, 20.5 to 39.5, times 4 pixels.
    corners = region_corners(np.array([WHOLE] * 3), (40, 15), IMAGE)
    for stripe, (top, bottom) in enumerate([(2, 78), (42, 118), (82, 158)]):
        np.testing.assert_allclose(corners[stripe],
                                   [(2, top), (58, top), (58, bottom), (2, bottom)])


def test_one_stripe_is_the_whole_map():
    (corners,) = region_corners(np.array([WHOLE]), (20, 8), IMAGE)
    np.testing.assert_allclose(corners, [(4, 4), (60, 4), (60, 156), (4, 156)])


def test_mirrored_and_shifted():
    # s_w = -0.5 runs from right to left over the middle half; t_h = 0.5 with s_h = 0.5 is the
    # lower half of the middle stripe of x(3), whose rows 5 to 14 have centres at 44 to 116 pixels.
    regions = np.array([WHOLE, [-0.5, 0, 0, 0, 0.5, 0.5], WHOLE])
    left, right = 4 + 0.25 * 56, 4 + 0.75 * 56
    np.testing.assert_allclose(region_corners(regions, (20, 8), IMAGE)[1],
                               [(right, 80), (left, 80), (left, 116), (right, 116)])


def test_rotation_shears():
    # w_in = 0.5 w_out + 0.5 h_out: the upper left corner goes to -1, the lower left to 0.
    (corners,) = region_corners(np.array([[0.5, 0.5, 0, 0, 1, 0]]), (20, 8), IMAGE)
    np.testing.assert_allclose(corners, [(4, 4), (32, 4), (60, 156), (32, 156)])


def colored(drawn, level, part):
    """Left, top, right and bottom of the pixels of a region's colour."""
    rows, columns = np.nonzero(np.all(drawn == region_color(level, part), -1))
    return None if not rows.size else (columns.min(), rows.min(), columns.max(), rows.max())


def test_outlines_are_drawn_in_their_colours():
    # The middle stripe's comes before the bottom one's, which would lie over it.
    half = [0.5, 0, 0, 0, 0.5, 0]
    regions = {2: np.array([half] * 3), 3: np.array([[0.2, 0, 0, 0, 0.2, 0]] * 3)}
    drawn = draw_regions(np.zeros((*IMAGE, 3), np.uint8), regions, {2: (40, 15), 3: (20, 8)},
                         scale=2)
    assert drawn.shape == (320, 120, 3)
    for stripe, top in enumerate((21, 61, 101)):
        # Pixels 16 to 44 across, `top` to `top` + 38 down, doubled; lines reach a pixel or two out.
        found = colored(drawn, 2, stripe)
        np.testing.assert_allclose(found, (32, 2 * top, 88, 2 * (top + 38)), atol=2)
        assert colored(drawn, 3, stripe) is not None
    assert len({region_color(level, part) for level in (2, 3, 4) for part in range(3)}) == 9


def test_a_single_part():
    regions = {2: np.array([[0.5, 0, 0, 0, 0.5, 0]] * 3)}
    image = np.full((*IMAGE, 3), 7, np.uint8)
    drawn = draw_regions(image, regions, {2: (40, 15)}, scale=4, part=2)
    assert colored(drawn, 2, 0) is None and colored(drawn, 2, 1) is None
    assert colored(drawn, 2, 2) is not None
    assert np.all(image == 7)


def test_wider_lines_color_more_pixels():
    regions, shapes = {2: np.array([[0.5, 0, 0, 0, 0.5, 0]])}, {2: (40, 15)}
    counts = [np.count_nonzero(draw_regions(np.zeros((*IMAGE, 3), np.uint8), regions, shapes,
                                            line=line).any(-1)) for line in (0.5, 2.0)]
    assert counts[1] > 2 * counts[0]
