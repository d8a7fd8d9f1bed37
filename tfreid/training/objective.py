"""The training objective of an embedding model: ID + triplet + beta * center."""

from __future__ import annotations

import tensorflow as tf

from tfreid.losses.center import center_loss, center_step, center_terms
from tfreid.losses.classification import label_smoothed_softmax
from tfreid.losses.statistics import batch_statistics
from tfreid.losses.triplet import triplet_terms
from tfreid.settings import LossConfig


class EmbeddingObjective(tf.Module):
    """Adds up the losses of one replica's batch, and owns the class centers.

    L = L_ID + L_triplet + beta * L_center, each with its weight (Luo et al., "Bag of Tricks and a
    Strong Baseline for Deep Person Re-identification", 2019, Eq. 6). A loss of weight 0 is not
    computed. Made under the strategy's scope, called in replica context.

    Args:
        config: The `loss` section.
        num_identities: Number of class centers.
        embedding_size: Length of an embedding.
    """

    def __init__(self, config: LossConfig, num_identities: int, embedding_size: int):
        super().__init__(name="objective")
        self._config = config
        self.centers = None
        if config.center_weight:
            # Every replica computes the same centers from the batches of all.
            self.centers = tf.Variable(
                tf.random.stateless_normal((num_identities, embedding_size), seed=(0, 0)),
                trainable=False,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
                name="centers",
            )

    @property
    def mines_across_replicas(self) -> bool:
        """Whether anchors also look for triplets in the other replicas' images."""
        return self._config.triplet_across_replicas and self._config.triplet_weight > 0

    def __call__(
        self, outputs: dict[str, tf.Tensor], labels: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Computes the loss of one batch.

        Args:
            outputs: Of the embedding model, `embedding` [n, d] and `logits` [n, c].
            labels: [n] integers.

        Returns:
            The scalar loss, and the scalars worth plotting, among them `loss/total`.
        """
        config = self._config
        losses = {}
        if config.id_weight:
            entropies = label_smoothed_softmax(outputs["logits"], labels, config.smoothing)
            losses["id"] = config.id_weight * tf.reduce_mean(entropies)
        if config.triplet_weight:
            losses["triplet"] = config.triplet_weight * self._triplet(outputs["embedding"], labels)
        if config.center_weight:
            pulls = center_loss(
                outputs["embedding"], labels, self.centers, config.center_variant
            )
            losses["center"] = config.center_weight * tf.reduce_mean(pulls)
        total = tf.add_n(list(losses.values())) if losses else tf.constant(0.0)
        scalars = {f"loss/{name}": value for name, value in losses.items()}
        predicted = tf.argmax(outputs["logits"], axis=1, output_type=tf.int32)
        scalars["accuracy/id"] = tf.reduce_mean(tf.cast(predicted == labels, tf.float32))
        scalars["loss/total"] = total
        scalars.update(
            batch_statistics(
                outputs["embedding"], labels, config.triplet_margin, config.triplet_normalize
            )
        )
        return total, scalars

    def after_step(self, outputs: dict[str, tf.Tensor], labels: tf.Tensor) -> None:
        """Moves the class centers towards the batches of all replicas."""
        if self.centers is None:
            return
        terms = center_terms(outputs["embedding"], labels, self.centers)
        context = tf.distribute.get_replica_context()
        differences, counts = context.all_reduce(tf.distribute.ReduceOp.SUM, list(terms))
        step = center_step(
            differences, counts, self._config.center_variant, self._config.center_rate
        )
        self.centers.assign_sub(step)

    def _triplet(self, embeddings, labels):
        context = tf.distribute.get_replica_context()
        pool = {}
        if self.mines_across_replicas and context.num_replicas_in_sync > 1:
            pool = {
                "candidates": context.all_gather(embeddings, axis=0),
                "candidate_labels": context.all_gather(labels, axis=0),
                "anchor_offset": context.replica_id_in_sync_group * tf.shape(labels)[0],
            }
        sums, counts = triplet_terms(
            embeddings,
            labels,
            self._config.triplet_margin,
            mining=self._config.triplet_mining,
            normalize=self._config.triplet_normalize,
            **pool,
        )
        return tf.math.divide_no_nan(tf.reduce_sum(sums), tf.reduce_sum(counts))
