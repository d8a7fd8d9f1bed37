"""What errors suggest."""

from __future__ import annotations

import time

import pytest

from tfrecords.errors import nearest


@pytest.mark.parametrize("name, best", [
    ("trian", "train"), ("test", "test"), ("exprt", "export")])
def test_the_nearest_name_is_found(name, best):
    assert nearest(name, ["build", "train", "test", "export"]) == best


def test_a_name_that_is_cut_for_the_comparison_is_returned_whole():
    assert nearest("a" * 200, ["b", "a" * 300]) == "a" * 300


def test_many_and_long_names_take_no_noticeable_time():
    start = time.process_time()
    nearest("learning_rate" * 100_000, ("learning_rte" * 1000 + str(n) for n in range(100_000)))
    assert time.process_time() - start < 1


def test_a_name_like_none_of_them_has_an_answer_too():
    assert nearest("", ["build", "train"]) in ("build", "train")
