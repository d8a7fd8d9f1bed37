"""What errors suggest, and what a command prints of names that come from elsewhere."""

from __future__ import annotations

import sys
import time

import pytest

from tfrecords.errors import UserError, command_line, nearest


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


def test_control_characters_and_broken_names_are_escaped(capsys):
    @command_line
    def main():
        print("\udcb0")
        raise UserError("José 张三 \x1b[2J\r\u202e\udcb0\n")

    assert main() == 2
    captured = capsys.readouterr()
    assert captured.out == "\\udcb0\n"
    assert captured.err == "error: José 张三 \\x1b[2J\\r\\u202e\\udcb0\\n\n"
    assert sys.stdout.errors == "backslashreplace"
