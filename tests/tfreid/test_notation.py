"""How settings are written: YAML 1.2 that neither misleads nor grows."""

from __future__ import annotations

import math
import time

import pytest
import yaml

from tfrecords.errors import UserError
from tfreid.config.notation import parse, write

LAUGHS = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + below] * 9)}]\n"
    for below, name in zip("abcdefgh", "bcdefghi"))


def problem(text: str) -> str:
    with pytest.raises(UserError) as caught:
        parse(text, "FILE")
    assert str(caught.value).startswith("FILE: ") and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("text", "value"), [
    ("", None), ("~", None), ("null", None), ("Null", None),
    ("true", True), ("False", False), ("on", "on"), ("yes", "yes"), ("y", "y"),
    ("0100", 100), ("-3", -3), ("+7", 7), ("1:40", "1:40"), ("1_000", "1_000"),
    ("0o17", "0o17"), ("0x1f", "0x1f"), ("2024-01-01", "2024-01-01"),
    ("1e-3", 1e-3), ("1.e-5", 1e-5), (".5", 0.5), ("2E4", 2e4), ("-.inf", -math.inf),
    ("'3'", "3"), ('"true"', "true"), ("9" * 41, "9" * 41), ("=", "="), ("<<", "<<"),
    ("[1, [a]]", [1, ["a"]]), ("{1: 2}", {1: 2}),
])
def test_scalars_are_those_of_yaml_1_2(text, value):
    found = parse(text, "FILE")
    assert found == value and type(found) is type(value)


def test_a_name_twice_in_a_section_names_both_lines():
    assert "line 4 is not valid YAML (`model` is already in line 1; keep one" in problem(
        "model: {height: 256}\ndata:\n  fold: 1\nmodel: {width: 128}\n")
    assert "line 3" in problem("model:\n  height: 1\n  height: 2\n")
    assert "`1` is already in line 1" in problem("{1: a, '1': b}")
    assert parse("a: {x: 1}\nb: {x: 2}\n", "FILE") == {"a": {"x": 1}, "b": {"x": 2}}


@pytest.mark.parametrize(("text", "words"), [
    (LAUGHS, "aliases (*) and tags (!) are not read"),
    ("a: !!python/object/apply:os.system [ls]", "aliases (*) and tags (!) are not read"),
    ("a: !!int '3'", "aliases (*) and tags (!) are not read"),
    ("a: " + "[" * 100_000, "more than 50 levels"),
    ("{a: " * 1000, "more than 50 levels"),
    ("- " * 1000, "more than 50 levels"),
    ("[a]: b", "a name is text"),
    ('a: "\\0"', "characters that are no text"),
    ('a: "\\x1b[31m"', "characters that are no text"),
    ('a: "\\ud800"', "characters that are no text"),
    ('a: "\\Uffffffff"', "not valid YAML"),
    ("a: \x07", "not valid YAML"),
    ("a: 1\n\tb: 2", "line 2 is not valid YAML"),
    ("a\n--- b", "line 2 is not valid YAML"),
])
def test_what_misleads_or_grows_is_refused(text, words):
    start = time.process_time()
    assert words in problem(text)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("value", [
    "1e-4", "08", "on", "1:40", "0o17", "2024", "", "~", "null", "True", "a b", "x: y", "é", ".5",
    "1_000", "a\nb", "#a", "*a", "!a", "- a", "2024-01-01", "=", "<<", "\U0001f600",
    1e-5, 1e17, math.inf, -0.0, 10**30, True, None, [], {}, [1, ["a"]], {"a": {"b": "1e4"}},
])
def test_what_is_written_reads_back_equal_in_yaml_1_2_and_1_1(value):
    text = write({"key": value})
    for found in (parse(text, "FILE"), yaml.safe_load(text)):
        assert found == {"key": value} and type(found["key"]) is type(value)


def test_equal_values_are_written_out():
    shared = [1, 2]
    assert "&" not in write({"a": shared, "b": shared})
