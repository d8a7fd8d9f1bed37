"""The training objective of the CSN: classification, contrastive loss and priors of regions."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.config import Config, LossConfig
from tfreid.layers.spatial_transformer import inside_penalty, rotation_penalty, scale_penalty
from tfreid.losses.contrastive import ContrastiveLoss
from tfreid.losses.statistics import pair_statistics
from tfreid.losses.verification import PairSoftmax
from tfreid.systems.csn.inspection import draw_regions
from tfreid.systems.csn.network import map_shape
from tfreid.training.interfaces import Batch, Objective
from tfreid.training.summaries import Summaries

_PICTURES = 16


def check_csn_losses(config: Config) -> None:
    """Refuses settings without any loss.

    Raises:
        UserError: If no loss has a weight.
    """
    losses = config.loss
    if not losses.match.weight and not (losses.contrastive.weight and config.csn.ranking_net):
        raise UserError("no loss has a weight; set loss.match.weight above 0.")


class CsnObjective(Objective):
    """L = L_cls + L_ctr (Guo and Cheung 2018, Eq. 6) and the priors of Section 4.2.

    Args:
        config: The section `loss`.
        levels: The levels that the network compares.
    """

    def __init__(self, config: LossConfig, levels: Sequence[int]):
        super().__init__(name="objective")
        self._config = config
        self._levels = tuple(levels)
        self._match_loss = PairSoftmax(reduction="none")
        self._contrastive_loss = ContrastiveLoss(
            config.contrastive.margin, config.contrastive.scale, reduction="none")

    def forward(self, model: keras.Model,
                batch: Batch) -> tuple[tf.Tensor, dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Computes the loss of a batch of `PairBatches`."""
        images, first, second, matches = batch
        outputs = model(
            {"images": tf.cast(images, tf.float32), "first": first, "second": second},
            training=True,
        )
        loss, scalars = self(outputs, matches)
        return loss, scalars, outputs

    def __call__(self, outputs: dict[str, tf.Tensor],
                 matches: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Computes the loss of pairs.

        Args:
            outputs: Outputs of the CSN.
            matches: [n], 1 for positive pairs, else 0.

        Returns:
            The scalar loss, and the scalars worth plotting, among them `loss/total`.
        """
        config = self._config
        losses = {}
        if config.match.weight:
            entropies = self._match_loss.call(matches, outputs["logits"])
            losses["match"] = config.match.weight * tf.reduce_mean(entropies)
        if "distance" in outputs and config.contrastive.weight:
            pulls = self._contrastive_loss.call(matches, outputs["distance"])
            losses["contrastive"] = config.contrastive.weight * tf.reduce_mean(pulls)
        losses["regions"] = tf.add_n(
            [self._priors(outputs[f"regions_{level}"]) for level in self._levels])
        total = tf.add_n(list(losses.values()))
        scalars = {f"loss/{name}": value for name, value in losses.items()}
        right = tf.argmax(outputs["logits"], axis=1, output_type=tf.int32) == tf.reshape(
            tf.cast(matches, tf.int32), [-1])
        statistics = pair_statistics(right, matches, outputs.get("distance"))
        return total, {**scalars, "loss/total": total, **statistics}

    def watched(self, outputs: dict[str, tf.Tensor], batch: Batch) -> Batch:
        """Returns some images [n, h, w, 3] and the regions [n, p, 6] of every level in them."""
        regions = (outputs[f"regions_{level}"][:_PICTURES] for level in self._levels)
        return (batch[0][:_PICTURES], *regions)

    def summarize(self, summaries: Summaries, watched: Batch, step: int) -> None:
        """Draws the attended regions on images."""
        images, *regions = (x.numpy() for x in watched)
        shapes = {level: map_shape(level, *images.shape[1:3]) for level in self._levels}
        drawn = [draw_regions(image, dict(zip(self._levels, found)), shapes, scale=2)
                 for image, *found in zip(images, *regions)]
        summaries.images("attended_regions", np.stack(drawn), step)

    def _priors(self, regions):
        config = self._config
        return (config.regions.rotation * rotation_penalty(regions)
                + config.regions.scale * scale_penalty(regions)
                + config.regions.inside * inside_penalty(regions))
