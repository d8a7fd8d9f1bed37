"""The CSN: the paper's sizes, what is shared and what not, its ablations, pairs by positions."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.config import Config, LossConfig, ModelConfig
from tfreid.systems.csn.network import build_csn, csn_parts, map_shape, pair_inputs, pool_level
from tfreid.systems.csn.objective import CsnObjective
from tfreid.systems.csn.settings import Settings as CsnSettings
from tfreid.weights.files import load_weights, save_weights, weight_keys

PAPER = ModelConfig(height=160, width=60)
SMALL = ModelConfig(height=64, width=28)
FIRST, SECOND = np.int32([0, 1, 2, 0, 3]), np.int32([1, 2, 3, 0, 1])


def _images(count=4, shape=SMALL, seed=0):
    random = np.random.default_rng(seed)
    return random.uniform(0, 255, (count, shape.height, shape.width, 3)).astype(np.float32)


def _pairs(images, first=FIRST, second=SECOND):
    return {"images": tf.constant(images), "first": tf.constant(first),
            "second": tf.constant(second)}


def _wake(model, seed=0):
    """Moves the regions, whose last kernels start at zero: nothing before them would learn."""
    random = np.random.default_rng(seed)
    for name, weight in weight_keys(model).items():
        if name.endswith("_region/kernel"):
            weight.assign(random.normal(0.0, 0.02, weight.shape))


def _step(model, csn, images):
    """Loss, and the gradients by the weights' keys, of one step in training mode."""
    objective = CsnObjective(LossConfig(), csn.levels)
    with tf.GradientTape() as tape:
        outputs = model(_pairs(images), training=True)
        loss, _ = objective(outputs, tf.constant([1, 0, 1, 0, 0]))
    gradients = tape.gradient(loss, model.trainable_weights)
    by_id = {id(weight): gradient for weight, gradient in zip(model.trainable_weights, gradients)}
    keyed = {name: by_id[id(weight)] for name, weight in weight_keys(model).items()
             if id(weight) in by_id}
    return float(loss), keyed


@pytest.fixture(scope="module")
def model(small_csn):
    """The small network, its regions and statistics moved off their start."""
    network = small_csn(width=96)
    _wake(network)
    for seed in range(2):
        network(_pairs(_images(seed=seed)), training=True)
    return network


@pytest.fixture(scope="module")
def deep(paper_csn):
    """The network of three levels, as built for the paper's images."""
    return paper_csn(2, 3, 4)


@pytest.fixture(scope="module")
def outputs(model):
    return model(_pairs(_images()), training=False)


def test_sizes_of_the_paper(deep):
    parts = csn_parts(deep)
    images = _images(2, PAPER)
    features = parts.extract(images, training=False)
    shapes = {name: tuple(value.shape[1:]) for name, value in features.items()}
    assert shapes == {
        "map_2": (40, 15, 96), "map_3": (20, 8, 96), "map_4": (20, 8, 96),
        "parts_2": (3, 10, 10, 96), "parts_3": (3, 5, 5, 96), "parts_4": (3, 5, 5, 96),
        "regions_2": (3, 6), "regions_3": (3, 6), "regions_4": (3, 6), "descriptor": (256,),
    }
    assert tuple(parts.decide.inputs[0].shape[1:]) == (10, 4, 1152 * 3 // 2)
    found = deep(_pairs(images, np.int32([0]), np.int32([1])), training=False)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "similarity_2": (1, 40, 15, 576), "similarity_3": (1, 20, 8, 576),
        "similarity_4": (1, 20, 8, 576), "logits": (1, 2), "distance": (1,),
        "regions_2": (2, 3, 6), "regions_3": (2, 3, 6), "regions_4": (2, 3, 6),
    }
    for level in (2, 3, 4):
        assert map_shape(level, 160, 60) == tuple(features[f"map_{level}"].shape[1:3])


@pytest.mark.parametrize("height, width", [(160, 60), (64, 24), (128, 64), (100, 45), (51, 37)])
def test_levels_meet_at_one_size_cell_by_cell(height, width):
    """A cell of level 2's pooled map covers the cells under the same cell of level 3's."""
    fine, coarse = map_shape(2, height, width), map_shape(3, height, width)
    marks = np.zeros((1, *fine, 1), np.float32)
    for row, column in np.ndindex(fine):
        marks[:] = 0.0
        marks[0, row, column] = 1.0
        below = np.zeros((1, *coarse, 1), np.float32)
        below[0, row // 2, column // 2] = 1.0
        np.testing.assert_array_equal(pool_level(2, marks), pool_level(3, below))
    assert pool_level(4, below).shape == pool_level(2, marks).shape


ABLATIONS = [
    {"levels": levels, "divide": divide, "attention": attention, "ranking_net": ranking_net,
     "similarity": similarity}
    for levels, divide, attention, ranking_net, similarity in [
        ([2], True, "transformer", True, "sum"), ([2, 3], True, "transformer", False, "cosine"),
        ([2, 3, 4], False, "transformer", True, "sum"), ([3, 4], True, "center", True, "sum"),
        ([4], False, "center", False, "sum"), ([2, 3, 4], True, "transformer", True, "cosine"),
    ]
]


@pytest.mark.parametrize("csn", ABLATIONS, ids=lambda csn: "-".join(map(str, csn.values())))
def test_every_ablation_learns_with_all_its_weights(small_csn, csn):
    network = small_csn(seed=1, **csn)
    settings = CsnSettings(**csn)
    images = _images()
    _wake(network)
    loss, gradients = _step(network, settings, images)
    assert np.isfinite(loss)
    for name, gradient in gradients.items():
        assert gradient is not None, name
        values = tf.convert_to_tensor(gradient).numpy()
        assert np.isfinite(values).all() and np.abs(values).max() > 0, name
    parts = 3 if settings.divide else 1
    found = network(_pairs(images), training=False)
    assert ("distance" in found) == settings.ranking_net
    for level in settings.levels:
        similarity = found[f"similarity_{level}"].numpy()
        assert similarity.shape[-1] == 2 * parts * 24
        assert (np.abs(similarity).max() <= 1.0 + 1e-5) == (settings.similarity == "cosine")
        assert found[f"regions_{level}"].shape == (4, parts, 6)
    assert any("loc" in name for name in gradients) == (settings.attention == "transformer")


def test_only_the_convolutions_that_a_level_needs_are_there(small_csn):
    alone = {"divide": False, "attention": "center", "ranking_net": False}
    for csn, wanted in (({"levels": [2]}, {"conv1", "conv2"}),
                        ({"levels": [3]}, {"conv1", "conv2", "conv3"}),
                        ({"levels": [4], **alone}, {"conv1", "conv2", "conv3", "conv3_extension"})):
        names = {key.split("/")[0] for key in weight_keys(small_csn(**csn))}
        trunk = {"conv1", "conv2", "conv3", "conv3_extension"}
        assert names & trunk == wanted


def test_localisation_nets_are_apart_and_the_second_ranking_convolution_is_shared(deep):
    keys = weight_keys(deep)
    for level, name in itertools.product((2, 3, 4), ("conv1", "conv2", "conv3", "region")):
        assert f"loc{level}_{name}/kernel" in keys
    ranking = [key for key in keys if key.startswith("rank") and key.endswith("/kernel")]
    firsts = [f"rank{level}_conv1/kernel" for level in (2, 3, 4)]
    assert sorted(ranking) == [*firsts, "rank_conv2/kernel", "rank_fc/kernel"]
    assert {keys[name].shape for name in ranking[:-1]} == {(3, 3, 96, 96)}
    norms = {key.split("/")[0] for key in keys if key.startswith("rank") and "_bn" in key}
    assert norms == {f"rank{level}_{name}" for level in (2, 3, 4) for name in ("conv1_bn", "bn2")}


def test_one_localisation_net_serves_all_stripes(model):
    """Each stripe of an image that repeats itself gets the same region, statistics at rest."""
    rows = np.random.default_rng(5).uniform(0, 255, (1, 16, 28, 3)).astype(np.float32)
    image = np.tile(rows, (1, 4, 1, 1))  # period 16: four cells of level 2, the stripes' distance
    regions = csn_parts(model).extract(image, training=False)["regions_2"].numpy()[0]
    # Only the border tells the upper and the bottom stripe from the middle one.
    assert np.abs(regions[0] - regions[1]).max() < 0.05


def test_descriptors_are_unit_vectors_and_distances_theirs(model, outputs):
    descriptors = csn_parts(model).extract(_images(), training=False)["descriptor"].numpy()
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, rtol=1e-5)
    expected = np.linalg.norm(descriptors[FIRST] - descriptors[SECOND], axis=1)
    np.testing.assert_allclose(outputs["distance"].numpy(), expected, atol=1e-5)
    assert outputs["distance"].numpy()[3] == 0  # an image with itself


def test_pairs_by_positions_equal_pairs_by_separate_calls(model, outputs):
    parts, images = csn_parts(model), _images()
    for place, (first, second) in enumerate(zip(FIRST, SECOND)):
        sides = [parts.extract(images[i : i + 1], training=False) for i in (first, second)]
        alone = parts.compare(pair_inputs(*sides), training=False)
        for name, value in alone.items():
            np.testing.assert_allclose(outputs[name].numpy()[place], value.numpy()[0],
                                       rtol=1e-3, atol=1e-3, err_msg=name)


def test_exchanged_images_exchange_the_halves_and_keep_the_distance(model, outputs):
    swapped = model(_pairs(_images(), SECOND, FIRST), training=False)
    for level in (2, 3):
        halves = np.split(swapped[f"similarity_{level}"].numpy(), 2, -1)
        np.testing.assert_allclose(np.concatenate(halves[::-1], -1),
                                   outputs[f"similarity_{level}"].numpy(), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(swapped["distance"].numpy(), outputs["distance"].numpy(), atol=1e-6)


def test_statistics_see_each_image_once_however_many_pairs_it_is_in(small_csn):
    """The trunk's moving averages do not change with the pairs."""
    images, means = _images(), []
    for first, second in ((FIRST, SECOND), (np.int32([0, 0, 0]), np.int32([1, 1, 2]))):
        network = small_csn(seed=99, width=96)
        network(_pairs(images, first, second), training=True)
        means.append(weight_keys(network)["conv2_bn/moving_mean"].numpy())
    np.testing.assert_allclose(*means, rtol=1e-5, atol=1e-6)
    assert np.abs(means[0]).max() > 0


def _center(shape, levels):
    """The features' side of a network that cuts the middle of each stripe."""
    csn = CsnSettings(width=24, levels=levels, attention="center", ranking_net=False)
    return csn_parts(build_csn(Config(system="csn", model=shape, csn=csn))).extract


def test_the_center_is_the_integer_crop_of_each_stripe():
    """Rows 6 to 15 of level 2's stripes of 20; 64 columns make 16, of which 10 are cut whole."""
    shape = ModelConfig(height=160, width=64)
    features = _center(shape, [2])(_images(2, shape), training=False)
    maps = features["map_2"].numpy()
    for place, start in enumerate((0, 10, 20)):
        np.testing.assert_allclose(features["parts_2"].numpy()[:, place],
                                   maps[:, start + 5 : start + 15, 3:13], atol=1e-4)


def test_an_untrained_transformer_cuts_what_the_center_does(deep):
    images = _images(1, PAPER)
    learnt = csn_parts(deep).extract(images, training=False)
    fixed = _center(PAPER, [2, 3])(images, training=False)
    for level in (2, 3):
        np.testing.assert_allclose(learnt[f"regions_{level}"].numpy(),
                                   fixed[f"regions_{level}"].numpy(), atol=1e-6)


def test_weights_come_back_from_a_file(small_csn, model, outputs, tmp_path):
    path = str(tmp_path / "csn.weights.h5")
    save_weights(model, path)
    other = small_csn(seed=99, width=96)
    assert not np.allclose(other(_pairs(_images()), training=False)["logits"], outputs["logits"])
    report = load_weights(other, path)
    assert len(report.loaded) == len(model.weights) == 91
    for name, value in other(_pairs(_images()), training=False).items():
        np.testing.assert_allclose(value.numpy(), outputs[name].numpy(), rtol=1e-4, atol=1e-4)


def test_keys_of_the_weights_are_the_layers_names(deep):
    keys = weight_keys(deep)
    norms = ("gamma", "beta", "moving_mean", "moving_variance")
    convolutions = ["conv1", "conv2", "conv3", "conv3_extension", "conv4", "conv5", "conv6"]
    convolutions += [f"loc{level}_conv{n}" for level in (2, 3, 4) for n in (1, 2, 3)]
    convolutions += [f"rank{level}_conv1" for level in (2, 3, 4)]
    expected = {f"{name}/kernel" for name in (*convolutions, "rank_conv2")}
    normed = [f"{name}_bn" for name in convolutions] + ["similarity_bn"]
    normed += [f"rank{level}_bn2" for level in (2, 3, 4)]
    expected |= {f"{name}/{kind}" for name in normed for kind in norms}
    dense = ["rank_fc", "match", "loc2_region", "loc3_region", "loc4_region"]
    expected |= {f"{name}/{kind}" for name in dense for kind in ("kernel", "bias")}
    assert set(keys) == expected


def test_images_of_any_size_are_resized(model):
    found = model(_pairs(_images(4, ModelConfig(height=80, width=40))), training=False)
    assert np.isfinite(found["logits"].numpy()).all()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy, model, outputs):
    keras.mixed_precision.set_global_policy(policy)
    try:
        network = build_csn(Config(system="csn", model=SMALL))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    for mine, value in zip(weight_keys(network).values(), weight_keys(model).values()):
        mine.assign(value)
    found = network(_pairs(_images()), training=False)
    assert found["similarity_2"].dtype == policy[len("mixed_"):]
    accuracy = 0.02 if policy == "mixed_float16" else 0.1
    for name in ("logits", "distance", "regions_2", "regions_3"):
        assert found[name].dtype == tf.float32, name
        np.testing.assert_allclose(found[name].numpy(), outputs[name].numpy(), atol=accuracy)
    assert found["distance"].numpy()[3] == 0
    loss, gradients = _step(network, CsnSettings(), _images())
    assert np.isfinite(loss)
    for name, gradient in gradients.items():
        assert np.isfinite(tf.convert_to_tensor(gradient).numpy()).all(), name
