"""The system that learns a feature by ranking mined triplets, after classifying identities."""

from __future__ import annotations

import dataclasses

import keras

from tfrecords.errors import UserError
from tfreid.models.embedding import input_size
from tfreid.records import ImageTable
from tfreid.settings import (
    Config,
    LossConfig,
    OptimizerConfig,
    ScheduleConfig,
)
from tfreid.systems.embedding.system import EmbeddingSystem
from tfreid.systems.triplet.batches import TripletBatches
from tfreid.systems.triplet.objective import TripletObjective


class TripletSystem(EmbeddingSystem):
    """Almazan et al., "Re-ID done right" (2018): mined triplets, undistorted images, curriculum.

    Choices where the paper is silent: the gradient of an update is the mean over its triplets; the
    batch norms keep the statistics of the stage before (`ranking.batch_norm`), since an image of a
    size of its own makes no batch; the first stage pools by the average, as the ImageNet networks
    do. The model, its weights and its evaluation are those of the embedding system.
    """

    unit = "triplets"

    def check(self, replicas: int) -> None:
        """Refuses settings that the triplets have no use for."""
        config = self.config
        model, ranking, training = config.model, config.ranking, config.training
        if not model.normalize_embedding or model.classifier:
            raise UserError("system: ranking compares unit vectors and has no classifier; set "
                            "model.normalize_embedding to true and model.classifier to false.")
        if training.jit_compile:
            raise UserError("training.jit_compile is not available with system: ranking, whose "
                            "images differ in size; set it to false.")
        if model.longest_side and config.data.augmentation.crop_aspect_min is not None:
            raise UserError("data.augmentation.crop_aspect_min distorts images that are to keep "
                            "their aspect ratio; set it to null, or model.longest_side.")
        together = ranking.triplets_at_once * replicas
        if ranking.batch_size % together:
            raise UserError(
                f"ranking.batch_size is {ranking.batch_size}, which steps of {together} triplets "
                "(ranking.triplets_at_once on every device) do not make up; choose a multiple.")

    def pretraining(self) -> Config | None:
        """Returns the settings of the training as a classifier of identities."""
        config, first = self.config, self.config.pretraining
        if not first.epochs:
            return None
        model = dataclasses.replace(
            config.model, height=first.height, width=first.width, longest_side=None,
            pooling=first.pooling, embedding_size=None, embedding_head="linear",
            normalize_embedding=False, neck=False, neck_beta=False, classifier=True,
            classifier_bias=True)
        return dataclasses.replace(
            config,
            name=f"{config.name} (pretraining)",
            system="embedding",
            model=model,
            data=dataclasses.replace(
                config.data, sampling="images", images_per_batch=first.batch_size,
                augmentation=first.augmentation),
            loss=LossConfig(smoothing=first.smoothing, triplet_weight=0.0, center_weight=0.0),
            optimizer=OptimizerConfig(
                name="sgd", momentum=first.momentum, weight_decay=first.weight_decay),
            schedule=ScheduleConfig(
                learning_rate=first.learning_rate, warmup_epochs=0, decay="exponential",
                final_rate=first.final_rate),
            training=dataclasses.replace(
                config.training, epochs=first.epochs, steps_per_epoch=None, accumulate_steps=None,
                max_steps=None, frozen_backbone_epochs=0, evaluate_every=0,
                evaluate_untrained=False),
            evaluation=dataclasses.replace(config.evaluation, feature="embedding"),
        )

    def resolve(self, table: ImageTable, replicas: int) -> Config:
        """Sets how many steps make an update, and how many a mining round."""
        config, ranking = self.config, self.config.ranking
        steps = ranking.batch_size // (ranking.triplets_at_once * replicas)
        decided = {"accumulate_steps": steps,
                   "steps_per_epoch": steps * ranking.updates_per_mining}
        for name, value in decided.items():
            given = getattr(config.training, name)
            if given not in (None, value):
                raise UserError(
                    f"training.{name} is {given} but the ranking section and {replicas} device(s) "
                    f"make it {value}; leave it out.")
        return dataclasses.replace(
            config, training=dataclasses.replace(config.training, **decided))

    def make_batches(self, table: ImageTable) -> TripletBatches:
        """Makes the batches of triplets."""
        config = self.config
        return TripletBatches(
            table, config.data, input_size(config.model), config.ranking, config.training.seed)

    def make_objective(self, model: keras.Model) -> TripletObjective:
        """Makes the triplet loss."""
        return TripletObjective(self.config.ranking)
