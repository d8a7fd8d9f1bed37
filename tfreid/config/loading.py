"""Recipes: YAML files with `base`, `key.sub=value` overrides, and errors that name the fix."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tfrecords.errors import UserError, nearest, shortened
from tfrecords.writing import write_whole
from tfreid.config.config import Config, all_settings, flat, section_type
from tfreid.config.notation import parse, write
from tfreid.config.old_names import new_path, notice, translate
from tfreid.config.recipes import DESCRIPTIONS, find_recipe, read_recipe
from tfreid.config.trees import Tree, leaves, merge, set_value

_CONFIG = TypeAdapter(Config)
_MAX_BASES = 8
_MAX_NAMES = 20  # between the dots of an override


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
    # A stage that is replaced first, so that what is set in it is kept in any order.
    for override in sorted(overrides, key=lambda text: not text.startswith("pretraining=")):
        _apply_override(tree, override, renamed)
    _read_stage(tree, Path(), (), renamed)
    if tree.get("system") == "ranking":  # of an override
        tree["system"] = renamed["system: ranking"] = "triplet"
    stage = tree.get("pretraining")
    training = stage.get("training") if isinstance(stage, dict) else None
    if isinstance(training, dict) and str(training.get("epochs")) == "0":
        tree["pretraining"] = None
    if renamed:
        notice(str(path), tuple(renamed.items()))
    config = _validate(tree, str(path))
    stage_config(config, str(path))
    return config


def _with_variants(tree: Tree, names: Sequence[str], path: str | Path) -> Tree:
    known = tree.pop("variants", {})
    for name in names:
        if name not in known:
            has = f"the nearest is `{shortened(nearest(name, known))}`" if known else "it has none"
            raise UserError(f"{path}: there is no variant `{shortened(name)}`; {has}.")
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


def with_derived(config: Config, derived: Config) -> Config:
    """Returns derived settings whose stage before does not inherit what was derived.

    Args:
        config: The settings as they were read.
        derived: The same with values that follow from records and devices.
    """
    stage = stage_config(config)
    if stage is None:
        return derived
    tree, own, after = copy.deepcopy(config.pretraining), flat(stage), flat(derived)
    for key, value in flat(config).items():
        if key != "pretraining" and after[key] != value:
            set_value(tree, key.split("."), own[key])
    return dataclasses.replace(derived, pretraining=tree)


def save_config(config: Config, path: str | Path) -> None:
    """Writes the resolved configuration as YAML that `load_config` reads back equal."""
    write_whole(path, write(dataclasses.asdict(config)).encode())


def _read_recipe(path: Path, seen: tuple[Path, ...], renamed: dict[str, str]) -> Tree:
    """Returns the settings of a recipe by today's names, laid over those of its bases."""
    if path.resolve() in seen:
        raise UserError(f"{path}: its `base` leads back to itself; remove the loop.")
    if len(seen) > _MAX_BASES:
        raise UserError(f"{path}: more than {_MAX_BASES} recipes have one another as `base`; merge "
                        "some of them.")
    tree = read_recipe(path)
    variants = _variants(tree, path)
    settings = {key: value for key, value in tree.items() if key not in DESCRIPTIONS}
    tree = translate(settings, renamed, str(path))
    if variants:
        tree["variants"] = variants
    seen = (*seen, path.resolve())
    _read_stage(tree, path, seen, renamed)
    return _over_base(tree, path, seen, renamed)


def _read_stage(tree: Tree, path: Path, seen: tuple[Path, ...], renamed: dict[str, str]) -> None:
    """Puts the settings of a stage before in place of the recipe that `pretraining` names."""
    stage = tree.get("pretraining")
    if isinstance(stage, str):
        stage = {"base": stage}
    if isinstance(stage, dict):
        stage = _over_base(stage, path, seen, renamed)
        tree["pretraining"] = {key: stage[key] for key in stage if key not in ("name", "variants")}


def _variants(tree: Tree, path: Path) -> Tree:
    """Returns the trees of a recipe's variants by name."""
    variants = tree.get("variants") or {}
    if not isinstance(variants, dict) or not all(isinstance(variant, dict)
                                                 for variant in variants.values()):
        raise UserError(f"{path}: `variants` must have a mapping of settings for each name.")
    return {str(name): variant for name, variant in variants.items()}


def _over_base(tree: Tree, path: Path, seen: tuple[Path, ...],
               renamed: dict[str, str]) -> Tree:
    base = tree.pop("base", None)
    if base is None:
        return tree
    return merge(_read_recipe(find_recipe(str(base), path.parent), seen, renamed), tree)


def _apply_override(tree: Tree, override: str, renamed: dict[str, str]) -> None:
    source = f"override `{shortened(override)}`"
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"{source}: write it as key.sub=value.")
    names = tuple(key.split("."))
    if len(names) > _MAX_NAMES:
        raise UserError(f"{source}: there is no setting in so many sections.")
    try:
        value = parse(text, source)
    except UserError as error:
        raise UserError(f"{str(error)[:-1]}; {_as_text(key, text)}.") from None
    if " #" in text and not text.lstrip().startswith(("'", '"')):
        raise UserError(f"{source}: what follows # would be a comment; {_as_text(key, text)}.")
    # A section is laid over the recipe's, like a recipe over its base.
    section = value or any(name.startswith(f"{key}.") for name in all_settings())
    laid = leaves(value, names) if isinstance(value, dict) and section else [(names, value)]
    if key == "pretraining" and isinstance(value, str):
        laid = [(names, {"base": value})]  # which may be refined
    for path, leaf in laid:
        blocking = set_value(tree, new_path(path, renamed), leaf)
        if blocking is not None:
            raise UserError(f"{source}: `{shortened(blocking)}` is a value, not a section.")


def _validate(tree: Tree, source: str, prefix: str = "") -> Config:
    try:
        # JSON mode in strict form: lists may become lists, but "3" never a number nor true a 1.
        return _CONFIG.validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        problems = _distinct(error.errors())
        said = "; ".join(_explain(problem, prefix) for problem in problems[:3])
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise UserError(f"{source}: {said}{more}.") from None


def _distinct(problems: list[Any]) -> list[Any]:
    """Keeps one problem a setting: of the members of a union the one that fits furthest."""
    known = {}
    for problem in problems:
        kept = known.setdefault(_setting(problem["loc"]), problem)
        if len(problem["loc"]) > len(kept["loc"]):
            known[_setting(problem["loc"])] = problem
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
    key = shortened(_setting(problem["loc"]))
    if problem["type"] == "unexpected_keyword_argument":
        close = nearest(key, _all_keys(Config))
        return f"unknown setting `{prefix}{key}`; the nearest is `{prefix}{close}`"
    message = problem["msg"]
    value = shortened(json.dumps(problem["input"], default=str))
    said = f"`{prefix}{key}` is {value}: {message[0].lower()}{message[1:]}"
    within = isinstance(problem["loc"][-1], int)  # a list
    plain = problem["type"] == "string_type" and not within and not isinstance(
        problem["input"], (dict, list))
    return f"{said}; {_as_text(prefix + key, value)}" if plain else said


def _as_text(key: str, value: str) -> str:
    """Says how a text is written that YAML reads as something else."""
    quoted = json.dumps(shortened(value), ensure_ascii=False)
    return f"as text it is written {shortened(key)}='{quoted}' here, and quoted in a recipe"


def _all_keys(section: Any, prefix: str = "") -> Any:
    for field in dataclasses.fields(section):
        yield prefix + field.name
        inner = section_type(field)
        if inner is not None:
            yield from _all_keys(inner, f"{prefix}{field.name}.")
