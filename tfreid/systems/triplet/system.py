"""The system that learns a feature by ranking mined triplets, after classifying identities."""

from __future__ import annotations

import dataclasses
import math

import keras

from tfrecords.errors import UserError
from tfreid.config import Config
from tfreid.models.embedding import input_size
from tfreid.records import ImageTable
from tfreid.systems.embedding.system import EmbeddingSystem
from tfreid.systems.triplet.batches import TripletBatches
from tfreid.systems.triplet.objective import TripletObjective
from tfreid.training.dropout_noise import Margin


class TripletSystem(EmbeddingSystem):
    """Almazan et al., "Re-ID done right" (2018): mined triplets, undistorted images, curriculum.

    Choices where the paper is silent: the gradient of an update is the mean over its triplets; the
    batch norms keep the statistics of the stage before (`triplet.batch_norm`), since images of
    different sizes cannot form a batch; the first stage uses average pooling, like the ImageNet
    networks. Model, weights and evaluation are those of the embedding system.
    """

    unit = "triplets"
    shares_batch = True

    def check(self, replicas: int) -> None:
        """Refuses settings that do not fit triplets."""
        config = self.config
        model, triplet, training = config.model, config.triplet, config.training
        if not model.normalize_embedding or model.classifier:
            raise UserError("system: triplet compares unit vectors and has no classifier; set "
                            "model.normalize_embedding to true and model.classifier to false.")
        if training.jit_compile:
            raise UserError("training.jit_compile is not available with system: triplet, whose "
                            "images differ in size; set it to false.")
        if model.longest_side and config.data.augmentation.crop_aspect_min is not None:
            raise UserError("data.augmentation.crop_aspect_min distorts images, but "
                            "model.longest_side keeps their aspect ratio; set one to null.")
        together = triplet.triplets_at_once * replicas
        if triplet.batch_size % together:
            raise UserError(
                f"triplet.batch_size is {triplet.batch_size} and not a multiple of {together} "
                "(triplet.triplets_at_once on every device); choose a multiple.")

    def resolve(self, table: ImageTable, replicas: int) -> Config:
        """Sets the number of steps in an update and in an epoch."""
        training, triplet = self.config.training, self.config.triplet
        steps = triplet.batch_size // (triplet.triplets_at_once * replicas)
        decided = {}
        for name, value, earlier in (
                ("accumulate_steps", steps, steps),
                # In runs from before `updates_per_epoch` an epoch was a mining round.
                ("steps_per_epoch", steps * triplet.updates_per_epoch,
                 steps * triplet.updates_per_mining)):
            decided[name] = getattr(training, name) or value
            if decided[name] not in (value, earlier):
                raise UserError(
                    f"training.{name} is {decided[name]} but the triplet section and {replicas} "
                    f"device(s) require {value}; leave it out.")
        return dataclasses.replace(
            self.config, training=dataclasses.replace(training, **decided))

    def make_batches(self, table: ImageTable) -> TripletBatches:
        """Makes the batches of triplets."""
        config = self.config
        return TripletBatches(
            table, config.data, input_size(config.model), config.triplet, config.training.seed,
            self.workers)

    def margin(self) -> Margin | None:
        """Returns the distance of unit vectors whose dot product is the margin below 1."""
        triplet = self.config.triplet
        if triplet.batch_norm == "frozen":  # an update runs the network without dropout
            return None
        return Margin(math.sqrt(2 * triplet.margin), f"triplet.margin={triplet.margin:g}")

    def make_objective(self, model: keras.Model) -> TripletObjective:
        """Makes the triplet loss."""
        return TripletObjective(self.config.triplet)
