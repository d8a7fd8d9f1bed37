"""What a CSN sees in one pair of images: where it looks, what it finds there, and its verdict."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfreid.config import Config
from tfreid.layers.preprocessing import resize_images
from tfreid.systems.csn.comparison import compare_pairs
from tfreid.systems.csn.network import csn_parts, map_shape
from tfreid.systems.csn.scores import simi_score
from tfreid.systems.csn.similarity_maps import LevelDetails, PairDetails


def describe_pair(
    model: keras.Model, config: Config, first: np.ndarray, second: np.ndarray
) -> PairDetails:
    """Compares two images and keeps what lies between them and the score.

    A map of `LevelDetails.maps` is the sum over the channels of one group of similarity maps (Guo
    and Cheung 2018, Eq. 2), before pooling and batch normalisation.

    Args:
        model: What `build_csn` made.
        config: Its whole configuration.
        first: RGB [h, w, 3] in 0-255, of any size.
        second: Another, of any size.

    Returns:
        The details; the score is that of `CsnScorer`.
    """
    shape = (config.model.height, config.model.width)
    images = tf.stack([resize_images(image, *shape) for image in (first, second)])
    parts = csn_parts(model)
    features = parts.extract(images, training=False)
    sides = [{name: value[row : row + 1] for name, value in features.items()} for row in (0, 1)]
    score = config.csn.score
    compared = compare_pairs(parts, *sides, score.both_orders)
    probability = compared["probability"]
    distance = compared.get("distance")
    shown = np.clip(np.rint(images.numpy()), 0, 255).astype(np.uint8)
    return PairDetails(
        images=(shown[0], shown[1]),
        levels={level: _level(level, shape, features, compared) for level in config.csn.levels},
        probability=float(probability[0]),
        distance=None if distance is None else float(distance[0]),
        score=float(simi_score(probability, distance, score)[0]),
    )


def _level(level, image_shape, features, compared) -> LevelDetails:
    regions = features[f"regions_{level}"].numpy()
    similarity = tf.cast(compared[f"similarity_{level}"][0], tf.float32).numpy()
    count = regions.shape[1]
    # Both halves, their parts, and the channels of each.
    groups = similarity.reshape(*similarity.shape[:2], 2, count, -1)
    maps = np.moveaxis(groups.sum(-1), (2, 3), (0, 1))
    return LevelDetails(
        map_shape=map_shape(level, *image_shape),
        regions=(regions[0], regions[1]),
        maps=(maps[0], maps[1]),
        channels=groups.shape[-1],
    )
