"""The projector's files, which TensorBoard reads."""

from __future__ import annotations

import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tfreid.training.summaries import Summaries, _thumbnail


class Images:
    """A split of grey images, each as bright as its position."""

    def __init__(self, index):
        self.index = index

    def batches(self, size, count, positions):
        shape = (count, size.height, size.width, 3)
        yield positions, np.broadcast_to(positions[:, None, None, None], shape).astype(np.float32)


def test_the_sprite_is_a_square_grid_in_the_order_of_the_rows(make_index, tmp_path):
    index = make_index([7, 7, 8, 9, 9, 9], [1, 2, 1, 1, 2, 3])
    features = np.arange(12.0).reshape(6, 2)
    Summaries(tmp_path).projector(SimpleNamespace(features=features, split=Images(index)), 5)
    sprite = cv2.imread(str(tmp_path / "gallery.png"))
    assert sprite.shape == (3 * 64, 3 * 32, 3)
    np.testing.assert_array_equal(sprite[::64, ::32, 0], [[0, 1, 2], [3, 4, 0], [0, 0, 0]])
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "gallery.tsv"), features[:5])
    assert (tmp_path / "gallery_labels.tsv").read_text().splitlines()[1:4] == [
        "7\t1", "7\t2", "8\t1"]
    config = (tmp_path / "projector_config.pbtxt").read_text()
    assert re.findall(r"single_image_dim: (\d+)", config) == ["32", "64"]


@pytest.mark.parametrize(("count", "size"), [
    # 8192 / 64 is 128, the most columns of whole thumbnails; 139 is the root of Market's gallery.
    (512, (64, 32)), (128**2, (64, 32)), (128**2 + 1, (63, 31)), (19_281, (58, 29)),
    (10**6, (8, 4)),
])
def test_a_sprite_is_never_larger_than_tensorboard_reads(count, size):
    columns = int(np.ceil(np.sqrt(count)))
    assert _thumbnail(columns) == size
    assert columns * max(size) <= 8192
