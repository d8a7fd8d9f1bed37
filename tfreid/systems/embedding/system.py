"""The system that learns one feature of one image."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import keras
import numpy as np

from tfrecords.errors import UserError
from tfreid.config import Config, LossConfig
from tfreid.data.batches import IdentityBatches
from tfreid.evaluation.thresholds import (
    choose_threshold,
    find_thresholds,
    fitting_thresholds,
    load_thresholds,
)
from tfreid.models.embedding import build_embedding_model
from tfreid.records import ImageTable
from tfreid.serving.saved_model import ServedModel
from tfreid.systems.base import System
from tfreid.systems.embedding.export import ServedEmbedding, export_embedding
from tfreid.systems.embedding.objective import (
    EmbeddingObjective,
    check_losses,
    triplet_margin,
    weighted_batch_losses,
)
from tfreid.training.dropout_noise import Margin
from tfreid.training.initial_weights import load_initial_weights
from tfreid.training.run_folder import RunFolder
from tfreid.weights.files import read_shapes

_CLASSIFIER = "classifier/"


class EmbeddingSystem(System):
    """P x K batches, the losses of the `loss` section, a gallery ranked by feature distance."""

    may_lack = (_CLASSIFIER,)

    def check(self, replicas: int) -> None:
        """Refuses losses that are not available here; see `check_losses`."""
        config = self.config
        check_losses(config.loss, config.training.jit_compile, replicas)
        if config.siamese.loss is not None:
            raise UserError("siamese.loss is for system: siamese; other losses add up by their "
                            "weights, so set it to null.")
        if not config.model.classifier:
            raise UserError("model.classifier=false is for system: triplet; set it to true.")
        if config.model.longest_side is not None:
            raise UserError("model.longest_side makes images of many sizes, which only system: "
                            "triplet can train on; set it to null and give height and width.")
        if config.data.sampling == "images" and _compares_images(config.loss):
            raise UserError("data.sampling=images draws no pairs of an identity; set it to "
                            "identities, or the weights of all losses but the ID and center loss "
                            "to 0.")
        across = any(loss.across_replicas for loss in weighted_batch_losses(config.loss).values())
        if (_compares_images(config.loss) and config.data.identities_per_batch == 1
                and not (across and replicas > 1) and config.data.sampling == "identities"):
            raise UserError("data.identities_per_batch=1 gives batches without negative pairs; set "
                            "it to 2 or more, or the weights of all losses but the ID and center "
                            "loss to 0.")

    def resolve(self, table: ImageTable, replicas: int) -> Config:
        """Sets the width of the classifier."""
        config = self.config
        identities = int(table.index.labels.max()) + 1
        if config.model.num_identities not in (None, identities):
            raise UserError(
                f"model.num_identities is {config.model.num_identities} but "
                f"{config.data.named} holds {identities} training identities; set "
                f"it to {identities} or to null."
            )
        return dataclasses.replace(
            config, model=dataclasses.replace(config.model, num_identities=identities)
        )

    def make_batches(self, table: ImageTable) -> IdentityBatches:
        """Makes the P x K batches, and checks that they hold positive pairs if losses need them."""
        config, model = self.config, self.config.model
        if _compares_images(config.loss):
            _check_positives(table, config)
        return IdentityBatches(
            table, config.data, model.height, model.width, config.training.seed)

    def build_model(self) -> keras.Model:
        """Builds the embedding model."""
        return self._build(self.config.model)

    def _build(self, settings):
        return build_embedding_model(
            settings, cosine_classifier=self.config.loss.classifier != "softmax")

    def load_initial_weights(self, model: keras.Model) -> None:
        """Loads ImageNet weights, or those of a file without its classifier."""
        load_initial_weights(model, model, self.config.model)

    def build_for(self, weights: str) -> keras.Model:
        """Builds the model with a classifier of the width in the file.

        A file without one, for example a converted checkpoint, leaves it untrained; no ranking
        depends on it.
        """
        kernel = read_shapes(weights).get(_CLASSIFIER + "kernel", (0, 1))
        return self._build(dataclasses.replace(self.config.model, num_identities=kernel[-1]))

    def make_objective(self, model: keras.Model) -> EmbeddingObjective:
        """Makes the weighted sum of the losses."""
        embedding_size = model.output["embedding"].shape[-1]
        return EmbeddingObjective(
            self.config.loss, self.config.model.num_identities, embedding_size,
            accumulates=(self.config.training.accumulate_steps or 1) > 1)

    def margin(self) -> Margin | None:
        """Returns that of the triplet loss, if it has a weight."""
        loss = self.config.loss
        return triplet_margin(loss, loss.metric_feature) if loss.triplet.weight else None

    def serve(self, model: keras.Model, run: RunFolder | None) -> ServedModel:
        """Serves embeddings."""
        evaluation = self.config.evaluation
        thresholds = fitting_thresholds(
            model, evaluation.minkowski_p, find_thresholds(run.path)) if run else {}
        same = {metric: one for metric, one in thresholds.items()
                if (one.feature, one.flip) == (evaluation.feature, evaluation.flip)}
        return ServedModel(ServedEmbedding(model, self.config), same)

    def export(self, model: keras.Model, output: str | Path, run: RunFolder) -> tuple[Path, str]:
        """Exports embeddings and, if a threshold was calibrated, verification of pairs."""
        calibrated = find_thresholds(run.path)
        if calibrated is None:
            return export_embedding(model, self.config, output), ""
        threshold = choose_threshold(load_thresholds(calibrated), self.config.evaluation.metric)
        version = export_embedding(model, self.config, output, threshold)
        return version, f"; {calibrated} is in it, for the signature verify_pairs"


def _check_positives(table: ImageTable, config: Config) -> None:
    """Warns of batches with few positive pairs; raises a `UserError` if nothing is learned."""
    counts = np.bincount(table.index.labels)
    able, people = np.count_nonzero(counts > 1), config.data.identities_per_batch
    if not able and not config.loss.id.weight:
        raise UserError(f"{config.data.named}: no training identity has two "
                        "images, so there are no positive pairs to learn from; add images, or set "
                        "loss.id.weight above 0.")
    expected = people * able / len(counts)
    if expected < 2:
        warnings.warn(
            f"of the {people} people of a batch only {expected:.2g} have two images "
            f"({able} of {len(counts)} training identities); the others are compared with "
            "augmented copies of their only image", stacklevel=2)


def _compares_images(config: LossConfig) -> bool:
    addons_weight = config.addons.weight if config.addons.name else 0.0
    return any((weighted_batch_losses(config), addons_weight, config.others))
