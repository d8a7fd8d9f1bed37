"""Pictures of pairs: sizes, colours, and that the images are in them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tfreid.systems.siamese.pair_picture import draw_small_pair, draw_verdict

RED, BLUE = (200, 10, 10), (10, 10, 200)


def plain(color, height=64, width=32):
    return np.full((height, width, 3), color, np.uint8)


def test_a_small_pair_shows_both_images_in_a_frame_of_the_truth():
    match, other = (draw_small_pair(plain(RED), plain(BLUE), is_match, 0.25, 0.75)
                    for is_match in (True, False))
    assert match.shape == other.shape and match.dtype == np.uint8
    assert tuple(match[0, 0]) != tuple(other[0, 0])
    assert tuple(match[60, 20]) == RED and tuple(match[60, 100]) == BLUE
    # The figures below: dark on white.
    assert match[-16:].min() < 100 < match[-16:].max()


def test_other_figures_are_another_picture():
    pictures = [draw_small_pair(plain(RED), plain(BLUE), True, distance, 0.5)
                for distance in (0.1, 0.2)]
    assert (pictures[0] != pictures[1]).any()


@pytest.mark.parametrize("shapes", [((64, 32), (180, 90)), ((200, 40), (50, 60))])
def test_a_verdict_shows_images_of_any_sizes(tmp_path, shapes):
    path = tmp_path / "new" / "pair.png"
    images = tuple(plain(color, *shape) for color, shape in zip((RED, BLUE), shapes))
    draw_verdict(images, ("a.jpg", "b" * 60 + ".jpg"), "one person: probability 0.9123",
                 [{"similarity": 0.1, "dissimilarity": 2.0},
                  {"cosine": 0.1, "euclidean": 2.0, "cityblock": 30.0, "dot": -4.0}], path)
    picture = cv2.imread(str(path))[..., ::-1]
    for color in (RED, BLUE):
        near = (np.abs(picture.astype(int) - color).max(axis=2) < 12).sum()
        assert near > 5000
    # Both are equally high on the page, as far as their widths allow.
    assert picture.shape[0] > 500


def test_the_decision_and_every_figure_are_in_the_picture_of_a_verdict(tmp_path):
    terms, distances = {"similarity": 0.1, "dissimilarity": 2.0}, {"cosine": 0.1, "dot": -4.0}
    contents = [("one person (threshold 0.5)", terms, distances),
                ("one person (threshold 0.6)", terms, distances),
                *(("one person (threshold 0.5)", {**terms, name: 3.0}, distances)
                  for name in terms),
                ("one person (threshold 0.5)", terms, {**distances, "dot": 3.0})]
    drawn = set()
    for heading, *figures in contents:
        draw_verdict((plain(RED), plain(BLUE)), ("a.jpg", "b.jpg"), heading, figures,
                     tmp_path / "pair.png")
        drawn.add(cv2.imread(str(tmp_path / "pair.png")).tobytes())
    assert len(drawn) == len(contents)
