"""From weights to tables, JSON and CMC plots, where pairs of images are scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from tfreid.config import Config
from tfreid.data.records import describe_records
from tfreid.evaluation.ranking import RankingResult
from tfreid.evaluation.report import format_single_shot, results_table, write_results_json
from tfreid.models.loading import load_embedding_model, load_model
from tfreid.systems.csn.testing import ScoredPairs, make_pair_evaluator
from tfreid.visualization.cmc_plot import draw_cmc


def scores_pairs(config: Config) -> bool:
    """Whether the evaluation scores pairs of images, rather than rank a gallery by a feature."""
    return config.system == "csn" or config.evaluation.protocol == "single_shot"


def evaluate_pairs(
    config: Config, weights: str | Path, outputs: Mapping[Path, str | Path]
) -> dict[Path, ScoredPairs]:
    """Evaluates weights on one test set or several, prints a table and writes files for each.

    Args:
        config: The settings; `data.records` is not looked at.
        weights: `.weights.h5` file.
        outputs: Folder for `results.json` and `cmc.png` -> the records to test on.

    Returns:
        The folders' evaluations.

    Raises:
        UserError: A mistake in the settings, the weights or the records.
    """
    for records in outputs.values():
        # A wrong folder is told before the model is built.
        describe_records(records, config.data.fold)
    # Single-shot trials know images by one feature, also those of a Siamese network.
    load = load_model if config.system == "csn" else load_embedding_model
    model, config = load(config, weights)
    evaluations = {}
    for output, records in outputs.items():
        data = dataclasses.replace(config.data, records=str(records))
        settings = dataclasses.replace(config, data=data)
        scored = make_pair_evaluator(model, settings).evaluate()
        _write(scored, settings, weights, output)
        evaluations[output] = scored
    return evaluations


def _write(scored: ScoredPairs, config: Config, weights: str | Path, output: Path) -> None:
    result = scored.result
    dataset = describe_records(config.data.records, config.data.fold)
    if isinstance(result, RankingResult):
        protocol = f"{dataset}, single query, shortlist"
        print(results_table(result, protocol))
        curve = {"mean_aps": {config.name: result.mean_ap}}
    else:
        protocol = f"{dataset}, single shot"
        print(format_single_shot(result, protocol))
        curve = {"stds": {config.name: result.std}}
    write_results_json(output / "results.json", {
        "name": config.name, "protocol": protocol, "dataset": dataset.partition(",")[0],
        "split": config.data.fold, "weights": str(weights), **scored.as_dict(),
    })
    draw_cmc({config.name: result.cmc}, output / "cmc.png", **curve)
