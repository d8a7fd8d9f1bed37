"""Reads the CMC curves back that evaluations have written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfrecords.errors import UserError
from tfreid.evaluation.ranking import VARIANTS
from tfreid.evaluation.single_shot import SINGLE_SHOT

_RESULTS = "results.json"
_SUMMARY = "summary.json"


class SavedCurve(NamedTuple):
    """A curve with its name, and what was measured beside it.

    Attributes:
        name: for a legend.
        cmc: float64 [ranks], as fractions.
        mean_ap: the mAP; None for single-shot results, which have none.
        std: float64 [ranks], standard deviation over trials or splits; None where there are none.
    """

    name: str
    cmc: np.ndarray
    mean_ap: float | None = None
    std: np.ndarray | None = None


def read_curves(
    sources: Sequence[str | Path], labels: Sequence[str] | None = None
) -> list[SavedCurve]:
    """Reads the curves of runs, evaluations and summaries of several test sets.

    Args:
        sources: Folders with a `results.json` (or a `summary.json`), or such files.
        labels: A name for each source; None takes the name in the file, or the folder's where it
            has none. Names that several sources share are followed by the folder.

    Returns:
        The curves, in order; other ways to rank (`VARIANTS`) and several test sets each on their
        own, with the source's name before theirs. No two have one name.

    Raises:
        UserError: A source without results, results without a curve, or as many labels as not.
    """
    paths = [find_results(source) for source in sources]
    contents = [read_results(path) for path in paths]
    if labels is None:
        names = [str(content.get("name") or path.parent.resolve().name)
                 for content, path in zip(contents, paths)]
        shared = {name for name, count in Counter(names).items() if count > 1}
        names = [f"{name} ({path.parent})" if name in shared else name
                 for name, path in zip(names, paths)]
    elif len(labels) == len(paths):
        names = list(labels)
    else:
        raise UserError(f"there are {len(labels)} labels for {len(paths)} results; give one each.")
    curves = [curve for name, content, path in zip(names, contents, paths)
              for curve in _curves(name, content, path)]
    repeated = [name for name, count in Counter(c.name for c in curves).items() if count > 1]
    if repeated:
        raise UserError(f"two curves have the name {repeated[0]!r}; name results once, and give "
                        "each its own label.")
    return curves


def find_results(source: str | Path) -> Path:
    """Returns the results file that a folder holds, or that `source` is itself.

    Raises:
        UserError: There is none.
    """
    source = Path(source)
    if source.is_file():
        return source
    for name in (_RESULTS, _SUMMARY):
        if (source / name).is_file():
            return source / name
    raise UserError(f"{source}: no results there (no {_RESULTS}); evaluate the run with "
                    "test_net.py first.")


def read_results(path: Path) -> dict[str, Any]:
    """Reads a results file.

    Raises:
        UserError: It holds no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a results file (no JSON object); give one of test_net.py.")
    return content


def _curves(name: str, content: dict, path: Path) -> list[SavedCurve]:
    if "test_sets" in content:
        return [curve for test_set, figures in content["test_sets"].items()
                for curve in _curves(f"{name}, {test_set}", figures, path)]
    variants = [saved_curve(f"{name}, {title}", content[key], path)
                for key, title in VARIANTS.items() if key in content]
    return [saved_curve(name, content, path), *variants]


def saved_curve(name: str, figures: dict[str, Any], path: Path) -> SavedCurve:
    """Takes the curve of one result out of the content of a results file.

    Raises:
        UserError: There is no curve of fractions, or what its protocol has beside it is missing.
    """
    try:
        cmc = np.asarray(figures["cmc"], np.float64)
        if cmc.ndim != 1 or not cmc.size or not np.all((cmc >= 0) & (cmc <= 1 + 1e-9)):
            raise ValueError("no vector of fractions")
        if figures.get("protocol") != SINGLE_SHOT:
            return SavedCurve(name, cmc, mean_ap=float(figures["mean_ap"]))
        std = np.asarray(figures["cmc_std"], np.float64)
        if std.shape != cmc.shape or not np.all(std >= 0):
            raise ValueError("no deviation for each rank")
        return SavedCurve(name, cmc, std=std)
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: holds no CMC curve; evaluate again with test_net.py.") from None
