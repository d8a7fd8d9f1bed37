"""Testing a Siamese network: verifies pairs of images, and ranks a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np

from tfrecords.errors import UserError
from tfreid.config import Config
from tfreid.evaluation.distances import METRICS, describe_metric
from tfreid.evaluation.evaluator import GalleryEvaluator
from tfreid.evaluation.picture_images import read_file
from tfreid.evaluation.results import write_results_json
from tfreid.evaluation.thresholds import PROBABILITY, fitting_thresholds
from tfreid.records import Records, decode_image, open_records
from tfreid.serving.client import SavedModelClient, exported_thresholds
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


class Judgement(NamedTuple):
    """What was found: probability of one person, the verdict, and metric -> distance."""

    probability: float
    same_person: bool
    distances: dict[str, float]


class Judge(Protocol):
    """Judges pairs.

    Attributes:
        threshold: Logit from which two images show one person.
        note: Where that is from.
    """

    threshold: float
    note: str

    def __call__(self, first: bytes, second: bytes) -> Judgement:
        """Judges two image files.

        Raises:
            UserError: One cannot be decoded.
        """


class RunJudge:
    """Judges by weights; see `Judge`.

    Args:
        model: What `build_siamese` made, with trained weights.
        config: Its whole configuration.
        thresholds: File of calibrated thresholds; one that is not there counts as None.

    Raises:
        UserError: The file holds something else.
    """

    def __init__(self, model: keras.Model, config: Config, thresholds: Path | None):
        found = fitting_thresholds(model, config.evaluation.minkowski_p, thresholds)
        self.threshold, self.note = logit_threshold(found), thresholds_note(found)
        self._scorer = SiameseScorer(model, config)

    def __call__(self, first: bytes, second: bytes) -> Judgement:
        """Judges two image files."""
        place = np.arange(1)
        scores = self._scorer(
            PairSet([first, second], ["the first", "the second"], place, place + 1,
                    np.ones(1, bool), "pair"), progress=False)
        logit = float(scores.logits[0])
        return Judgement(float(sigmoid(logit)), logit >= self.threshold,
                         {name: float(values[0]) for name, values in scores.distances.items()})


class ExportJudge:
    """Judges by an export; see `Judge`.

    Args:
        directory: A version's folder, or the folder of versions, whose highest is taken.

    Raises:
        UserError: There is no SavedModel, or it is of another system.
    """

    def __init__(self, directory: str | Path):
        self._client = SavedModelClient(directory)
        if not self._client.judges:
            raise UserError(f"{directory} gives no verdict on pairs; name the export of a run of "
                            "system: siamese.")
        found = exported_thresholds(self._client.directory)
        self.threshold, self.note = logit_threshold(found), thresholds_note(found)

    def __call__(self, first: bytes, second: bytes) -> Judgement:
        """Judges two image files."""
        found = self._client.verify([first], [second])
        return Judgement(float(found["probability"][0]), bool(found["same_person"][0]),
                         {name: float(found[name][0]) for name in METRICS})


def judge_files(judge: Judge, first: str | Path, second: str | Path, picture: str | Path) -> str:
    """Judges two image files and draws them with the verdict and every distance.

    Args:
        judge: The judge.
        first: JPEG or PNG file.
        second: Another, of any size.
        picture: PNG file of the picture.

    Returns:
        Lines to print.

    Raises:
        UserError: A file cannot be read or holds no whole image.
    """
    files = [read_file(path) for path in (first, second)]
    found = judge(*files)
    verdict = "one person" if found.same_person else "two persons"
    heading = f"{verdict}: probability of one person {found.probability:.4f}"
    draw_verdict(tuple(decode_image(file).numpy() for file in files),
                 (Path(first).name, Path(second).name), heading, found.distances, picture)
    lines = [f"{heading} (from {sigmoid(judge.threshold):.4f} on)", f"threshold: {judge.note}",
             "distances of the embeddings:"]
    lines += [f"  {describe_metric(name, None):12} {value:.6f}"
              for name, value in found.distances.items()]
    return "\n".join(lines)
