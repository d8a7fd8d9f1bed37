"""The losses of the Siamese network for MARS, by their names."""

from __future__ import annotations

import tensorflow as tf

from tfreid.config import LossConfig
from tfreid.losses.contrastive import contrastive_from_distance
from tfreid.losses.verification import verification_loss

# Of these names the merge network's logits are part of what the twins learn from.
JUDGED = ("verification", "combined")


def siamese_losses(name: str, distance, logits, matches,
                   config: LossConfig) -> dict[str, tf.Tensor]:
    """Computes the losses of pairs, as means over the batch; what is minimised is their sum.

    Bojja, "Metric Learning for Person ReIdentification task", Sections 1.5 and 1.9.3.

    Args:
        name: `contrastive` (Eq. 1.1) and `verification` (Eq. 1.2) have weight 1; `combined` is both
            by their weights in the settings; `triplet` compares images and not pairs. With this and
            with `contrastive`, `verification` teaches the merge network alone: the caller cuts
            `logits` off from the embeddings.
        distance: [n] of any floating type, Euclidean.
        logits: [n] of any floating type.
        matches: [n] of any numeric type, 1 where both images show one identity.
        config: The section `loss`: weights, margin and scale.

    Returns:
        name of the loss -> scalar.
    """
    weights = {"contrastive": 1.0, "verification": 1.0}
    if name == "combined":
        weights = {"contrastive": config.contrastive.weight, "verification": config.match.weight}
    losses = {}
    if name in ("contrastive", "combined"):
        losses["contrastive"] = weights["contrastive"] * tf.reduce_mean(contrastive_from_distance(
            distance, matches, config.contrastive.margin, config.contrastive.scale))
    losses["verification"] = weights["verification"] * tf.reduce_mean(
        verification_loss(logits, matches))
    return losses
