"""The losses of the Siamese network for MARS, by their names."""

from __future__ import annotations

import tensorflow as tf

from tfreid.losses.contrastive import contrastive_from_distance
from tfreid.losses.verification import verification_loss
from tfreid.settings_of_pairs import PairLossConfig

# Losses by which the twins learn from the merge network's logits.
JUDGED = ("verification", "combined")


def siamese_losses(name: str, distance, logits, matches,
                   config: PairLossConfig) -> dict[str, tf.Tensor]:
    """Computes the mean losses of a batch of pairs; training minimises their sum.

    Bojja, "Metric Learning for Person ReIdentification task", Sections 1.5 and 1.9.3.

    Args:
        name: `contrastive` (Eq. 1.1) and `verification` (Eq. 1.2) have weight 1; `combined` is both
            by their weights in the settings; `triplet` compares images and not pairs. With
            `contrastive` and `triplet`, `verification` trains the merge network alone: the caller
            stops the gradient from `logits` to the embeddings.
        distance: Float array [n], Euclidean.
        logits: Float array [n].
        matches: [n] of any numeric type, 1 for positive pairs.
        config: Weights, margin and scale.

    Returns:
        Name of the loss -> scalar.
    """
    weights = {"contrastive": 1.0, "verification": 1.0}
    if name == "combined":
        weights = {"contrastive": config.contrastive_weight, "verification": config.match_weight}
    losses = {}
    if name in ("contrastive", "combined"):
        losses["contrastive"] = weights["contrastive"] * tf.reduce_mean(contrastive_from_distance(
            distance, matches, config.margin, config.contrastive_scale))
    losses["verification"] = weights["verification"] * tf.reduce_mean(
        verification_loss(logits, matches))
    return losses
