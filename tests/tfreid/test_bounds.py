"""Settings and recipes are bounded: numbers, names, chains, files that never end."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import pytest

from tfreid.config import Config
from tfreid.config.config import section_type


def test_every_number_has_both_bounds():
    for key, kinds in _types(Config):
        for kind, bounds in _numbers(kinds, ()):
            assert bounds & {"ge", "gt"} and bounds & {"le", "lt"}, (
                f"{key} is {kind.__name__} without two bounds; declare it as Whole[low, high]")


def _types(section, prefix=""):
    """Yields the name and the type of every setting."""
    hints = get_type_hints(section, include_extras=True)
    for field in dataclasses.fields(section):
        inner = section_type(field)
        if inner is None:
            yield prefix + field.name, hints[field.name]
        else:
            yield from _types(inner, f"{prefix}{field.name}.")


def _numbers(kind, marks):
    """Yields the number types in a type, each with the names of its bounds."""
    if kind in (int, float):
        yield kind, {name for mark in marks for limit in getattr(mark, "metadata", ())
                     for name in ("ge", "gt", "le", "lt") if hasattr(limit, name)}
    elif get_origin(kind) is Annotated:
        yield from _numbers(get_args(kind)[0], get_args(kind)[1:])
    elif get_origin(kind) is not Literal:
        for part in get_args(kind):
            yield from _numbers(part, ())


@pytest.mark.parametrize("weight", ["1e308", "-1", ".nan", "true", "'1'", "null"])
def test_the_weight_of_another_loss_has_bounds(recipe, weight, problem):
    message = problem(recipe(""), [f"loss.others={{triplet: {{weight: {weight}}}}}"])
    assert "`loss.others` is" in message and "its weight must be a number from 0 to" in message


def test_long_values_and_many_mistakes_make_a_short_message_soon(recipe, problem):
    start = time.process_time()
    keys = "".join(f"unknown_{number}: 1\n" for number in range(2000))
    assert "(and 1997 more)" in problem(recipe(keys))
    for override in ("a." * 5000 + "b=1", "name=[" + "x" * 50_000 + "]", "x" * 50_000 + "=1",
                     "training.seed=" + "9" * 6000, "x" * 50_000):
        assert len(problem(recipe(""), [override])) < 500
    assert time.process_time() - start < 5


@pytest.mark.parametrize("variants", ["[a]", "text", "{a: 3}", "{a: null}"])
def test_variants_that_are_no_settings_are_refused(recipe, variants, problem):
    assert "`variants` must have a mapping" in problem(recipe(f"variants: {variants}\n"))


def test_a_file_that_is_no_file_is_refused(tmp_path, problem):
    assert "is a pipe or device" in problem("/dev/zero")
    assert "is a folder" in problem(tmp_path)
    os.mkfifo(tmp_path / "pipe.yaml")
    assert "is a pipe or device" in problem(tmp_path / "pipe.yaml")
    assert "no such recipe" in problem("x" * 10_000)
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    assert "no such recipe" in problem(tmp_path / "loop.yaml")


def test_chains_of_bases_end(recipe, problem):
    for number in range(12):
        recipe(f"base: {number + 1}.yaml\npretraining: {{base: {number + 1}.yaml}}\n",
               f"{number}.yaml")
    assert "more than 8 recipes" in problem(recipe("base: 0.yaml\n"))
