"""The system that learns one feature of one image."""

from __future__ import annotations

import dataclasses

import keras

from tfrecords.errors import UserError
from tfreid.config import Config, LossConfig
from tfreid.data.pipeline import IdentityBatches
from tfreid.data.records import split_names
from tfreid.data.tables import ImageTable
from tfreid.evaluation.features import Evaluator
from tfreid.models.embedding import build_embedding_model, set_backbone_trainable
from tfreid.systems.csn.testing import make_pair_evaluator
from tfreid.systems.embedding.objective import EmbeddingObjective, check_losses
from tfreid.training.initial_weights import load_initial_weights
from tfreid.training.interfaces import NO_TEST_SPLITS
from tfreid.training.interfaces import Evaluator as AnyEvaluator


class EmbeddingSystem:
    """P x K batches, the losses of the `loss` section, a gallery ranked by feature distance.

    The methods are those of `tfreid.training.interfaces.System`.
    """

    unit = "images"
    untested = NO_TEST_SPLITS

    def check(self, config: Config, replicas: int) -> None:
        """Refuses losses that cannot be had here; see `check_losses`."""
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
            raise UserError("data.sampling=images draws no two images of a person; set it to "
                            "identities, or the weights of all losses but the ID and center loss "
                            "to 0.")

    def pretraining(self, config: Config) -> None:
        """Returns None: there is one stage."""

    def resolve(self, config: Config, table: ImageTable, replicas: int) -> Config:
        """Sets the width of the classifier."""
        identities = int(table.index.labels.max()) + 1
        if config.model.num_identities not in (None, identities):
            raise UserError(
                f"model.num_identities is {config.model.num_identities} but {config.data.records} "
                f"holds {identities} training identities; set it to {identities} or to null."
            )
        return dataclasses.replace(
            config, model=dataclasses.replace(config.model, num_identities=identities)
        )

    def make_batches(self, table: ImageTable, config: Config) -> IdentityBatches:
        """Makes the P x K batches."""
        model = config.model
        return IdentityBatches(
            table, config.data, model.height, model.width, config.training.seed
        )

    def steps_per_epoch(self, batches: IdentityBatches, replicas: int) -> int:
        """Goes once over the number of training images."""
        return max(1, len(batches.table.index) // (batches.batch_size * replicas))

    def describe(self, table: ImageTable, batches: IdentityBatches) -> str:
        """Counts images and identities."""
        return (f"{len(table.index)} images of {table.index.labels.max() + 1} identities "
                f"{table.place}")

    def build_model(self, config: Config) -> keras.Model:
        """Builds the embedding model."""
        return build_embedding_model(config.model)

    def load_weights(self, model: keras.Model, config: Config) -> None:
        """Loads ImageNet's weights, or those of a file but for its classifier."""
        load_initial_weights(model, model, config.model)

    def set_backbone_trainable(self, model: keras.Model, trainable: bool) -> None:
        """Freezes or frees all but the head."""
        set_backbone_trainable(model, trainable)

    def make_objective(self, config: Config, model: keras.Model) -> EmbeddingObjective:
        """Makes the weighted sum of the losses."""
        embedding_size = model.output["embedding"].shape[-1]
        return EmbeddingObjective(config.loss, config.model.num_identities, embedding_size)

    def make_evaluator(self, model: keras.Model, config: Config) -> AnyEvaluator | None:
        """Makes the evaluator, where the records hold a query and a gallery split."""
        if config.evaluation.protocol == "single_shot":
            return make_pair_evaluator(model, config, training=True)
        if {"query", "gallery"} <= set(split_names(config.data.records, config.data.fold)):
            return Evaluator(model, config)
        return None


def _compares_images(config: LossConfig) -> bool:
    addons_weight = config.addons.weight if config.addons.name else 0.0
    return any((config.triplet.weight, config.lin.weight, addons_weight))
