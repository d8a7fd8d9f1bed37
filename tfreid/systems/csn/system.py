"""The system that compares two images at several levels."""

from __future__ import annotations

import keras

from tfrecords.errors import UserError
from tfreid.config import Config
from tfreid.data.pair_batches import PairBatches
from tfreid.data.tables import ImageTable
from tfreid.systems.csn.network import build_csn
from tfreid.systems.csn.objective import PairObjective, check_pair_losses
from tfreid.systems.csn.testing import make_pair_evaluator
from tfreid.training.interfaces import NO_TEST_SPLITS, Evaluator
from tfreid.weights.files import load_weights


class CsnSystem:
    """Pairs, its losses of section `loss`, single-shot CMC or a ranked shortlist.

    The methods are those of `tfreid.training.interfaces.System`.
    """

    unit = "pairs"
    untested = NO_TEST_SPLITS

    def check(self, config: Config, replicas: int) -> None:
        """Refuses losses without a weight, and settings that are for other systems."""
        check_pair_losses(config)
        if config.training.jit_compile:
            raise UserError("training.jit_compile is not available for the CSN; set it to false.")
        if config.training.frozen_backbone_epochs:
            raise UserError("training.frozen_backbone_epochs is for backbones with a head; the CSN "
                            "has none, so set it to 0.")

    def pretraining(self, config: Config) -> None:
        """Returns None: there is one stage."""

    def resolve(self, config: Config, table: ImageTable, replicas: int) -> Config:
        """Changes nothing: the network does not depend on the identities."""
        return config

    def make_batches(self, table: ImageTable, config: Config) -> PairBatches:
        """Makes the batches of pairs."""
        model = config.model
        return PairBatches(table, config.data, model.height, model.width, config.training.seed)

    def steps_per_epoch(self, batches: PairBatches, replicas: int) -> int:
        """Goes once over the pairs."""
        return max(1, batches.batches_per_epoch // replicas)

    def describe(self, table: ImageTable, batches: PairBatches) -> str:
        """Counts images and pairs."""
        return f"{batches.description} {table.place}"

    def build_model(self, config: Config) -> keras.Model:
        """Builds the CSN."""
        return build_csn(config)

    def load_weights(self, model: keras.Model, config: Config) -> None:
        """Loads the weights of another run of the same network."""
        if config.model.weights is not None:
            load_weights(model, config.model.weights)

    def set_backbone_trainable(self, model: keras.Model, trainable: bool) -> None:
        """Does nothing: `check` allows no frozen epochs."""

    def make_objective(self, config: Config, model: keras.Model) -> PairObjective:
        """Makes the sum of the losses."""
        return PairObjective(config.loss, config.csn.levels)

    def make_evaluator(self, model: keras.Model, config: Config) -> Evaluator | None:
        """Makes the evaluator, on validation identities where the records hold such."""
        return make_pair_evaluator(model, config, training=True)
