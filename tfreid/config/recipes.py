"""The shipped recipes: how they are found, what they say of themselves, and their old names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError, nearest, shortened
from tfrecords.files import read_text, regular_file
from tfrecords.storage import as_path, exists, is_file, is_remote
from tfreid.config.notation import MAX_BYTES, parse
from tfreid.config.trees import Tree

FOLDERS = (Path(__file__).parent / "recipes",)
# Keys of a recipe that are no settings: a line on what it is, which initial weights it takes, its
# papers' figures, and deltas by name (each a tree of settings with an `about` and a `paper`).
DESCRIPTIONS = ("about", "initial_weights", "paper", "variants")
_FIX = "name a recipe, a YAML file"
_DATASETS = {
    "market1501": "Market-1501", "dukemtmc": "DukeMTMC-reID", "mars": "MARS", "last": "LaST",
    "person_search": "Person Search", "cuhk01": "CUHK01", "viper": "VIPeR",
}
_SETS = "_(market1501|dukemtmc|person_search)"
# Recipes had a dataset in their name, and a file for each delta: pattern -> recipe and variants.
_OLD = (
    (rf"(bot_\w+|scratch_osnet_x025|done_right_resnet\d+){_SETS}", r"\1"),
    (r"(done_right_resnet\d+)_mars", r"\1 mars"),
    (r"(done_right_resnet\d+)_synthetic", r"\1 scratch"),
    (r"(done_right_osnet_x025)_synthetic", r"\1"),
    (rf"lin_(resnet34|resnet50|se_\w+50){_SETS}", r"lin_\1"),
    (rf"lin_resnet50_ibn_a{_SETS}_(\w+)", r"lin_resnet50_ibn_a \2"),
    (rf"lin_resnet50_ibn_a{_SETS}", r"lin_resnet50_ibn_a"),
    (r"scratch_lin_osnet_x025_market1501", r"scratch_osnet_x025 lin"),
    (r"osnet_x1_0_market1501", r"osnet"),
    (r"osnet_x025_market1501", r"osnet x0_25"),
    (r"report_(\w+)_(market1501|dukemtmc)_to_(market1501|dukemtmc)", r"report_\1 \3 from_\2"),
    (r"report_(\w+)_(market1501|dukemtmc)", r"report_\1 \2"),
    (r"csn_(l\d+)_cuhk03_(detected|labeled)", r"csn_\1"),
    (r"csn_(l\d+)_market1501_cpu", r"csn_\1 market1501 cpu"),
    (r"csn_(l\d+)_(cuhk01|viper|market1501|synthetic)", r"csn_\1 \2"),
    (r"mars_siamese_mars", r"siamese_twin report"),
    (r"mars_siamese_synthetic", r"siamese_twin synthetic"),
    (r"(quickstart|classification)", r"\1"),
)


def find_recipe(name: str, folder: Path = Path()) -> Path:
    """Returns the file of a recipe.

    Args:
        name: Path of a YAML file, relative to `folder`, or the bare name of a shipped recipe.
        folder: Where a path begins.

    Raises:
        UserError: If there is no file; the message has the command for a recipe's old name.
    """
    path = as_path(name) if is_remote(name) else folder / name
    for file in (path, *(shipped / f"{name}.yaml" for shipped in FOLDERS)):
        if is_file(file):
            return file
    if exists(path):
        return regular_file(path, _FIX)
    now = renamed_recipe(Path(name).name)
    if now is not None:
        raise UserError(f"{path}: this recipe is now --config {now[0]}"
                        + "".join(f" --variant {variant}" for variant in now[1:]) + ".")
    raise UserError(f"{shortened(str(path), 300)}: no such recipe; the nearest of those that ship "
                    f"is `{nearest(Path(name).stem, shipped_recipes())}`, and docs/recipes.md "
                    "has them all.")


def read_recipe(path: Path) -> Tree:
    """Returns what a recipe's file has, without its bases.

    Raises:
        UserError: If it cannot be read, or is no mapping; the sentence names file and line.
    """
    tree = parse(read_text(path, _FIX, MAX_BYTES), str(path))
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise UserError(f"{path}: a recipe is a mapping of settings, not {type(tree).__name__}.")
    return tree


def renamed_recipe(old: str) -> list[str] | None:
    """Returns recipe and variants that an old recipe has become, None where there was none."""
    old = old[:-len(".yaml")] if old.endswith(".yaml") else old
    for pattern, new in _OLD:
        match = re.fullmatch(pattern, old)
        if match:
            return match.expand(new).split()
    return None


def shipped_recipes() -> dict[str, Path]:
    """Returns the files of the shipped recipes by name."""
    return {path.stem: path for folder in FOLDERS for path in sorted(folder.glob("*.yaml"))}


def update_tables(text: str) -> str:
    """Returns a document with the tables of recipes as the recipes are.

    A line `<!-- recipes: NAME NAME ... -->` stands before each table.
    """
    parts = re.split(r"(<!-- recipes: .* -->\n)(?:\|.*\n)*", text)
    for number in range(1, len(parts), 2):
        names = parts[number].split()[2:-1]
        parts[number] += "".join(f"{line}\n" for line in _table(names))
    return "".join(parts)


def _table(names: list[str]) -> Iterator[str]:
    yield "| recipe | `--variant` | what | initial weights | on | table | theirs |"
    yield "|---|---|---|---|---|---|---|"
    for name in names:
        tree = read_recipe(find_recipe(name))
        for variant, of in {"": tree, **tree.get("variants", {})}.items():
            weights = of.get("initial_weights", tree.get("initial_weights", "-"))
            weights = weights if weights in ("-", "Keras") else f"`{weights}`"
            for figure in of.get("paper") or [{}]:
                yield _row(f"`{name}`", f"`{variant}`" if variant else "", of.get("about", ""),
                           weights, _DATASETS.get(figure.get("dataset"), figure.get("dataset", "")),
                           figure.get("table", ""), _figure(figure))


def _row(*cells: Any) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _figure(figure: Tree) -> str:
    rank_1, mean_ap = figure.get("rank_1"), figure.get("map")
    if rank_1 is not None and mean_ap is not None:
        return f"{rank_1} / {mean_ap}"
    if mean_ap is not None:
        return f"mAP {mean_ap}"
    return f"{rank_1:.2f}" if rank_1 is not None else figure.get("figure", "-")
