"""Results of an evaluation as a text table and as a JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfrecords.manifest import write_json
from tfreid.evaluation.ranking import RankingResult


def results_table(result: RankingResult, protocol: str = "") -> str:
    """Returns a table of the scores, in percent, and of what they were measured on.

    Args:
        result: what `evaluate_ranking` returned.
        protocol: name of the dataset and of the rules, e.g. "Market-1501, single query".
    """
    scores = [(f"rank-{k}", result.rank(k)) for k in (1, 5, 10, 20) if k <= len(result.cmc)]
    scores += [
        ("mAP", result.mean_ap),
        ("mAP (official script, trapezoids)", result.mean_ap_trapezoid),
        ("mINP", result.mean_inp),
    ]
    facts = [
        ("valid queries", f"{result.num_valid_queries:,}"),
        ("skipped queries (no valid match)", f"{result.num_skipped_queries:,}"),
        ("gallery images", f"{result.num_gallery:,}"),
        ("distance", result.metric),
    ]
    if protocol:
        facts.insert(0, ("protocol", protocol))
    blocks = [[(name, f"{100 * value:.2f} %") for name, value in scores], facts]
    return _ruled(blocks)


def write_results_json(path: str | os.PathLike, results: RankingResult | Mapping[str, Any]) -> None:
    """Writes results as JSON, replacing the file in one step.

    Args:
        path: the file; its folder is made if it is missing.
        results: a ranking result, or a mapping of names to plain values, NumPy values, paths and
            ranking results (each written as its `as_dict()`).

    Raises:
        TypeError: a value has no JSON form.
        ValueError: a value is NaN or infinite.
    """
    content = json.loads(json.dumps(results, default=_plain, allow_nan=False))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)


def _ruled(blocks: list[list[tuple[str, str]]]) -> str:
    """Lays out rows of name and value in two columns, with a rule around each block."""
    rows = [row for block in blocks for row in block]
    left = max(len(name) for name, _ in rows)
    right = max(len(value) for _, value in rows)
    rule = "-" * (left + right + 2)
    lines = [rule]
    for block in blocks:
        lines += [f"{name:<{left}}  {value:>{right}}" for name, value in block]
        lines.append(rule)
    return "\n".join(lines)


def _plain(value: Any) -> Any:
    """Turns what `json` does not know into plain Python."""
    if isinstance(value, RankingResult):
        return value.as_dict()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"results hold a {type(value).__name__}, which has no JSON form")
