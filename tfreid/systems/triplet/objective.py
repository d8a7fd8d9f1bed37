"""The training objective of mined triplets, whose images may differ in size."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import keras
import numpy as np
import tensorflow as tf

from tfreid.losses.triplet_ranking import TripletRankingLoss
from tfreid.systems.triplet.settings import Settings as TripletSettings
from tfreid.training.interfaces import Batch, Objective
from tfreid.training.summaries import Summaries

_PICTURES = 10


class TripletObjective(Objective):
    """The mean loss of triplets (Almazan et al. 2018, Eq. 1), over three streams of shared weights.

    Args:
        config: The section `triplet`.
    """

    def __init__(self, config: TripletSettings):
        super().__init__(name="objective")
        self._config = config
        self._loss = TripletRankingLoss(config.margin, reduction="none")

    def forward(self, model: keras.Model,
                batch: Batch) -> tuple[tf.Tensor, dict[str, tf.Tensor], tf.Tensor]:
        """Computes the loss of a batch of `TripletBatches`; outputs are embeddings [3, n, d]."""
        pixels, groups, places = batch
        training = self._config.batch_norm == "batch"
        embeddings = embed_groups(
            lambda images: model(images, training=training)["embedding"], pixels, groups,
            model.output["embedding"].shape[-1])
        streams = tf.gather(embeddings, places)
        queries, positives, negatives = tf.unstack(streams, 3)
        losses = self._loss.call(places[0], tf.stack([queries, positives, negatives], axis=1))
        loss = tf.reduce_mean(losses)
        return loss, {
            "loss/total": loss,
            "triplet/active_share": tf.reduce_mean(tf.cast(losses > 0.0, tf.float32)),
            "similarity/positive": tf.reduce_mean(tf.reduce_sum(queries * positives, axis=1)),
            "similarity/negative": tf.reduce_mean(tf.reduce_sum(queries * negatives, axis=1)),
        }, streams

    def show_batch(self, summaries: Summaries, batch: Batch) -> None:
        """Draws triplets, a row each, on a grey background if their images differ in size."""
        pixels, groups, places = (part.numpy() for part in batch)
        images = _images(pixels, groups)
        shown = [images[place] for place in places.T[:_PICTURES].reshape(-1)]
        sides = np.array([image.shape[:2] for image in shown]).max(axis=0)
        summaries.images("training triplets", np.stack([_padded(x, *sides) for x in shown]), 0,
                         columns=3)


def embed_groups(embed: Callable[[tf.Tensor], tf.Tensor], pixels: tf.Tensor, groups: tf.Tensor,
                 size: int) -> tf.Tensor:
    """Embeds images of several sizes, each run of images of one size in one pass.

    Args:
        embed: float32 images [n, h, w, 3] -> embeddings [n, size].
        pixels: uint8 RGB images one after the other, [bytes].
        groups: int32 [m, 3], number, height and width of each run of images of one size.
        size: Length of an embedding.

    Returns:
        float32 [images, size], in the order of the images.
    """
    def embedded(pixels, group):
        return embed(tf.cast(tf.reshape(pixels, tf.concat([group, [3]], 0)), tf.float32))

    if groups.shape[0] == 1:
        return embedded(pixels, groups[0])
    ends = tf.cumsum(3 * tf.reduce_prod(groups, axis=1))
    starts = tf.concat([[0], ends[:-1]], axis=0)

    def step(number, found):
        part = pixels[starts[number] : ends[number]]
        return number + 1, found.write(number, embedded(part, groups[number]))

    count = tf.shape(groups)[0]
    found = tf.TensorArray(
        tf.float32, count, infer_shape=False, element_shape=tf.TensorShape([None, size]))
    # Several in parallel, since small groups leave cores idle.
    _, found = tf.while_loop(lambda number, _: number < count, step, (0, found))
    return tf.ensure_shape(found.concat(), [None, size])


def _images(pixels, groups):
    images, start = [], 0
    for count, height, width in groups:
        end = start + 3 * count * height * width
        images.extend(pixels[start:end].reshape(count, height, width, 3))
        start = end
    return images


def _padded(image, height, width):
    below, right = height - image.shape[0], width - image.shape[1]
    return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(128,) * 3)
