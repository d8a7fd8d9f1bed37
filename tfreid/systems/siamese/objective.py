"""The training objective of the Siamese network."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.config import Config, LossConfig
from tfreid.losses.contrastive import ContrastiveLoss
from tfreid.losses.distances import paired_euclidean
from tfreid.losses.statistics import pair_statistics
from tfreid.losses.verification import VerificationLoss
from tfreid.systems.embedding.objective import make_triplet_loss, mean_triplet
from tfreid.systems.siamese.network import siamese_parts
from tfreid.systems.siamese.pair_picture import draw_small_pair
from tfreid.systems.siamese.scores import sigmoid
from tfreid.training.interfaces import Batch, Objective
from tfreid.training.summaries import Summaries

# Losses in which the twins learn from the merge network's logits.
_JUDGED = ("verification", "combined")
_PICTURES = 16
_PICTURE_COLUMNS = 4
# Steps between pictures; pictures at every logging would fill the disk.
_PICTURE_STEPS = 500


def check_siamese_losses(config: Config) -> None:
    """Refuses settings without a loss.

    Raises:
        UserError: If no loss is named, or a part of the sum has no weight.
    """
    if config.siamese.loss is None:
        raise UserError("siamese.loss is not set; system: siamese takes contrastive, verification, "
                        "combined or triplet.")
    loss = config.loss
    if config.siamese.loss == "combined" and not (loss.contrastive.weight
                                                  and loss.match.weight):
        raise UserError("siamese.loss=combined is the sum of two losses, and one has weight 0; "
                        "set loss.contrastive.weight and loss.match.weight above 0, or "
                        "siamese.loss to the other one.")


class SiameseLosses:
    """Mean losses of a batch of pairs, by name; training minimises their sum.

    Bojja, "Metric Learning for Person ReIdentification task", Sections 1.5 and 1.9.3.

    Args:
        name: `contrastive` (Eq. 1.1) and `verification` (Eq. 1.2) have weight 1; `combined` is both
            with their weights in the settings; `triplet` compares images rather than pairs. With
            `contrastive` and `triplet`, `verification` trains only the merge network: the caller
                stops
            the gradient from `logits` to the embeddings.
        config: Weights, margin and scale.
    """

    def __init__(self, name: str, config: LossConfig):
        weights = ((config.contrastive.weight, config.match.weight) if name == "combined"
                   else (1.0, 1.0))
        self._contrastive_weight, self._verification_weight = weights
        self._compares = name in ("contrastive", "combined")
        self._contrastive_loss = ContrastiveLoss(
            config.contrastive.margin, config.contrastive.scale, reduction="none")
        self._verification_loss = VerificationLoss(reduction="none")

    def __call__(self, distance, logits, matches) -> dict[str, tf.Tensor]:
        """Computes the losses.

        Args:
            distance: Float array [n], Euclidean.
            logits: Float array [n].
            matches: [n] of any numeric type, 1 for positive pairs.

        Returns:
            Name of the loss -> scalar.
        """
        losses = {}
        if self._compares:
            losses["contrastive"] = self._contrastive_weight * tf.reduce_mean(
                self._contrastive_loss.call(matches, distance))
        losses["verification"] = self._verification_weight * tf.reduce_mean(
            self._verification_loss.call(matches, logits))
        return losses


class SiameseObjective(Objective):
    """The loss of `siamese.loss`, and that of the merge network.

    Args:
        config: `siamese.loss` and the section `loss`.
    """

    def __init__(self, config: Config):
        super().__init__(name="objective")
        check_siamese_losses(config)
        self._loss_name = config.siamese.loss
        self._pair_losses = SiameseLosses(self._loss_name, config.loss)
        self._triplet_loss = make_triplet_loss(config.loss)
        self._next_picture = 0

    def forward(self, model: keras.Model,
                batch: Batch) -> tuple[tf.Tensor, dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Computes the loss of a batch of `PairBatches` with labels."""
        images, first, second, matches, labels = batch
        parts = siamese_parts(model)
        embedding = parts.embed(tf.cast(images, tf.float32), training=True)["embedding"]
        sides = {"first": tf.gather(embedding, first), "second": tf.gather(embedding, second)}
        distance = paired_euclidean(sides["first"], sides["second"])
        if self._loss_name not in _JUDGED:
            sides = {side: tf.stop_gradient(value) for side, value in sides.items()}
        logits = parts.compare(sides, training=True)
        outputs = {"embedding": embedding, "distance": distance, "logits": logits}
        loss, scalars = self(outputs, matches, labels)
        return loss, scalars, outputs

    def __call__(self, outputs: dict[str, tf.Tensor], matches: tf.Tensor,
                 labels: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Computes the loss of pairs.

        Args:
            outputs: `embedding` [m, d] of the images, `distance` [n] and `logits` [n] of the pairs.
            matches: [n], 1 for positive pairs, else 0.
            labels: [m], the identities of the images.

        Returns:
            The scalar loss, and the scalars worth plotting, among them `loss/total`.
        """
        distance, logits = outputs["distance"], outputs["logits"]
        losses = self._pair_losses(distance, logits, matches)
        if self._loss_name == "triplet":
            losses["triplet"] = mean_triplet(self._triplet_loss, outputs["embedding"], labels)
        total = tf.add_n(list(losses.values()))
        scalars = {f"loss/{name}": value for name, value in losses.items()}
        right = (logits >= 0) == (matches > 0)
        return total, {**scalars, "loss/total": total, **pair_statistics(right, matches, distance)}

    def watched(self, outputs: dict[str, tf.Tensor], batch: Batch) -> Batch:
        """Returns both images [k, h, w, 3] of some pairs, matches, distances and logits [k]."""
        images, first, second, matches, _ = batch
        sides = [tf.gather(images, side[:_PICTURES]) for side in (first, second)]
        return (*sides, matches[:_PICTURES], outputs["distance"][:_PICTURES],
                outputs["logits"][:_PICTURES])

    def summarize(self, summaries: Summaries, watched: Batch, step: int) -> None:
        """Draws pairs with their distance and probability, about every 500 steps."""
        if step < self._next_picture:
            return
        self._next_picture = step + _PICTURE_STEPS
        first, second, matches, distances, logits = (x.numpy() for x in watched)
        drawn = [draw_small_pair(*pair) for pair in
                 zip(first, second, matches > 0, distances, sigmoid(logits))]
        summaries.images("pairs", np.stack(drawn), step, columns=_PICTURE_COLUMNS)
