"""Hostile recipes and overrides: each generator makes a text from a `Random`."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import yaml

from campaign.damage import ODD_VALUES, damaged
from campaign.runner import Attempt, sentence_problem

# Pieces of YAML that lie, nest, grow or break.
PIECES = (
    "0100", "1:40", "on", "1_000", "0o17", "0x1f", "1e-3", "1e999", "-.inf", ".nan", "~", "null",
    "9" * 6000, "." * 3000, "[" * 2000, "{a: " * 2000, "- " * 2000, "? " * 500, "'", '"', "|", ">",
    "&a [1]", "*a", "!!int 3", "!!python/object/apply:os.system [ls]", "!x", "%YAML 1.1\n---\n",
    "---\n", "...\n", "#", " #", "\t", "\n", "\r", "\0", "\x1b[31m", "\x85", "\u2028", "\ufeff",
    "\ud800", "\U0001f600", '"\\ud800"', '"\\Uffffffff"', '"\\0"', "<<: {a: 1}", ": ", "? ", "- ",
    "a" * 20_000, "base: recipe.yaml\n", "base: /dev/zero\n", "base: " + "a/" * 3000 + "\n",
    "pretraining: classification\n", "pretraining: {base: recipe.yaml}\n", "variants: [a]\n",
    "variants: {a: {a: 1}}\n", "system: ranking\n", "ranking: {margin: 1}\n", "training: 3\n",
    "pretraining: {training: 3}\n", "pretraining: {epochs: 3}\n", "pretraining: {epochs: 0}\n",
)


def odd_value(random: Random) -> Any:
    """A value of YAML that a setting may or may not take."""
    return random.choice(ODD_VALUES if random.random() < 0.5 else (
        0, 1, 2, 3, 16, 257, 2 ** 32, -5, 0.0, 0.1, 1.5, True, False, None, "imagenet", "soft",
        "cosine", "~/x", "1e-4", [2, 3], [True], {"a": 1}))


def odd_key(random: Random) -> str:
    """The name of a setting, a section or an old name, sometimes mistyped."""
    from tfreid.config import all_settings
    from tfreid.config.old_names import RENAMED

    key = random.choice([*all_settings(), *RENAMED, "base", "variants", "about", "a", "", "model"])
    if random.random() < 0.2:
        key = random.choice((
            key[:-1], key + ".x", "pretraining." + key, "." + key, key + ".", key.upper(),
            key * 50, "a." * 5000, key.replace(".", "..", 1), "\x1b[31m" + key))
    return key


def near_default(random: Random) -> str:
    """An override whose value is the setting's default, or near it."""
    from tfreid.config import all_settings

    key, field = random.choice(list(all_settings().items()))
    value = field.default_factory()
    if isinstance(value, bool):
        value = random.random() < 0.5
    elif isinstance(value, (int, float)):
        value = random.choice((value, value + 1, value / 2, 2 * value, -value))
    return f"{key}={json.dumps(value)}"


def override(random: Random) -> str:
    """A `key.sub=value` override."""
    if random.random() < 0.4:
        return near_default(random)
    kind = random.random()
    if kind < 0.4:
        value = json.dumps(odd_value(random))
    elif kind < 0.8:
        value = random.choice(PIECES)
    else:
        letters = "ab01.,:{}[]'\"#&*!|>%@`-? \n\t~=\\"
        value = "".join(random.choices(letters, k=random.randint(0, 30)))
    return odd_key(random) + random.choice(("=", "=", "=", "=", "", "==")) + value


def tree_text(random: Random) -> str:
    """A recipe of settings with odd values."""
    tree: dict[str, Any] = {}
    for _ in range(random.choice((1, 3, 20))):
        *sections, name = odd_key(random).split(".")[:30]
        node = tree
        for part in sections:
            inner = node.setdefault(part, {})
            node = inner if isinstance(inner, dict) else node
        node[name] = odd_value(random)
    if random.random() < 0.5:
        return json.dumps(tree)
    return yaml.safe_dump(tree, default_flow_style=random.choice((True, False, None)),
                          allow_unicode=random.random() < 0.5)


def changed_recipe(random: Random) -> str:
    """A shipped recipe with lines repeated, removed, moved, and odd pieces in them."""
    lines = _shipped(random).splitlines(keepends=True)
    for _ in range(random.choice((1, 1, 2, 10))):
        place = random.randrange(len(lines))
        line = lines[place]
        lines[place] = random.choice((
            "", line * 2, line + random.choice(lines), " " + line, line.lstrip(),
            random.choice(PIECES) + line, line.rstrip("\n") + random.choice(PIECES) + "\n",
            line.partition(":")[0] + ": " + random.choice(PIECES) + "\n"))
    return "".join(lines)


def damaged_recipe(random: Random) -> str:
    """A shipped recipe with damaged bytes."""
    return damaged(_shipped(random).encode(), random).decode(errors="surrogateescape")


def growing(random: Random) -> str:
    """A recipe that takes much time or memory to read, or to complain about."""
    count = random.choice((10, 1000, 20_000))
    return random.choice((
        lambda: "".join(f"unknown_{number}: 1\n" for number in range(count)),
        lambda: "a0: &a0 [x, x]\n" + "".join(
            f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)),
        lambda: "variants:\n" + "".join(f"  v{number}: {{a: 1}}\n" for number in range(count)),
        lambda: "name: '" + "x" * (20 * count) + "'\n",
        lambda: "loss: {others: " + "{a: " * (count // 10) + "1" + "}" * (count // 10) + "}\n",
        lambda: "schedule: {decay_epochs: [" + "1, " * count + "1]}\n",
        lambda: "\n" * count + "a:\n" + "".join(" " * number + "a:\n" for number in range(200)),
        lambda: "".join(random.choice(PIECES) for _ in range(20)),
    ))()


def _shipped(random: Random) -> str:
    from tfreid.config.recipes import shipped_recipes

    recipes = shipped_recipes()
    return recipes[random.choice(sorted(recipes))].read_text(encoding="utf-8")


RECIPES: tuple[Callable[[Random], str], ...] = (
    tree_text, tree_text, changed_recipe, changed_recipe, damaged_recipe, growing)


def settings(folder: Path) -> Attempt:
    """Hostile recipes, overrides and variants: refused, or settings that are saved equal."""
    from tfreid.config import Config, load_config, save_config

    def attempt(random: Random, folder: Path) -> None:
        recipe = folder / "recipe.yaml"
        overrides, variants = [], []
        if random.random() < 0.5:
            recipe.write_bytes(random.choice(RECIPES)(random).encode(errors="surrogatepass"))
            variants = random.choice(([], [], [], ["a"], ["v1", "v2"], ["\x1b[31m"], ["x" * 9999]))
        else:
            recipe.write_text("name: plain\nmodel: {backbone: osnet_x0_25}\n")
            overrides = [override(random) for _ in range(random.choice((1, 1, 2, 9)))]
        with contextlib.redirect_stderr(io.StringIO()) as notices:
            config = load_config(recipe, overrides, variants)
        assert not sentence_problem(notices.getvalue()), notices.getvalue()
        assert isinstance(config, Config)
        save_config(config, folder / "saved.yaml")
        assert load_config(folder / "saved.yaml") == config, "it is saved otherwise"

    return attempt


GROUPS = {"settings": settings}
