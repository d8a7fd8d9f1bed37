"""Command-line arguments: numbers within bounds, and the home folder."""

from __future__ import annotations

import argparse
import importlib

import pytest

from tfrecords.arguments import HomeParser, whole
from tfrecords.build import _parser as build_parser
from tfreid.commands import parser as parsers
from tfreid.commands.main import COMMANDS


@pytest.mark.parametrize("text", ["3", "5"])
def test_whole_numbers_within_the_bounds(text):
    assert whole(3, 5)(text) == int(text)


@pytest.mark.parametrize("text", [
    "2", "6", "-3", "3.0", "three", "", " 3", "3_0", "\u0663", "9" * 6000, "1e0", "0x3", "nan"])
def test_other_numbers_and_text_are_refused_with_the_bounds(text):
    with pytest.raises(argparse.ArgumentTypeError, match="number from 3 to 5, not") as found:
        whole(3, 5)(text)
    assert len(str(found.value)) < 150


def test_the_home_folder_is_known_where_the_shell_leaves_it(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    parser = HomeParser()
    parser.add_argument("--output")
    parser.add_argument("--name")
    parser.add_argument("files", nargs="*")
    parsed = parser.parse_intermixed_args(["--output=~/run", "~/a", "b~", "--name", "x=~", "./~"])
    assert parsed == argparse.Namespace(
        output="/home/somebody/run", name="x=~", files=["/home/somebody/a", "b~", "./~"])


def _options(parser):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _options(inner)
        else:
            yield action


@pytest.fixture
def made(monkeypatch):
    """The parsers that commands make; parsing stops the command."""
    parsers_made = []

    def stop(parser, *arguments):
        parsers_made.append(parser)
        raise SystemExit

    for method in ("parse_args", "parse_intermixed_args"):
        monkeypatch.setattr(parsers.CommandParser, method, stop)
    return parsers_made


def test_every_whole_number_of_a_command_has_bounds(made):
    for command in COMMANDS.values():
        if command.module.startswith("tfreid.commands"):
            with pytest.raises(SystemExit):
                importlib.import_module(command.module).main([])
    assert len(made) > 10
    for parser in [build_parser(), *made]:
        for option in _options(parser):
            assert option.type is not int or option.choices, (
                f"{parser.prog} {option.option_strings}: use whole()")
