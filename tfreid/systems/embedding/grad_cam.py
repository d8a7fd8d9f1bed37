"""Grad-CAM of an embedding: which regions of an image determine its dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfreid.config import Config

# Share of the terms that a map sums up; smaller values are rounding errors, not evidence.
_ROUNDING = 1e-5


@dataclass(frozen=True, eq=False)
class AttendedImage:
    """An image, uint8 RGB [h, w, 3], its class activation map [h, w], 0 or above, and a label."""

    image: np.ndarray
    cam: np.ndarray
    label: str = ""


@dataclass(frozen=True, eq=False)
class AttentionRow:
    """Images side by side under a label, for example those of one identity."""

    label: str
    images: Sequence[AttendedImage]


@dataclass(frozen=True, eq=False)
class MatchingDimension:
    """One dimension of two unit vectors: its part in their dot product, and where it looks.

    Attributes:
        number: Index of the dimension, from 0.
        contribution: Product of the two vectors' values.
        cams: Class activation maps of both images, [h, w] each, 0 or above.
    """

    number: int
    contribution: float
    cams: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class MatchingRegions:
    """A pair of images A and B, uint8 RGB [h, w, 3], its cosine similarity and dimensions."""

    images: tuple[np.ndarray, np.ndarray]
    similarity: float
    dimensions: Sequence[MatchingDimension]


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

        Their gradients are accumulated before the map is made. Strong dimensions are far from zero:
        their sign does not matter for similarities.

        Args:
            image: uint8 RGB [h, w, 3], of any size.
            count: Number of dimensions, at most.
            label: Label of the image.
        """
        seen = self._see(image)
        strongest = strongest_dimensions(seen.feature, count)
        weights = dimension_weights(seen.feature, strongest).sum(0, keepdims=True)
        (cam,) = grad_cam(self._head, seen.feature_map, weights)
        return AttendedImage(image, cam, label)

    def compare(self, first: np.ndarray, second: np.ndarray, count: int) -> MatchingRegions:
        """Finds what each of the dimensions that add most to two images' similarity looks at.

        Args:
            first: uint8 RGB [h, w, 3], of any size.
            second: Another, of any size.
            count: Number of dimensions, at most; those that add nothing are omitted.
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


class MapAndHead(NamedTuple):
    """A model cut at its last feature map.

    Attributes:
        to_map: Images [n, height, width, 3] -> the map [n, h, w, c].
        head: The map -> a feature [n, d], not normalised.
    """

    to_map: keras.Model
    head: keras.Model


def cut_at_map(model: keras.Model, feature: str) -> MapAndHead:
    """Cuts an embedding model at its last feature map, which is pooled.

    Args:
        model: What `build_embedding_model` made.
        feature: Name of the output in which the head ends.

    Raises:
        ValueError: If no layer of the model turns maps into vectors.
    """
    pooling = [layer for layer in model.layers if _pools(layer)]
    if not pooling:
        raise ValueError(f"{model.name} has no layer that pools a map [n, h, w, c] to [n, c]")
    # Layers are in the order of the graph: pools of squeeze-and-excitation come before.
    feature_map = pooling[-1].input
    return MapAndHead(keras.Model(model.input, feature_map, name="to_map"),
                      keras.Model(feature_map, model.output[feature], name="head"))


def unit_features(head: keras.Model, feature_map: tf.Tensor) -> tf.Tensor:
    """Computes L2-normalised features [n, d] from maps [n, h, w, c]; zero vectors stay zero."""
    return tf.math.l2_normalize(tf.cast(head(feature_map, training=False), tf.float32), axis=-1)


def grad_cam(head: keras.Model, feature_map: tf.Tensor, weights: np.ndarray) -> np.ndarray:
    """Computes class activation maps of weighted sums of an embedding's dimensions.

    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
    Localization" (ICCV 2017), Eq. 1 and 2, with the score y_i = sum over k of weights[i, k] * f_k
    of the L2-normalised feature f: alpha[i, c] is the mean over the area of dy_i / dA[:, :, c] and
    the map relu(sum over c of alpha[i, c] * A[:, :, c]). One backward pass through the head, over
    copies of the map, computes all sums.

    Args:
        head: Maps [n, h, w, c] -> features [n, d], not normalised.
        feature_map: A, of one image, [1, h, w, c].
        weights: [m, d].

    Returns:
        float32 [m, h, w]; zero where no position is evidence for the score.
    """
    copies = tf.repeat(feature_map, len(weights), axis=0)
    with tf.GradientTape() as tape:
        tape.watch(copies)
        # A copy's features depend on that copy alone.
        score = tf.reduce_sum(unit_features(head, copies) * tf.constant(weights, tf.float32))
    gradients = tf.cast(tape.gradient(score, copies), tf.float32)
    alphas = tf.reduce_mean(gradients, [1, 2])
    area = tf.cast(feature_map[0], tf.float32)
    maps = tf.einsum("mc,hwc->mhw", alphas, area).numpy()
    terms = tf.einsum("mc,hwc->mhw", tf.abs(alphas), tf.abs(area)).numpy()
    return np.where(maps > _ROUNDING * terms.max((1, 2), keepdims=True), maps, 0.0)


def dimension_weights(feature: np.ndarray, dimensions: np.ndarray) -> np.ndarray:
    """Returns the weights [m, d] with which `grad_cam` explains m dimensions, one by one.

    A negative value has weight -1, since it adds to a similarity if it is negative in both images;
    the map then shows what makes the value strong. For features that are not negative, as after a
    ReLU, every weight is 1, as in the paper.

    Args:
        feature: [d].
        dimensions: Indices [m] of the dimensions.
    """
    weights = np.zeros((len(dimensions), len(feature)), np.float32)
    weights[np.arange(len(dimensions)), dimensions] = np.sign(feature[dimensions])
    return weights


def top_contributions(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    """Finds the dimensions that add most to the dot product of two features [d].

    Returns:
        Indices of at most `count` dimensions that add something, greatest product first.
    """
    products = first * second
    order = np.argsort(-products, kind="stable")[:count]
    return order[products[order] > 0.0]


def strongest_dimensions(feature: np.ndarray, count: int) -> np.ndarray:
    """Returns the indices of the `count` dimensions of greatest magnitude, without zeros."""
    order = np.argsort(-np.abs(feature), kind="stable")[:count]
    return order[feature[order] != 0.0]


def _pools(layer: keras.layers.Layer) -> bool:
    """Whether a layer turns one map [n, h, w, c] into vectors [n, c]."""
    if isinstance(layer, keras.layers.InputLayer):
        return False
    shapes = [getattr(tensor, "shape", ()) for tensor in (layer.input, layer.output)]
    return [len(shape) for shape in shapes] == [4, 2]
