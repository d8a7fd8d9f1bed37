"""Types of command-line arguments."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

_OVERRIDE = re.compile(r"[a-z][a-z0-9_.]*=")


def positive(text: str) -> int:
    """Parses a positive whole number, as argparse's `type`."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")
    return int(text)


def split_overrides(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separates the values of an option from the `key.sub=value` settings that follow them.

    Returns:
        The values and the settings, each in their order.
    """
    return ([word for word in words if not _OVERRIDE.match(word)],
            [word for word in words if _OVERRIDE.match(word)])
