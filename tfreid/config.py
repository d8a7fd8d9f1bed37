"""Every setting, typed: a YAML recipe, `key.sub=value` overrides, and errors that name the mend."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from tfrecords.errors import UserError
from tfreid.settings import Config

# Floats as people write them: YAML 1.1 reads 1e-4 as text because it has no dot.
_SCIENTIFIC = re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$")


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a recipe and applies `key.sub=value` overrides.

    Args:
        path: YAML recipe. Its key `base` names another recipe, relative to it, that it refines.
        overrides: such as `["data.records=records/market1501", "schedule.learning_rate=1e-4"]`.

    Returns:
        The checked configuration.

    Raises:
        UserError: a missing or broken file, an unknown key (with the nearest valid one), a value
            of the wrong type or out of range.
    """
    tree = _read_recipe(Path(path), seen=())
    for override in overrides:
        _apply_override(tree, override)
    return _validate(tree, source=str(path))


def save_config(config: Config, path: str | Path) -> None:
    """Writes the resolved configuration as YAML that `load_config` reads back equal."""
    temporary = Path(f"{path}.tmp")
    temporary.write_text(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False))
    os.replace(temporary, path)


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-4 as a number."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _SCIENTIFIC, list("-+0123456789"))


def _read_recipe(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise UserError(f"{path}: its `base` leads back to itself; remove the loop.")
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (safe)
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path}: no such recipe; configs/ holds those that ship.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not valid YAML ({reason}).") from None
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise UserError(f"{path}: a recipe is a mapping of settings, not {type(tree).__name__}.")
    base = tree.pop("base", None)
    if base is None:
        return tree
    return _merge(_read_recipe(path.parent / str(base), (*seen, path.resolve())), tree)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


def _apply_override(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"override `{override}`: write it as key.sub=value.")
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 (safe)
    except yaml.YAMLError:
        raise UserError(f"override `{override}`: its value is not valid YAML.") from None
    *sections, last = key.split(".")
    for section in sections:
        inner = tree.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UserError(f"override `{override}`: `{section}` is a value, not a section.")
        tree = inner
    tree[last] = value


def _validate(tree: dict[str, Any], source: str) -> Config:
    try:
        text = json.dumps(tree, default=str)
    except (TypeError, ValueError) as error:
        raise UserError(f"{source}: not a plain tree of settings ({error}).") from None
    try:
        # JSON mode in strict form: lists may become lists, but "3" never a number nor true a 1.
        return TypeAdapter(Config).validate_json(text, strict=True)
    except ValidationError as error:
        problems = [_explain(problem) for problem in _distinct(error.errors())]
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise UserError(f"{source}: {'; '.join(problems[:3])}{more}.") from None


def _distinct(problems: list[Any]) -> list[Any]:
    """Keeps one problem a setting: a union reports one for each of its members."""
    known = {}
    for problem in problems:
        known.setdefault(_setting(problem["loc"]), problem)
    return list(known.values())


def _setting(location: tuple[Any, ...]) -> str:
    """The dotted key of a problem, without the union members that pydantic appends."""
    keys: list[str] = []
    section: Any = Config
    for part in location:
        if not dataclasses.is_dataclass(section):
            break
        keys.append(str(part))
        section = next((_section_type(f) for f in dataclasses.fields(section) if f.name == part),
                       None)
    return ".".join(keys)


def _section_type(field: dataclasses.Field) -> Any:
    factory = field.default_factory
    return factory if dataclasses.is_dataclass(factory) else None


def _explain(problem: Any) -> str:
    key = _setting(problem["loc"])
    if problem["type"] == "unexpected_keyword_argument":
        close = difflib.get_close_matches(key, list(_all_keys(Config)), n=1, cutoff=0.0)
        return f"unknown setting `{key}`; the nearest is `{close[0]}`"
    message = problem["msg"]
    return f"`{key}` is {json.dumps(problem['input'])}: {message[0].lower()}{message[1:]}"


def _all_keys(section: Any, prefix: str = "") -> Any:
    for field in dataclasses.fields(section):
        yield prefix + field.name
        inner = _section_type(field)
        if inner is not None:
            yield from _all_keys(inner, f"{prefix}{field.name}.")
