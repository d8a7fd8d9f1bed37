"""The embedding model: published sizes, outputs, input sizes, frozen parts and clear errors."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.config import ModelConfig, load_config
from tfreid.models.embedding import (
    HEAD_LAYERS,
    build_embedding_model,
    embedding_model,
    set_backbone_trainable,
)
from tfreid.weights.files import weight_keys
from tfreid.weights.layouts.heads import convert_head

SMALL = {"backbone": "osnet_x0_25", "height": 64, "width": 32}


def small(identities: int = 5, cosine_classifier: bool = False, **settings) -> keras.Model:
    return build_embedding_model(ModelConfig(**{**SMALL, **settings}), identities,
                                 cosine_classifier)


def trainable(model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.fixture(scope="module")
def tiny(tiny_backbone):
    """Returns the function that builds models of one convolution, where the head is what counts."""
    return functools.partial(small, backbone=tiny_backbone)


@pytest.fixture(scope="module")
def plain(tiny):
    """A model of 8 channels that no test changes."""
    return tiny()


@pytest.fixture(scope="module")
def osnet():
    """A model of a backbone that is used, for 7 identities."""
    return small(7)


@functools.cache
def resnet34(stem, last_stride):
    """A model of a ResNet-34."""
    return small(backbone="resnet34", stem=stem, last_stride=last_stride)


@pytest.fixture
def policy():
    """Returns the function that sets the precision, and restores it afterwards."""
    yield keras.mixed_precision.set_global_policy
    keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize(("settings", "published"), [
    # The authors' OSNet, as torchreid counts it.
    ({"backbone": "osnet_x0_25", "embedding_size": 512, "embedding_head": "linear_bn_relu",
      "neck": False, "classifier_bias": True}, 587_127),
    ({"backbone": "osnet_x1_0", "embedding_size": 512, "embedding_head": "linear_bn_relu",
      "neck": False, "classifier_bias": True}, 2_554_771),
])
def test_published_sizes_with_751_identities(settings, published):
    assert trainable(build_embedding_model(ModelConfig(**settings), 751)) == published


@pytest.mark.parametrize(("recipe", "published"), [
    ("report_resnet50", 25_050_927),
    # Trunk 134,792 + 128x1000+1000 + 2x1000 + 1000x751+751.
    ("report_osnet_x025", 1_017_543),
])
def test_published_sizes_of_bhanushalis_report(recipe, published):
    config = load_config(recipe, variants=["market1501"]).model
    assert trainable(build_embedding_model(config)) == published


def test_classifier_triplet_and_center_see_the_rectified_vector_of_the_reports_osnet(tiny):
    """Linear, batch norm, ReLU, and no further neck, as in its public code."""
    recipe = load_config("report_osnet_x025").model
    model = tiny(embedding_size=recipe.embedding_size, embedding_head=recipe.embedding_head,
                 neck=recipe.neck, classifier_bias=recipe.classifier_bias)
    images = np.random.default_rng(0).uniform(0, 255, (6, 64, 32, 3)).astype(np.float32)
    layers = {name: model.get_layer(name).output for name in ("fc", "fc_bn")}
    outputs = keras.Model(model.input, {**layers, **model.output})(images, training=True)
    linear = np.asarray(outputs["fc"], np.float64)
    normal = (linear - linear.mean(0)) / np.sqrt(linear.var(0) + 1e-5)
    np.testing.assert_allclose(outputs["fc_bn"], normal, atol=2e-3)
    np.testing.assert_array_equal(outputs["embedding"], np.maximum(outputs["fc_bn"], 0))
    np.testing.assert_array_equal(outputs["embedding"], outputs["neck"])
    kernel, bias = model.get_layer("classifier").get_weights()
    np.testing.assert_allclose(outputs["logits"], outputs["embedding"] @ kernel + bias, atol=1e-5)


def test_dropout_and_sigmoid_of_the_classifier(tiny):
    model = tiny(classifier_dropout=0.5, classifier_sigmoid=True)
    images = np.random.default_rng(0).uniform(0, 255, (6, 64, 32, 3)).astype(np.float32)
    (kernel,) = model.get_layer("classifier").get_weights()
    for training in (True, False):
        dropped = model.get_layer("classifier").input
        outputs = keras.Model(model.input, {**model.output, "dropped": dropped})(
            images, training=training)
        neck, kept = (np.asarray(outputs[name]) for name in ("neck", "dropped"))
        # What is kept is doubled; ranking and metric losses see the feature before.
        share = np.mean(kept != 0)
        assert 0.2 < share < 0.8 if training else share == 1
        np.testing.assert_allclose(kept[kept != 0], neck[kept != 0] * (2 if training else 1),
                                   rtol=1e-6)
        np.testing.assert_allclose(outputs["logits"], 1 / (1 + np.exp(-kept @ kernel)), rtol=1e-5)


def test_a_classifier_of_cosines(tiny, plain):
    model = tiny(cosine_classifier=True)
    images = np.random.default_rng(0).uniform(0, 255, (6, 64, 32, 3)).astype(np.float32)
    outputs = model(images)
    (kernel,) = model.get_layer("classifier").get_weights()
    expected = [[neck @ one / np.linalg.norm(neck) / np.linalg.norm(one) for one in kernel.T]
                for neck in np.float64(outputs["neck"])]
    np.testing.assert_allclose(outputs["logits"], expected, atol=1e-5)
    # The weights of a plain classifier fit it, and the other way round.
    shapes = [{key: tuple(one.shape) for key, one in weight_keys(each).items()}
              for each in (model, plain)]
    assert shapes[0] == shapes[1] and "classifier/kernel" in shapes[0]
    many = embedding_model("osnet_x0_25", 400, cosine_classifier=True, height=64, width=32)
    (kernel,) = many.get_layer("classifier").get_weights()
    np.testing.assert_allclose(np.linalg.norm(kernel, axis=0).mean(), 1, atol=0.02)


def test_the_converted_classifier_of_a_fast_reid_margin_head_gives_its_cosines(tiny):
    random = np.random.default_rng(0)
    theirs = {"heads.weight": random.normal(size=(5, 8)),
              "heads.bottleneck.0.weight": np.ones(8), "heads.bottleneck.0.bias": np.zeros(8),
              "heads.bottleneck.0.running_mean": random.normal(size=8),
              "heads.bottleneck.0.running_var": random.uniform(1, 2, 8)}
    head = convert_head(theirs, 8)
    model = tiny(cosine_classifier=True, **head.settings)
    variables = weight_keys(model)
    for key in variables.keys() & head.weights.keys():
        variables[key].assign(head.weights[key])
    assert {"classifier/kernel", "neck/moving_mean"} <= variables.keys() & head.weights.keys()
    outputs = model(random.uniform(0, 255, (3, 64, 32, 3)).astype(np.float32))
    neck = (outputs["embedding"] - theirs["heads.bottleneck.0.running_mean"]) / np.sqrt(
        theirs["heads.bottleneck.0.running_var"] + 1e-5)
    cosines = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in theirs["heads.weight"]]
               for a in np.float64(neck)]
    np.testing.assert_allclose(outputs["logits"], cosines, atol=1e-5)


@pytest.mark.parametrize("setting", ["classifier_bias", "classifier_sigmoid"])
def test_a_classifier_of_cosines_has_neither_bias_nor_sigmoid(tiny, setting):
    with pytest.raises(UserError, match=r"neither bias nor sigmoid; set model\.classifier_bias"):
        tiny(cosine_classifier=True, **{setting: True})


def test_bag_of_tricks_has_neither_beta_nor_bias(tiny, plain):
    with_both = trainable(tiny(neck_beta=True, classifier_bias=True))
    assert with_both - trainable(plain) == 8 + 5


def test_outputs_and_their_shapes(osnet):
    outputs = osnet(np.zeros((2, 64, 32, 3), np.float32))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "embedding": (2, 128), "neck": (2, 128), "logits": (2, 7)}


@pytest.mark.parametrize(("precision", "backbone"), [
    ("float32", "tiny"), ("mixed_float16", "osnet_x0_25"), ("mixed_bfloat16", "tiny")])
def test_outputs_are_float32_at_any_precision(policy, tiny, precision, backbone):
    policy(precision)
    model = tiny(backbone=backbone, embedding_size=16)
    outputs = model(np.full((2, 64, 32, 3), 200, np.float32))
    for value in outputs.values():
        assert np.asarray(value).dtype == np.float32
        assert np.isfinite(np.asarray(value)).all()


@pytest.mark.parametrize("size", [(64, 32), (128, 64), (33, 70), (3, 2)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_of_any_size_and_type(plain, size, dtype):
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3)).astype(dtype)
    outputs = plain(images, training=False)
    assert outputs["embedding"].shape == (2, 8)
    same = plain(images.astype(np.float32), training=False)
    np.testing.assert_array_equal(outputs["embedding"], same["embedding"])


def test_without_a_neck_both_features_are_one(tiny):
    outputs = tiny(neck=False)(np.ones((2, 64, 32, 3), np.float32))
    np.testing.assert_array_equal(outputs["embedding"], outputs["neck"])


def test_the_neck_normalises_the_embedding(tiny):
    model = tiny()
    outputs = model(np.random.default_rng(0).uniform(0, 255, (8, 64, 32, 3)).astype(np.float32),
                    training=True)
    embedding = np.asarray(outputs["embedding"], np.float64)
    expected = (embedding - embedding.mean(0)) / np.sqrt(embedding.var(0) + 1e-5)
    np.testing.assert_allclose(outputs["neck"], expected, atol=1e-3)


def test_the_configured_number_of_identities_comes_first(tiny):
    assert tiny(5, num_identities=9).output["logits"].shape[-1] == 9
    with pytest.raises(UserError, match=r"model\.num_identities"):
        build_embedding_model(ModelConfig(**SMALL))


@pytest.mark.parametrize(("pooling", "extra"), [("average", 0), ("max", 0), ("gem", 1)])
def test_poolings(tiny, plain, pooling, extra):
    model = tiny(pooling=pooling)
    assert trainable(model) - trainable(plain) == extra
    image = np.random.default_rng(0).uniform(0, 255, (1, 64, 32, 3)).astype(np.float32)
    feature_map = keras.Model(model.inputs, model.get_layer("pool").input)(image)
    maps = np.maximum(np.asarray(feature_map, np.float64), 1e-6)
    expected = {"average": np.asarray(feature_map).mean((1, 2)), "max": maps.max((1, 2)),
                "gem": (maps**3).mean((1, 2)) ** (1 / 3)}[pooling]
    np.testing.assert_allclose(model(image)["embedding"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [
    {"embedding_size": 16},
    {"embedding_size": 16, "embedding_head": "linear_bn_relu", "neck": False,
     "backbone": "osnet_x0_25"},
    {"pooling": "gem", "neck_beta": True, "classifier_bias": True},
])
def test_freezing_leaves_exactly_the_head_trainable(tiny, settings):
    model = tiny(**settings)
    everything = [id(weight) for weight in model.trainable_weights]
    head = [id(weight) for layer in model.layers if layer.name in HEAD_LAYERS
            for weight in layer.trainable_weights]
    set_backbone_trainable(model, False)
    assert [id(weight) for weight in model.trainable_weights] == head
    assert 0 < len(head) < len(everything)
    set_backbone_trainable(model, True)
    assert [id(weight) for weight in model.trainable_weights] == everything


def test_a_frozen_backbone_keeps_its_statistics(osnet):
    model = osnet
    set_backbone_trainable(model, False)
    statistics = [weight for weight in model.non_trainable_weights
                  if "moving" in (getattr(weight, "path", None) or weight.name)]
    before = [np.array(weight) for weight in statistics]
    model(np.full((4, 64, 32, 3), 90, np.float32), training=True)
    changed = [not np.array_equal(old, np.array(new)) for old, new in zip(before, statistics)]
    neck = {id(weight) for weight in model.get_layer("neck").weights}
    assert [id(w) in neck for w in statistics] == changed
    assert sum(changed) >= 1


@pytest.mark.parametrize(("name", "nearest"), [("resnet5", "resnet50"),
                                               ("osnet_x0.25", "osnet_x0_25")])
def test_an_unknown_backbone_names_the_nearest(name, nearest):
    with pytest.raises(UserError, match=rf"{name}.*nearest is {nearest}\."):
        small(backbone=name)


def test_settings_that_do_not_fit_the_backbone():
    with pytest.raises(UserError, match=r"stride_in_1x1 is for ResNets"):
        small(stride_in_1x1=True)
    with pytest.raises(UserError, match=r"fast_reid, which osnet_x0_25 .*resnet101_ibn_a do\)"):
        small(stem="fast_reid")
    with pytest.raises(UserError, match=r"stem is bag_of_tricks, which resnet50_ibn_a does not"):
        small(backbone="resnet50_ibn_a", stem="bag_of_tricks")
    with pytest.raises(UserError, match=r"non_local is for resnet34, .* null for osnet_x0_25\.$"):
        small(non_local=[0, 2, 3, 0])
    with pytest.raises(UserError, match=r"\[0, 5, 0, 0\], and .* resnet34 have \[3, 4, 6, 3\] bl"):
        small(backbone="resnet34", non_local=[0, 5, 0, 0])
    with pytest.raises(UserError, match=r"non_local_channels needs model\.non_local; set both"):
        small(backbone="resnet34", non_local_channels=1)
    with pytest.raises(UserError, match=r"set model\.pooling to average"):
        small(embedding_size=16, embedding_head="linear_bn_relu", pooling="gem")


@pytest.mark.parametrize(
    "settings, mend",
    [
        ({"embedding_head": "linear_bn_relu"}, r"set model\.embedding_size"),
        ({"neck": False, "neck_beta": True}, r"neck_beta needs a neck"),
    ],
)
def test_settings_that_need_another_one(settings, mend):
    with pytest.raises(UserError, match=mend):
        build_embedding_model(ModelConfig(backbone="osnet_x0_25", **settings), 3)


@pytest.mark.parametrize(("stem", "last_stride", "relu", "padded"), [
    ("torchvision", 1, True, False), ("bag_of_tricks", 2, False, False),
    ("fast_reid", 1, True, True)])
def test_the_stem_reaches_the_backbone(stem, last_stride, relu, padded):
    names = {layer.name for layer in resnet34(stem, last_stride).layers}
    assert ("stem_conv_relu" in names, "stem_pool_pad" in names) == (relu, padded)


def test_last_stride_decides_the_size_of_the_map():
    maps = [model.get_layer("pool").input.shape[1:3]
            for model in (resnet34("torchvision", 1), resnet34("bag_of_tricks", 2))]
    assert [tuple(shape) for shape in maps] == [(4, 2), (2, 1)]
