"""Trees of settings as YAML has them: nested dictionaries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Tree = dict[str, Any]


def merge(below: Tree, above: Tree) -> Tree:
    """Lays a tree over another, key by key; a value, a list too, replaces the one below."""
    merged = dict(below)
    for key, value in above.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if nested else value
    return merged


def leaves(tree: Tree, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields the path and the value of everything in a tree that is no filled section."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, str(key)))
        else:
            yield (*path, str(key)), value


def set_value(tree: Tree, path: tuple[str, ...], value: Any) -> str | None:
    """Sets a value in a tree; returns the section on its path that is a value, where one is."""
    *sections, last = path
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            return section
    tree[last] = value
    return None
