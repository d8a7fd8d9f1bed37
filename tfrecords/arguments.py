"""Command-line arguments: bounded whole numbers, paths that begin with ~, settings."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence

from tfrecords.errors import printable, shortened

_OVERRIDE = re.compile(r"[a-z][a-z0-9_.]*=")
_OPTION = re.compile(r"--[a-z-]+=(?=~)|")


class HomeParser(argparse.ArgumentParser):
    """A parser that knows the home folder where the shell leaves it, in --output=~/run or '~/run'.

    Takes the arguments of `argparse.ArgumentParser`.
    """

    def parse_known_args(self, args=None, namespace=None):
        """Parses the arguments, those of the command line by default."""
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args([_expand(word) for word in words], namespace)

    def error(self, message):
        """Ends with exit code 2 and a sentence without the arguments' control characters."""
        super().error(printable(message))


def _expand(word: str) -> str:
    option = _OPTION.match(word).group()
    return option + os.path.expanduser(word[len(option):])


def whole(low: int = 1, high: int = 10**6) -> Callable[[str], int]:
    """Returns argparse's `type` of a whole number from `low` to `high`."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,20}", text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {low:,} to {high:,}, not {shortened(repr(text))}")
        return int(text)

    return parse


seed_type = whole(0, 2**32 - 1)


def number(low: float, high: float) -> Callable[[str], float]:
    """Returns the type of an argument that is a number from `low` to `high`."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"{shortened(repr(text))} is not a number from {low:g} to {high:g}")
        return value

    return convert


def split_overrides(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separates the values of an option from the `key.sub=value` settings that follow them.

    Returns:
        The values and the settings, each in their order.
    """
    return ([word for word in words if not _OVERRIDE.match(word)],
            [word for word in words if _OVERRIDE.match(word)])
