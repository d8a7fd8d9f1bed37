"""One person or two, in two image files: by a trained run, or by its export."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

import keras
import numpy as np

from tfrecords.errors import UserError
from tfreid.config import Config
from tfreid.evaluation.distances import METRICS, describe_metric
from tfreid.evaluation.picture_images import read_file
from tfreid.evaluation.thresholds import fitting_thresholds
from tfreid.records import decode_image
from tfreid.serving.client import SavedModelClient, exported_thresholds
from tfreid.systems.siamese.pair_picture import draw_verdict
from tfreid.systems.siamese.pair_sets import PairSet
from tfreid.systems.siamese.scores import SiameseScorer, sigmoid
from tfreid.systems.siamese.verdicts import logit_threshold, thresholds_note


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
