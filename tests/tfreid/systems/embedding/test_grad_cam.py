"""Class activation maps, against gradients worked out by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.config import ModelConfig
from tfreid.models.embedding import build_embedding_model
from tfreid.systems.embedding.grad_cam import (
    cut_at_map,
    dimension_weights,
    grad_cam,
    strongest_dimensions,
    top_contributions,
    unit_features,
)

POOLINGS = {"average": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}


def pool_and_dense(kernel, bias, pooling="average"):
    """A head from maps [n, h, w, c] to features [n, d] of known weights."""
    maps = keras.Input((None, None, len(kernel)))
    dense = keras.layers.Dense(len(bias))
    head = keras.Model(maps, dense(POOLINGS[pooling]()(maps)))
    dense.set_weights([np.asarray(kernel, np.float32), np.asarray(bias, np.float32)])
    return head


def test_a_case_on_paper():
    # Average pooling gives (2, 1), the dense layer f = (3, 4), its length is 5, the feature
    # (0.6, 0.8). d0 of the unit feature by f is (1 - 0.36, -0.48) / 5 = (0.128, -0.096); by the
    # pooled values (0.128 - 2 * 0.096, 0.128) = (-0.064, 0.128); by a position a quarter of that.
    head = pool_and_dense([[1, 2], [1, 0]], [0, 0])
    area = np.array([[[4, 4], [0, 0]], [[4, 0], [0, 0]]], np.float32)
    np.testing.assert_allclose(unit_features(head, area[None]), [[0.6, 0.8]], rtol=1e-6)
    (cam,) = grad_cam(head, tf.constant(area[None]), np.array([[1.0, 0.0]]))
    np.testing.assert_allclose(cam, [[4 * 0.016, 0], [0, 0]], rtol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_both_poolings_in_closed_form(pooling):
    random = np.random.default_rng(1)
    kernel, bias = random.normal(size=(4, 6)), random.normal(size=6)
    area = random.normal(size=(3, 2, 4)).astype(np.float32)
    weights = random.normal(size=(5, 6)).astype(np.float32)
    cams = grad_cam(pool_and_dense(kernel, bias, pooling), tf.constant(area[None]), weights)

    pooled = area.mean((0, 1)) if pooling == "average" else area.max((0, 1))
    feature = pooled @ kernel + bias
    length = np.linalg.norm(feature)
    unit = feature / length
    jacobian = (np.eye(6) - np.outer(unit, unit)) / length  # of the unit vector by the feature
    # Either pooling shares out a gradient of 1 over the area, so that its mean is 1 / (h w).
    alphas = weights @ jacobian @ kernel.T / (3 * 2)
    np.testing.assert_allclose(cams, np.maximum(alphas @ area.reshape(6, 4).T, 0).reshape(5, 3, 2),
                               rtol=1e-4, atol=1e-6)
    assert cams.dtype == np.float32 and (cams > 0).any() and (cams == 0).any()


def test_accumulated_gradients_come_before_the_relu():
    random = np.random.default_rng(2)
    head = pool_and_dense(random.normal(size=(4, 6)), random.normal(size=6))
    area = tf.constant(random.normal(size=(1, 3, 2, 4)), tf.float32)
    weights = dimension_weights(unit_features(head, area)[0].numpy(), np.array([0, 3, 4]))
    (together,) = grad_cam(head, area, weights.sum(0, keepdims=True))
    signed = grad_cam(head, area, weights) - grad_cam(head, area, -weights)
    np.testing.assert_allclose(together, np.maximum(signed.sum(0), 0), rtol=1e-4, atol=1e-6)


def test_the_sign_of_a_dimension_changes_nothing():
    random = np.random.default_rng(3)
    kernel, bias = random.normal(size=(4, 6)), random.normal(size=6)
    area = tf.constant(random.normal(size=(1, 3, 2, 4)), tf.float32)
    found = []
    for sign in (1, -1):
        head = pool_and_dense(sign * kernel, sign * bias)
        feature = unit_features(head, area)[0].numpy()
        found.append(grad_cam(head, area, dimension_weights(feature, np.arange(6))))
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-7)


def test_no_evidence_is_zero_and_not_rounding():
    # A unit feature does not change when a map is multiplied, so an even map has no evidence.
    random = np.random.default_rng(4)
    head = pool_and_dense(random.normal(size=(64, 8)), np.zeros(8))
    even = np.broadcast_to(random.uniform(0.1, 3, size=64), (1, 3, 2, 64)).astype(np.float32)
    assert not grad_cam(head, tf.constant(even), np.eye(8)).any()
    dead = grad_cam(head, tf.zeros((1, 3, 2, 64)), np.eye(8))
    assert dead.shape == (8, 3, 2) and not dead.any()


def test_choice_of_dimensions():
    first, second = np.array([0.5, -0.6, 0.1, 0.0, 0.3]), np.array([0.2, -0.5, -0.9, 1.0, 0.4])
    assert top_contributions(first, second, 2).tolist() == [1, 4]
    assert top_contributions(first, second, 5).tolist() == [1, 4, 0]
    assert strongest_dimensions(first, 3).tolist() == [1, 0, 4]
    assert strongest_dimensions(first, 9).tolist() == [1, 0, 4, 2]
    np.testing.assert_array_equal(dimension_weights(first, np.array([1, 0])),
                                  [[0, -1, 0, 0, 0], [1, 0, 0, 0, 0]])


@pytest.mark.parametrize(("head", "feature"), [
    ({"embedding_size": 6, "embedding_head": "linear_bn_relu", "neck": False}, "neck"),
    ({"embedding_size": 6, "pooling": "max"}, "embedding"),
    ({"pooling": "gem"}, "neck"),
])
def test_models_are_cut_at_their_last_map(tiny_backbone, head, feature):
    model = build_embedding_model(
        ModelConfig(backbone=tiny_backbone, height=32, width=16, num_identities=3, **head))
    to_map, behind = cut_at_map(model, feature)
    image = np.random.default_rng(5).integers(0, 256, (1, 50, 20, 3)).astype(np.uint8)
    feature_map = to_map(image, training=False)
    assert feature_map.shape == (1, 16, 8, 8)
    np.testing.assert_allclose(behind(feature_map, training=False),
                               model(image, training=False)[feature], rtol=1e-6)


def test_pools_inside_a_backbone_are_passed_over():
    images = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(images)
    gate = keras.layers.GlobalAveragePooling2D(name="squeeze")(x)
    x = keras.layers.Multiply(name="last")([x, keras.layers.Reshape((1, 1, 4))(gate)])
    outputs = {"neck": keras.layers.GlobalMaxPooling2D()(x)}
    model = keras.Model(images, outputs)
    to_map, _ = cut_at_map(model, "neck")
    assert to_map.layers[-1].name == "last"
    with pytest.raises(ValueError, match="no layer that pools"):
        cut_at_map(keras.Model(images, {"map": keras.layers.Conv2D(4, 3)(images)}), "map")
