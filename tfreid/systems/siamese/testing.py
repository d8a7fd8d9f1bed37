"""Testing a Siamese network: verifies pairs of images, and ranks a gallery."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from tfrecords.errors import UserError
from tfrecords.image_files import read_file
from tfrecords.storage import as_path
from tfreid.config import Config
from tfreid.evaluation.distances import METRICS, describe_metric
from tfreid.evaluation.evaluator import GalleryEvaluator
from tfreid.evaluation.picture_images import LEAST_SIDE
from tfreid.evaluation.results import write_results_json
from tfreid.evaluation.scoring import take
from tfreid.evaluation.thresholds import PROBABILITY, Threshold, fitting_thresholds
from tfreid.records import Records, decode_image, open_records
from tfreid.serving.client import SignatureClient
from tfreid.serving.image_files import extract_files
from tfreid.systems.base import System
from tfreid.systems.siamese.network import siamese_parts
from tfreid.systems.siamese.pair_picture import draw_verdict
from tfreid.systems.siamese.pair_sets import PairSet, pairs_of_splits, read_pairs_file
from tfreid.systems.siamese.scores import (
    SiameseScorer,
    judge,
    logit_threshold,
    probability_metric,
    sigmoid,
    thresholds_note,
    verdicts_table,
)
from tfreid.visualization.threshold_plot import draw_pair_distances, draw_roc
from tfreid.weights.choice import describe_weights, find_chosen_on

# Outputs of an export -> what Figure 1.3 of the report calls them.
_TERMS = {"similarity_term": "similarity", "dissimilarity_term": "dissimilarity"}


def make_siamese_ranker(model: keras.Model, config: Config, records: Records) -> GalleryEvaluator:
    """Makes the evaluator that ranks a gallery by the twin's features or by the probability.

    Raises:
        UserError: If a setting of the evaluation needs a named distance.
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


def verify_pairs(system: System, weights: str | Path, output: str | Path,
                 thresholds: Path | None = None, pairs_file: str | None = None,
                 split: str | None = None) -> dict[str, Any]:
    """Verifies the pairs of a file or of one split, prints a table and writes files.

    Args:
        system: The system; `data.records` names the records of the split.
        weights: `.weights.h5` file.
        output: Folder for `verification.json`, `roc.png` and `pair_probabilities.png`.
        thresholds: File of calibrated thresholds, which may be missing.
        pairs_file: CSV table of pairs, or None.
        split: Name of a split whose images are paired if there is no file.

    Returns:
        The figures.
    """
    config = system.config
    # Fails for wrong pairs, before the model is built.
    pairs = read_pairs_file(pairs_file) if pairs_file else pairs_of_splits(
        config, open_records(config.data), [split])
    figures = verify(system.load(weights), config, pairs, as_path(output), thresholds)
    chosen_on = find_chosen_on(weights)
    print(f"weights: {describe_weights(weights, chosen_on)}")
    write_results_json(as_path(output) / "verification.json",
                       {"name": config.name, "weights": str(weights),
                        "weights_chosen_on": chosen_on, **figures})
    return figures


def verify(model: keras.Model, config: Config, pairs: PairSet, output: Path,
           thresholds: Path | None) -> dict[str, Any]:
    """Verifies pairs, prints a table and draws it; returns the figures."""
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
                        label="probability of the same person", title="Probabilities of pairs")
    return figures


def verify_files(client: SignatureClient, thresholds: Mapping[str, Threshold], first: str | Path,
                 second: str | Path, picture: str | Path) -> str:
    """Verifies two image files and draws them with the decision and every distance.

    Args:
        client: Asks the signatures of a Siamese network.
        thresholds: Its calibrated thresholds.
        first: Image file.
        second: Another, of any size.
        picture: PNG file of the picture.

    Returns:
        Lines to print.

    Raises:
        UserError: If a file cannot be read, or holds no whole image of a size that is taken.
    """
    paths = (first, second)
    files = [read_file(path, LEAST_SIDE) for path in paths]
    ((_, features),) = extract_files(client, paths, len(paths), "images", files.__getitem__)
    found = client.compare(*(take(features, slice(place, place + 1)) for place in (0, 1)))
    decision = "the same person" if found["same_person"][0] else "different people"
    heading = (f"{decision}: probability of the same person {found['probability'][0]:.4f} "
               f"(threshold {sigmoid(logit_threshold(thresholds)):.4f})")
    # Exports of before have no terms.
    terms = {name: float(found[key][0]) for key, name in _TERMS.items() if key in found}
    distances = {name: float(found[name][0]) for name in METRICS}
    draw_verdict(tuple(decode_image(file).numpy() for file in files),
                 (Path(first).name, Path(second).name), heading, [terms, distances], picture)
    lines = [heading, f"threshold: {thresholds_note(thresholds)}"]
    if terms:
        lines += ["terms of the contrastive loss, the probability in the label's place:",
                  *(f"  {name:12} {value:.6f}" for name, value in terms.items())]
    lines += ["distances of the embeddings:",
              *(f"  {describe_metric(name, None):12} {value:.6f}"
                for name, value in distances.items())]
    return "\n".join(lines)
