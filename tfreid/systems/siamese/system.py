"""The system that learns from pairs whether two images show one person."""

from __future__ import annotations

import keras

from tfrecords.errors import UserError
from tfreid.config import Config
from tfreid.data.pair_batches import PairBatches
from tfreid.data.tables import ImageTable
from tfreid.models.embedding import HEAD_LAYERS, set_backbone_trainable
from tfreid.systems.siamese.network import build_siamese, siamese_parts
from tfreid.systems.siamese.objective import SiameseObjective, check_siamese_losses
from tfreid.systems.siamese.validation import make_siamese_evaluator
from tfreid.training.initial_weights import load_initial_weights
from tfreid.training.interfaces import Evaluator


class SiameseSystem:
    """Bojja, "Metric Learning for Person ReIdentification task": pairs, the loss of `siamese.loss`.

    The methods are those of `tfreid.training.interfaces.System`.
    """

    unit = "pairs"
    untested = "data.subset.validation is 0"

    def check(self, config: Config, replicas: int) -> None:
        """Refuses losses that leave nothing to learn, and settings that are for other systems."""
        check_siamese_losses(config)
        if config.training.jit_compile:
            raise UserError("training.jit_compile is not available with system: siamese; set it to "
                            "false.")
        if config.loss.triplet.across_replicas:
            raise UserError("loss.triplet.across_replicas is not available with system: siamese; "
                            "set it to false.")
        if config.model.longest_side is not None:
            raise UserError("model.longest_side makes images of many sizes, which system: siamese "
                            "does not pair; set it to null and give height and width.")

    def pretraining(self, config: Config) -> None:
        """Returns None: there is one stage."""

    def resolve(self, config: Config, table: ImageTable, replicas: int) -> Config:
        """Changes nothing: the network does not depend on the identities."""
        return config

    def make_batches(self, table: ImageTable, config: Config) -> PairBatches:
        """Makes the batches of pairs."""
        model = config.model
        return PairBatches(table, config.data, model.height, model.width, config.training.seed,
                           with_labels=True)

    def steps_per_epoch(self, batches: PairBatches, replicas: int) -> int:
        """Goes once over the pairs."""
        return max(1, batches.batches_per_epoch // replicas)

    def describe(self, table: ImageTable, batches: PairBatches) -> str:
        """Counts images and pairs."""
        return f"{batches.description} {table.place}"

    def build_model(self, config: Config) -> keras.Model:
        """Builds the Siamese network."""
        return build_siamese(config)

    def load_weights(self, model: keras.Model, config: Config) -> None:
        """Loads ImageNet's weights, those of another run, or those of an embedding model."""
        load_initial_weights(model, siamese_parts(model).embed, config.model,
                             skip=("classifier", "neck"), heads=(*HEAD_LAYERS, "verdict"))

    def set_backbone_trainable(self, model: keras.Model, trainable: bool) -> None:
        """Freezes or frees the twin but for its head; the merge network always learns."""
        set_backbone_trainable(siamese_parts(model).embed, trainable)

    def make_objective(self, config: Config, model: keras.Model) -> SiameseObjective:
        """Makes the loss."""
        return SiameseObjective(config)

    def make_evaluator(self, model: keras.Model, config: Config) -> Evaluator | None:
        """Makes the evaluator, where something is held out to validate on."""
        return make_siamese_evaluator(model, config)
