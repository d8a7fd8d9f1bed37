"""Recipes: YAML files with `base`, `key.sub=value` overrides, and errors that name the fix."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from tfrecords.errors import UserError
from tfrecords.writing import write_whole
from tfreid.config.config import Config, section_type
from tfreid.config.old_names import new_path, notice, translate
from tfreid.config.recipes import DESCRIPTIONS, find_recipe
from tfreid.config.trees import Tree, merge, set_value

# Floats as people write them: YAML 1.1 reads 1e-4 as text because it has no dot.
_SCIENTIFIC = re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$")


def load_config(
    path: str | Path, overrides: Sequence[str] = (), variants: Sequence[str] = ()
) -> Config:
    """Reads a recipe, lays variants of it on top, then `key.sub=value` overrides.

    Args:
        path: YAML recipe, a file or the name of a shipped one. Its key `base` names another recipe
            that it refines; `pretraining` may also be the name of a recipe, or have a `base`;
            `variants` has trees of settings by name.
        overrides: For example `["data.records=records/market1501",
            "schedule.learning_rate=1e-4"]`.
        variants: Names of variants of the recipe or of its bases, later ones on top. They become
            part of the run's name.

    Returns:
        The validated configuration.

    Raises:
        UserError: If the file is missing or broken, a variant or key is unknown (the message names
            the nearest valid one), or a value has the wrong type or is out of range.

    Example:
    >>> config = tfreid.load_config("bot_osnet_x025", ["schedule.learning_rate=1e-4"])
    >>> config.model.backbone, config.schedule.learning_rate
    ('osnet_x0_25', 0.0001)
    """
    renamed: dict[str, str] = {}
    tree = _read_recipe(find_recipe(str(path)), (), renamed)
    tree = _with_variants(tree, variants, path)
    for override in overrides:
        _apply_override(tree, override, renamed)
    if tree.get("system") == "ranking":  # of an override
        tree["system"] = renamed["system: ranking"] = "triplet"
    stage = tree.get("pretraining")
    if isinstance(stage, dict) and stage.get("training", {}).get("epochs") == 0:
        tree["pretraining"] = None
    if renamed:
        notice(str(path), tuple(renamed.items()))
    config = _validate(tree, str(path))
    stage_config(config, str(path))
    return config


def _with_variants(tree: Tree, names: Sequence[str], path: str | Path) -> Tree:
    known = tree.pop("variants", None) or {}
    for name in names:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise UserError(f"{path}: there is no variant `{name}`; "
                            + (f"the nearest is `{nearest[0]}`." if nearest else "it has none."))
        variant = {key: value for key, value in known[name].items() if key not in DESCRIPTIONS}
        tree = merge(tree, variant)
    if names:
        tree["name"] = "-".join([str(tree.get("name", "run")), *names])
    return tree


def stage_config(config: Config, source: str = "pretraining") -> Config | None:
    """Returns the settings of the stage of training before: `pretraining` laid over the others.

    Args:
        config: The settings.
        source: What an error names first.

    Raises:
        UserError: If the stage's settings are not valid.
    """
    stage = config.pretraining
    if stage is None:
        return None
    tree = {**dataclasses.asdict(config), "pretraining": None}
    return _validate(merge(tree, stage), source, "pretraining.")


def save_config(config: Config, path: str | Path) -> None:
    """Writes the resolved configuration as YAML that `load_config` reads back equal."""
    write_whole(path, yaml.safe_dump(dataclasses.asdict(config), sort_keys=False).encode())


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-4 as a number."""


_CONFIG = TypeAdapter(Config)
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _SCIENTIFIC, list("-+0123456789"))


def _read_recipe(path: Path, seen: tuple[Path, ...], renamed: dict[str, str]) -> Tree:
    """Returns the settings of a recipe by today's names, laid over those of its bases."""
    if path.resolve() in seen:
        raise UserError(f"{path}: its `base` leads back to itself; remove the loop.")
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (safe)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not valid YAML ({reason}).") from None
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise UserError(f"{path}: a recipe is a mapping of settings, not {type(tree).__name__}.")
    variants = tree.get("variants")
    settings = {key: value for key, value in tree.items() if key not in DESCRIPTIONS}
    tree = translate(settings, renamed)
    if variants:
        tree["variants"] = variants
    seen = (*seen, path.resolve())
    stage = tree.get("pretraining")
    if isinstance(stage, str):
        stage = {"base": stage}
    if isinstance(stage, dict):
        stage = _over_base(stage, path, seen, renamed)
        tree["pretraining"] = {key: stage[key] for key in stage if key not in ("name", "variants")}
    return _over_base(tree, path, seen, renamed)


def _over_base(tree: Tree, path: Path, seen: tuple[Path, ...],
               renamed: dict[str, str]) -> Tree:
    base = tree.pop("base", None)
    if base is None:
        return tree
    return merge(_read_recipe(find_recipe(str(base), path.parent), seen, renamed), tree)


def _apply_override(tree: Tree, override: str, renamed: dict[str, str]) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"override `{override}`: write it as key.sub=value.")
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 (safe)
    except yaml.YAMLError:
        raise UserError(f"override `{override}`: its value is not valid YAML.") from None
    blocking = set_value(tree, new_path(tuple(key.split(".")), renamed), value)
    if blocking is not None:
        raise UserError(f"override `{override}`: `{blocking}` is a value, not a section.")


def _validate(tree: Tree, source: str, prefix: str = "") -> Config:
    try:
        text = json.dumps(tree, default=str)
    except (TypeError, ValueError) as error:
        raise UserError(f"{source}: not a plain tree of settings ({error}).") from None
    try:
        # JSON mode in strict form: lists may become lists, but "3" never a number nor true a 1.
        return _CONFIG.validate_json(text, strict=True)
    except ValidationError as error:
        problems = [_explain(problem, prefix) for problem in _distinct(error.errors())]
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
        section = next((section_type(f) for f in dataclasses.fields(section) if f.name == part),
                       None)
    return ".".join(keys)


def _explain(problem: Any, prefix: str) -> str:
    key = _setting(problem["loc"])
    if problem["type"] == "unexpected_keyword_argument":
        close = difflib.get_close_matches(key, list(_all_keys(Config)), n=1, cutoff=0.0)
        return f"unknown setting `{prefix}{key}`; the nearest is `{prefix}{close[0]}`"
    message = problem["msg"]
    value = json.dumps(problem["input"])
    return f"`{prefix}{key}` is {value}: {message[0].lower()}{message[1:]}"


def _all_keys(section: Any, prefix: str = "") -> Any:
    for field in dataclasses.fields(section):
        yield prefix + field.name
        inner = section_type(field)
        if inner is not None:
            yield from _all_keys(inner, f"{prefix}{field.name}.")
