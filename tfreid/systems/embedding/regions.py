"""Where an embedding looks: in one image, and in two images that it compares."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfreid.config import Config
from tfreid.systems.embedding.attention import AttendedImage
from tfreid.systems.embedding.grad_cam import (
    cut_at_map,
    dimension_weights,
    grad_cam,
    strongest_dimensions,
    top_contributions,
    unit_features,
)
from tfreid.systems.embedding.matching_regions import MatchingDimension, MatchingRegions


class _Seen(NamedTuple):
    """An image's last feature map [1, h, w, c] and its feature [d], a unit vector."""

    feature_map: tf.Tensor
    feature: np.ndarray


class RegionFinder:
    """Finds the regions of images that an embedding's dimensions look at.

    The analysis of Almazan et al., "Re-ID done right: towards good practices for person
    re-identification" (2018), Section 4.4, with Grad-CAM on the map that the model pools.

    Args:
        model: What `build_embedding_model` made.
        config: Its whole configuration; `evaluation.feature` names the feature.
    """

    def __init__(self, model: keras.Model, config: Config):
        self._to_map, self._head = cut_at_map(model, config.evaluation.feature)
        self.size = int(self._head.output.shape[-1])

    def attend(self, image: np.ndarray, count: int, label: str = "") -> AttendedImage:
        """Finds what the strongest dimensions of an image's feature look at, taken together.

        Their gradients are accumulated before the map is made. Strong is what is far from zero: a
        dimension's sign says nothing in a similarity.

        Args:
            image: uint8 RGB [h, w, 3], of any size.
            count: How many dimensions, at most.
            label: Of the image.
        """
        seen = self._see(image)
        strongest = strongest_dimensions(seen.feature, count)
        weights = dimension_weights(seen.feature, strongest).sum(0, keepdims=True)
        (cam,) = grad_cam(self._head, seen.feature_map, weights)
        return AttendedImage(image, cam, label)

    def compare(self, first: np.ndarray, second: np.ndarray, count: int) -> MatchingRegions:
        """Finds what the dimensions that add most to two images' similarity look at, one by one.

        Args:
            first: uint8 RGB [h, w, 3], of any size.
            second: Another, of any size.
            count: How many dimensions, at most; those that add nothing are left out.
        """
        sides = [self._see(image) for image in (first, second)]
        features = [seen.feature for seen in sides]
        top = top_contributions(*features, count)
        products = features[0] * features[1]
        cams = [grad_cam(self._head, seen.feature_map, dimension_weights(seen.feature, top))
                for seen in sides] if top.size else [(), ()]
        dimensions = [MatchingDimension(int(number), float(products[number]), maps)
                      for number, *maps in zip(top, *cams)]
        return MatchingRegions((first, second), float(products.sum()), dimensions)

    def _see(self, image) -> _Seen:
        feature_map = self._to_map(image[np.newaxis], training=False)
        return _Seen(feature_map, unit_features(self._head, feature_map)[0].numpy())
