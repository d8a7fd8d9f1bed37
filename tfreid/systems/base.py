"""What every system can do, with defaults for what most systems share."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.config import Config, SubsetConfig, flat, stage_config
from tfreid.data.subsets import draw_subset, validation_records
from tfreid.devices import share_gpus
from tfreid.evaluation.evaluator import Evaluation, Evaluator, GalleryEvaluator
from tfreid.evaluation.features import make_feature
from tfreid.evaluation.ranking import RankingResult
from tfreid.evaluation.scoring import EmbeddingScorer, SingleShotEvaluator, scored_splits
from tfreid.evaluation.sources import SourcesEvaluator
from tfreid.evaluation.thresholds import Threshold
from tfreid.models.embedding import build_embedding_model, set_backbone_trainable
from tfreid.models.flops import describe_model
from tfreid.records import ImageTable, JoinedRecords, Records
from tfreid.serving.saved_model import ServedModel
from tfreid.systems.calibration import calibrate
from tfreid.systems.device_export import DeviceExporter, DeviceOptions, Written
from tfreid.systems.distractors import evaluate_distractors
from tfreid.systems.testing import Further, TestSets
from tfreid.training.dropout_noise import Margin
from tfreid.training.interfaces import Batches, Objective
from tfreid.training.run_folder import RunFolder
from tfreid.weights.choice import find_chosen_on
from tfreid.weights.files import load_weights
from tfreid.weights.rendered import find_weights
from tfreid.workers import ALONE, Workers

MARKET_IDENTITIES = 751

# Losses of `system: embedding` alone, off unless somebody asks for them.
_EMBEDDING_LOSSES = tuple(f"loss.{name}" for name in (
    "classifier", "classifier_scale", "classifier_margin", "lin.weight", "circle.weight",
    "multi_similarity.weight", "supervised_contrastive.weight"))


class System:
    """A way to re-identify people, with all its settings.

    A new system is a folder with a subclass and a line in `tfreid/systems/registry.py`. It makes
    batches, a model, an objective and an export. The defaults of the other methods suit a model
    that embeds single images, which `embedding` returns. Mistakes in settings, records or weights
    raise a `UserError`.

    Args:
        config: All settings.
        workers: The processes that train together and share evaluations; by default this one.

    Attributes:
        unit: What a batch consists of, in the plural, for example `images`.
        untested: Why training runs without evaluation when `make_evaluator` returns None.
        validates_images: Whether it can be validated on single images of people who are trained on.
        shares_batch: Whether several devices share a batch, instead of having one each.
        may_lack: Prefixes of weights that no test needs, so that a file may lack them.
    """

    unit = "images"
    untested = "the records hold no query and gallery"
    validates_images = False
    shares_batch = False
    may_lack: tuple[str, ...] = ()

    def __init__(self, config: Config, workers: Workers | None = None):
        if config.evaluation.flip and self.unit == "pairs":
            raise UserError("evaluation.flip is for systems that embed single images; set it to "
                            f"false with system: {config.system}.")
        if config.data.balance_cameras and self.unit != "images":
            raise UserError("data.balance_cameras is for P x K batches; set it to false with "
                            f"system: {config.system}.")
        if config.data.source_balance is not None and self.unit == "pairs":
            raise UserError("data.source_balance is for systems that train on several sources; set "
                            f"it to null with system: {config.system}.")
        if config.system != "embedding":
            refuse_unread(config, _EMBEDDING_LOSSES)
        self.config, self.workers = config, workers or ALONE

    # Training.

    def check(self, replicas: int) -> None:
        """Refuses settings that the system cannot be trained with, before anything is loaded."""

    def pretraining(self) -> Config | None:
        """Returns the settings of the stage before, whose last weights are the initial ones."""
        first = stage_config(self.config)
        if first is None:
            return None
        return dataclasses.replace(first, name=f"{self.config.name} (pretraining)")

    def training_images(self, records: Records | JoinedRecords) -> ImageTable:
        """Loads the training images that `data.subset` selects.

        Raises:
            UserError: If single images are held out for a system that does not validate on them,
                there are fewer than two identities to tell apart, or several sources for a system
                of pairs.
        """
        data, subset = self.config.data, self.config.data.subset
        if subset.validation and subset.validation_by == "image" and not self.validates_images:
            raise UserError("data.subset.validation_by=image is for system: siamese; others rank "
                            "people never trained on, so set it to identity.")
        if isinstance(records, JoinedRecords) and self.unit == "pairs":
            raise UserError(f"data.records names {len(data.folders)} folders, but system: "
                            f"{self.config.system} trains on one, since most pairs of images of "
                            "several would be too easy; name one.")
        everything = subset == SubsetConfig(seed=subset.seed)
        table = records.load_training(data.memory_limit_mb, None if everything else (
            lambda index: draw_subset(index, subset).training))
        if len(np.unique(table.index.labels)) < 2:
            raise UserError(f"{data.named} has only one training identity, from whom nothing can "
                            "be told apart; build records of two or more.")
        return table

    def resolve(self, table: ImageTable, replicas: int) -> Config:
        """Returns the settings with the values that training images and devices determine."""
        return self.config

    def make_batches(self, table: ImageTable) -> Batches:
        """Makes the training batches."""
        raise NotImplementedError

    def steps_per_epoch(self, batches: Batches, replicas: int) -> int:
        """Returns the number of steps in an epoch if `training.steps_per_epoch` is null."""
        return max(1, batches.batches_per_epoch // replicas)

    def build_model(self) -> keras.Model:
        """Builds the model; called under the strategy's scope."""
        raise NotImplementedError

    def load_initial_weights(self, model: keras.Model) -> None:
        """Loads the weights that `model.weights` names, if any."""
        if self.config.model.weights is not None:
            load_weights(model, find_weights(self.config.model.weights,
                                             self.config.model.backbone))

    def set_backbone_trainable(self, model: keras.Model, trainable: bool) -> None:
        """Freezes or unfreezes all but the head, for `training.frozen_backbone_epochs`."""
        set_backbone_trainable(self.embedding(model), trainable)

    def make_objective(self, model: keras.Model) -> Objective:
        """Makes the objective; called under the strategy's scope."""
        raise NotImplementedError

    def margin(self) -> Margin | None:
        """Returns where the loss ends for different identities; by default nowhere."""
        return None

    def make_evaluator(self, model: keras.Model,
                       records: Records | JoinedRecords) -> Evaluator | None:
        """Makes the evaluator used during training, or returns None if there are no images for it.

        It evaluates on held-out identities where there are any, see `validation_records`, and on
        the test images else, or if `training.choose_best_on` asks for them. With several sources it
        evaluates each of those that have the images.
        """
        config, joint = self.config, isinstance(records, JoinedRecords)
        trained = records.trained if joint else {"": records}
        found = {}
        if config.training.choose_best_on == "validation":
            found = {name: validation_records(one, config.data.subset)
                     for name, one in trained.items()}
            found = {name: one for name, one in found.items() if one is not None}
        evaluators = {name: self._make_evaluator(model, one) for name, one in (
            found or (records.tested if joint else trained)).items()}
        return SourcesEvaluator(evaluators) if joint and evaluators else evaluators.get("")

    def _make_evaluator(self, model: keras.Model, records: Records) -> Evaluator | None:
        if self.scores_pairs:
            return self.make_score_evaluator(model, records, training=True)
        if "query" in records and "gallery" in records:
            return self.make_gallery_evaluator(model, records)
        return None

    # Trained weights.

    def load(self, weights: str | Path) -> keras.Model:
        """Builds the model with trained weights: a file, or `rendered`, those of this package.

        Its attribute `chosen_on` says which images chose them, for exports.

        Raises:
            UserError: If the file is missing, or has the weights of another architecture.
        """
        share_gpus()
        file = find_weights(weights, self.config.model.backbone)
        model = self.build_for(file)
        load_weights(model, file, allow_missing=self.may_lack)
        model.chosen_on = find_chosen_on(file)
        return model

    def build_for(self, weights: str) -> keras.Model:
        """Builds the model whose weights a file has; by default `build_model`."""
        return self.build_model()

    def embedding(self, model: keras.Model) -> keras.Model:
        """Returns the embedding model inside one of the system's models; by default the model."""
        return model

    def check_embeds(self) -> None:
        """Raises a `UserError` if the system has no embedding of one image."""

    def load_embedding(self, weights: str | Path) -> keras.Model:
        """Builds the embedding model with trained weights."""
        self.check_embeds()
        return self.embedding(self.load(weights))

    # Testing.

    @property
    def scores_pairs(self) -> bool:
        """Whether tests score pairs of images, rather than rank a gallery by features."""
        return self.config.evaluation.protocol == "single_shot"

    def make_gallery_evaluator(self, model: keras.Model, records: Records) -> GalleryEvaluator:
        """Makes the evaluator that ranks the gallery by features."""
        return GalleryEvaluator(
            self.embedding(model), self.config, records, workers=self.workers)

    def make_score_evaluator(self, model: keras.Model, records: Records,
                             training: bool = False) -> Evaluator | None:
        """Makes the evaluator that scores pairs of images, or returns None; see `scored_splits`."""
        splits = scored_splits(self.config, records, training)
        if splits is None:
            return None
        scorer = EmbeddingScorer(self.embedding(model), self.config, records, self.workers)
        return SingleShotEvaluator(scorer, self.config, records, splits, training)

    def prepare_further_figures(self, model: keras.Model, records: Records, output: Path,
                                thresholds: Path | None) -> Further:
        """Returns a function that computes figures besides the ranking's; by default none."""
        return dict

    def test(self, weights: str | Path, output: str | Path, ranked_queries: int = 8,
             thresholds: Path | None = None,
             records: Sequence[str | Path] = ()) -> dict[str, Evaluation]:
        """Tests weights on one or several sets of test images, prints tables and writes files.

        Args:
            weights: `.weights.h5` file.
            output: Folder for the files; see `TestSets`.
            ranked_queries: Queries in each ranked-list picture, evenly spread; 0 for no pictures.
            thresholds: File of calibrated thresholds, for systems that verify pairs.
            records: Folders of records; see `TestSets`.

        Returns:
            Name of the test set -> its evaluation.
        """
        sets = TestSets(self.config, weights, output, records)
        model = self.load(weights)
        if self.scores_pairs:
            return sets.score(lambda records: self.make_score_evaluator(model, records))
        return sets.rank(lambda test_set: (
            self.make_gallery_evaluator(model, test_set.records),
            self.prepare_further_figures(model, test_set.records, test_set.output, thresholds),
        ), ranked_queries)

    def rank_distractors(self, weights: str | Path, output: str | Path,
                         **options: Any) -> dict[int, RankingResult]:
        """Ranks with more and more distractors in the gallery; see `evaluate_distractors`."""
        if self.scores_pairs:
            raise UserError(
                f"{self.config.name} scores pairs of images; distractors are ranked by the "
                "features of system: embedding, with evaluation.protocol=full.")
        return evaluate_distractors(
            self.config, weights, output, load=lambda: self.load_embedding(weights), **options)

    def calibrate(self, weights: str | Path, output: str | Path, **options: Any) -> Threshold:
        """Finds the largest distance between images of one identity; see `calibrate`."""
        return calibrate(
            self.config, weights, output, load=lambda: self.load_embedding(weights), **options)

    # Verification of pairs.

    def verify_pairs(self, weights: str | Path, output: str | Path, **options: Any) -> dict:
        """Verifies the pairs of a file or of one split; refused by default."""
        raise self._verifies_no_pairs()

    def verify_files(self, weights: str | Path, run: RunFolder | None, *files: str | Path) -> str:
        """Verifies two image files and draws the third, a PNG file; refused by default."""
        raise self._verifies_no_pairs()

    def _verifies_no_pairs(self) -> UserError:
        return UserError(
            f"{self.config.name!r} is of system {self.config.system}, which cannot verify pairs; "
            "give a run of system: siamese (`tfreid calibrate` tests the distances of other "
            "embeddings).")

    # Export, size, speed.

    def export(self, model: keras.Model, output: str | Path, run: RunFolder) -> tuple[Path, str]:
        """Writes the next version of a SavedModel, after checking its signatures against the model.

        Args:
            model: The model with trained weights.
            output: Folder of versions: `output/1`, then `output/2`, ...
            run: The run, whose calibrated thresholds are exported too.

        Returns:
            The version's folder, and a note on the thresholds for the user.

        Raises:
            UserError: If there are no records to check with, the results differ, or the thresholds
                were calibrated for another model.
        """
        raise NotImplementedError

    def export_device(self, model: keras.Model, output: str | Path, run: RunFolder,
                      options: DeviceOptions) -> list[Written]:
        """Writes a model in device formats, each compared with the model; see `DeviceExporter`.

        Raises:
            UserError: If a converter is missing or refuses the model, or results differ.
        """
        return DeviceExporter(model, self.config, self.serve(model, run), options).write(output)

    def serve(self, model: keras.Model, run: RunFolder | None) -> ServedModel:
        """Makes what an export would serve, in this process.

        Args:
            model: The model with trained weights.
            run: The run, whose thresholds are used if they were calibrated for these weights.
        """
        raise NotImplementedError

    def describe_model(self, identities: int = MARKET_IDENTITIES) -> dict[str, Any]:
        """Describes size and cost of the model; by default of the embedding.

        Args:
            identities: Width of the classifier if the recipe leaves it open.
        """
        return describe_model(self.config, build_embedding_model(self.config.model, identities))

    def describe_network(self) -> dict[str, Any]:
        """Names the network that was measured."""
        return {"backbone": self.config.model.backbone}

    def make_extractor(self) -> Callable[[tf.Tensor], Any]:
        """Makes a function with random weights that computes features of images [n, h, w, 3]."""
        model = build_embedding_model(
            self.config.model, self.config.model.num_identities or MARKET_IDENTITIES)
        return make_feature(model, self.config.evaluation)

    def measure_gallery(self, queries: int, gallery: int, pairs: int | None) -> dict[str, Any]:
        """Times comparisons of queries with a gallery; refused by default."""
        raise UserError(
            f"{self.config.name} has system: {self.config.system}; gallery compares pairs, so name "
            "a recipe with system: csn, for example csn_l23.")


def find_set(config: Config, keys: Iterable[str]) -> dict[str, Any]:
    """Returns the defaults of those settings, by dotted name, that have other values."""
    values, defaults = flat(config), flat(Config())
    return {key: defaults[key] for key in keys if values[key] != defaults[key]}


def refuse_unread(config: Config, keys: Iterable[str]) -> None:
    """Refuses settings that the system does not read, where they are not the defaults.

    Args:
        config: All settings.
        keys: Dotted names of those that it does not read.

    Raises:
        UserError: If somebody set one of them.
    """
    for key, default in find_set(config, keys).items():
        raise UserError(f"{key} is {flat(config)[key]}, which system: {config.system} does not "
                        f"read; leave it out, or set it to {json.dumps(default)}.")
