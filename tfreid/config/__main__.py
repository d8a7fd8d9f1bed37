"""Prints every setting with its type, default and explanation, or updates the tables of recipes."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from tfrecords.arguments import HomeParser
from tfrecords.errors import UserError, command_line, nearest, shortened
from tfrecords.files import read_text
from tfrecords.writing import write_whole
from tfreid.config.config import Config, section_type
from tfreid.config.recipes import update_tables

_WIDTH = 100
_WORDS = {"ge": "{} or more", "gt": "above {}", "le": "at most {}", "lt": "below {}",
          "min_length": "at least {}", "max_length": "at most {}"}
_TYPES = {int: "integer", float: "number", str: "text", bool: "true or false",
          type(None): "null"}


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and prints."""
    parser = HomeParser(prog="tfreid settings", description=__doc__)
    parser.add_argument("section", nargs="?", default="",
                        help="section, such as loss or loss.lin (default: all of them)")
    parser.add_argument("--recipes", metavar="FILE",
                        help="update the tables of recipes in a document, docs/recipes.md")
    parsed = parser.parse_args(arguments)
    if parsed.recipes:
        text = read_text(parsed.recipes, "name a document with tables of recipes")
        write_whole(parsed.recipes, update_tables(text).encode())
        return
    print("\n".join(describe(parsed.section)))


def describe(section: str = "") -> Iterator[str]:
    """Yields the lines of the listing.

    Args:
        section: Dotted name of a section, or of one setting; empty for all.

    Raises:
        UserError: If there is no such section; the message names the nearest.
    """
    found = {name: lines for name, lines in _blocks(Config, "")
             if not section or f"{name}.".startswith(f"{section}.")}
    if not found:
        names = [name for name, _ in _blocks(Config, "") if name]
        raise UserError(f"there is no section or setting {shortened(section)}; the nearest is "
                        f"{nearest(section, names)}.")
    for lines in found.values():
        yield from lines


def _blocks(kind: type, prefix: str) -> Iterator[tuple[str, list[str]]]:
    """Yields the name of each section and setting with the lines on it."""
    types_of = get_type_hints(kind, include_extras=True)
    about = f"{prefix[:-1] or 'all settings'}: {' '.join(kind.__doc__.split())}"
    yield prefix[:-1], [*textwrap.wrap(about, _WIDTH), ""]
    for field in dataclasses.fields(kind):
        inner = section_type(field)
        if inner is None:
            default = yaml.safe_dump(field.default_factory(), default_flow_style=True)
            fixed = field.metadata["resume"] == "fixed"
            rules = " A resumed run must keep it." if fixed else ""
            head = (f"  {prefix}{field.name} = {default.splitlines()[0]}"
                    f"  ({_type(types_of[field.name])})")
            text = textwrap.wrap(field.metadata["meaning"] + rules, _WIDTH,
                                 initial_indent=" " * 6, subsequent_indent=" " * 6)
            yield f"{prefix}{field.name}", [head, *text, ""]
    for field in dataclasses.fields(kind):
        inner = section_type(field)
        if inner is not None:
            yield from _blocks(inner, f"{prefix}{field.name}.")


def _type(kind: Any) -> str:
    """Says in English which values a type has."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        limits = {name: f"{getattr(limit, name):,.12g}" for part in arguments[1:]
                  for limit in getattr(part, "metadata", ()) for name in _WORDS
                  if hasattr(limit, name)}
        if {"ge", "le"} <= limits.keys():
            return f"{_type(arguments[0])}, {limits['ge']} to {limits['le']}"
        bounds = [words.format(limits[name]) for name, words in _WORDS.items() if name in limits]
        return ", ".join([_type(arguments[0]), *bounds])
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin is Union:
        return " or ".join(map(_type, arguments))
    if origin is list:
        return f"list of {_type(arguments[0])}"
    return _TYPES.get(origin or kind, "settings")


if __name__ == "__main__":
    raise SystemExit(main())
