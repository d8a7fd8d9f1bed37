"""Testing a Siamese network: verdicts on pairs, and the way in which it ranks a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from tfrecords.errors import UserError
from tfreid.config import Config
from tfreid.evaluation.evaluator import GalleryEvaluator
from tfreid.evaluation.results import write_results_json
from tfreid.evaluation.thresholds import PROBABILITY, fitting_thresholds
from tfreid.records import Records, open_records
from tfreid.systems.base import System
from tfreid.systems.siamese.network import siamese_parts
from tfreid.systems.siamese.pair_sets import PairSet, pairs_of_splits, read_pairs_file
from tfreid.systems.siamese.scores import SiameseScorer, probability_metric, sigmoid
from tfreid.systems.siamese.verdicts import (
    judge,
    logit_threshold,
    thresholds_note,
    verdicts_table,
)
from tfreid.visualization.threshold_plot import draw_pair_distances, draw_roc


def make_siamese_ranker(model: keras.Model, config: Config, records: Records) -> GalleryEvaluator:
    """Makes what ranks a gallery by the twin's features, or by the probability.

    Raises:
        UserError: As `GalleryEvaluator`, or a setting of the evaluation needs a named distance.
    """
    evaluation = config.evaluation
    if evaluation.metric != PROBABILITY:
        return GalleryEvaluator(siamese_parts(model).embed, config, records)
    for setting in ("multi_query", "expansion", "reranking"):
        if getattr(evaluation, setting):
            raise UserError(f"evaluation.{setting} needs a distance of features; set "
                            "evaluation.metric to euclidean or another one instead of probability.")
    return GalleryEvaluator(
        siamese_parts(model).embed, config, records, probability_metric(model))


def verify_pairs(
    system: System,
    weights: str | Path,
    output: str | Path,
    thresholds: Path | None = None,
    pairs_file: str | None = None,
    split: str | None = None,
) -> dict[str, Any]:
    """Judges the pairs of a file or of one split, prints a table and writes files.

    Args:
        system: Its settings; `data.records` names the records of the split.
        weights: `.weights.h5` file.
        output: Folder for `verification.json`, `roc.png` and `pair_probabilities.png`.
        thresholds: File of calibrated thresholds; one that is not there counts as None.
        pairs_file: CSV table of pairs, or None.
        split: Name of a split whose images are paired, where there is no file.

    Returns:
        The figures.

    Raises:
        UserError: A mistake in the settings, the weights, the records or the table.
    """
    config = system.config
    # Mistakes in the pairs are reported before the model is built.
    pairs = read_pairs_file(pairs_file) if pairs_file else pairs_of_splits(
        config, open_records(config.data), [split])
    figures = verify(system.load(weights), config, pairs, Path(output), thresholds)
    write_results_json(Path(output) / "verification.json",
                       {"name": config.name, "weights": str(weights), **figures})
    return figures


def verify(
    model: keras.Model, config: Config, pairs: PairSet, output: Path, thresholds: Path | None
) -> dict[str, Any]:
    """Judges pairs, prints a table and draws `roc.png` and `pair_probabilities.png`.

    Args:
        model: What `build_siamese` made.
        config: Its whole configuration.
        pairs: The pairs.
        output: Folder of the pictures.
        thresholds: File of calibrated thresholds; one that is not there counts as None.

    Returns:
        The figures.
    """
    verdicts = judge(pairs, SiameseScorer(model, config)(pairs))
    calibrated = fitting_thresholds(model, config.evaluation.minkowski_p, thresholds)
    note = thresholds_note(calibrated)
    figures = {**verdicts.figures(calibrated), "thresholds": note}
    print(verdicts_table(figures, note))
    curve = verdicts.curves[PROBABILITY]
    at = curve.at_threshold(-logit_threshold(calibrated))
    name = "calibrated" if calibrated else "undecided"
    draw_roc(curve.false_positive_rates, curve.true_positive_rates, output / "roc.png",
             points={name: (at.false_positive_rate, at.true_positive_rate)}, area=curve.area)
    draw_pair_distances(sigmoid(-curve.distances), curve.positives, curve.negatives,
                        output / "pair_probabilities.png",
                        thresholds={name: figures[PROBABILITY]["threshold"]},
                        label="probability of one person", title="Probabilities of pairs")
    return figures
