"""The losses of the Siamese network for MARS, by their names."""

from __future__ import annotations

import tensorflow as tf

from tfreid.config import LossConfig
from tfreid.losses.contrastive import ContrastiveLoss
from tfreid.losses.verification import VerificationLoss

# Losses by which the twins learn from the merge network's logits.
JUDGED = ("verification", "combined")


class SiameseLosses:
    """Mean losses of a batch of pairs, by name; training minimises their sum.

    Bojja, "Metric Learning for Person ReIdentification task", Sections 1.5 and 1.9.3.

    Args:
        name: `contrastive` (Eq. 1.1) and `verification` (Eq. 1.2) have weight 1; `combined` is both
            by their weights in the settings; `triplet` compares images and not pairs. With
            `contrastive` and `triplet`, `verification` trains the merge network alone: the caller
            stops the gradient from `logits` to the embeddings.
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
                self._contrastive_loss(matches, distance))
        losses["verification"] = self._verification_weight * tf.reduce_mean(
            self._verification_loss(matches, logits))
        return losses
