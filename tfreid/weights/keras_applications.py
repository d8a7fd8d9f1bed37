"""ImageNet weights of Keras Applications."""

from __future__ import annotations

import os
from collections.abc import Iterator

import keras
import numpy as np

from tfrecords.errors import UserError
from tfreid.backbones.residual import BLOCKS
from tfreid.layers.preprocessing import ImagePreprocessing
from tfreid.weights.files import weight_keys

# Backbones that have such weights, and their depths.
DEPTHS = {"resnet50": 50, "resnet101": 101, "resnet152": 152}


def load_imagenet_resnet(
    model: keras.Model, backbone: str, source: str | keras.Model = "imagenet"
) -> None:
    """Gives a model's trunk the ImageNet weights of `keras.applications.ResNet50`, 101 or 152.

    Their convolutions have biases, ours have none: the batch normalisation behind each takes the
    bias off its moving mean, which is the same function at inference and has no effect in training.

    Args:
        model: Model with that backbone of this project, strided in the first 1x1 convolutions, and
            with `caffe` normalisation: what these weights were trained with.
        backbone: A key of `DEPTHS`.
        source: "imagenet" downloads the weights into Keras's cache; otherwise the path of the
            file `BACKBONE_weights_tf_dim_ordering_tf_kernels_notop.h5`, or the model itself.

    Raises:
        UserError: The model differs from what the weights expect, or they cannot be had.
        ValueError: There are no such weights for `backbone`.
    """
    if backbone not in DEPTHS:
        raise ValueError(f"backbone must be one of {list(DEPTHS)}, got {backbone}")
    variables = weight_keys(model)
    _check(model, backbone, variables)
    if not isinstance(source, keras.Model):
        source = _keras_resnet(backbone, os.fspath(source))
    for ours, theirs in _layer_names(backbone):
        kernel, bias = _arrays(source, f"{theirs}_conv")
        gamma, beta, mean, variance = _arrays(source, f"{theirs}_bn")
        variables[f"{ours}/kernel"].assign(kernel)
        variables[f"{ours}_bn/gamma"].assign(gamma)
        variables[f"{ours}_bn/beta"].assign(beta)
        variables[f"{ours}_bn/moving_mean"].assign(mean - bias)
        variables[f"{ours}_bn/moving_variance"].assign(variance)


def _layer_names(backbone) -> Iterator[tuple[str, str]]:
    """Pairs our names of convolutions with the beginnings of theirs."""
    yield "stem_conv", "conv1"
    parts = ("shortcut", "conv1", "conv2", "conv3")
    for stage, blocks in enumerate(BLOCKS[DEPTHS[backbone]], 1):
        for block in range(1, blocks + 1):
            for number, part in enumerate(parts):
                if number > 0 or block == 1:
                    yield f"stage{stage}_block{block}_{part}", (
                        f"conv{stage + 1}_block{block}_{number}"
                    )


def _check(model, backbone, variables):
    convolutions = [ours for ours, _ in _layer_names(backbone)]
    expected = {*convolutions, *(f"{name}_bn" for name in convolutions)}
    trunk = {key.split("/")[0] for key in variables if key.startswith(("stem_", "stage"))}
    differing = sorted(expected ^ trunk)
    if differing:
        raise UserError(
            f"model {model.name} is no {backbone} (they differ in the layer {differing[0]}); set "
            f"model.backbone={backbone} or do without the ImageNet weights of Keras Applications."
        )
    strides = model.get_layer("stage2_block1_conv1").strides
    modes = [layer.mode for layer in model.layers if isinstance(layer, ImagePreprocessing)]
    if tuple(strides) != (2, 2) or modes != ["caffe"]:
        raise UserError(
            "the ImageNet weights of Keras Applications fit only "
            "model.stride_in_1x1=true with model.normalization=caffe; set both."
        )


def _keras_resnet(backbone, source):
    name = f"ResNet{DEPTHS[backbone]}"
    file = f"{backbone}_weights_tf_dim_ordering_tf_kernels_notop.h5"
    if source != "imagenet" and not os.path.isfile(source):
        raise UserError(
            f"model.imagenet_weights: the file {source} does not exist; give the path of {file}."
        )
    try:
        return getattr(keras.applications, name)(include_top=False, weights=source)
    except Exception as error:  # Keras raises a bare Exception where a download fails.
        if source == "imagenet":
            raise UserError(
                "the ImageNet weights could not be downloaded; fetch "
                f"{file} elsewhere and give its path as model.imagenet_weights=PATH, or put it "
                f"into {os.path.join('~', '.keras', 'models')}."
            ) from error
        raise UserError(
            f"model.imagenet_weights: {source} does not hold the weights of Keras Applications' "
            f"{name} without its classifier; give the path of {file}."
        ) from error


def _arrays(model, layer):
    return [np.asarray(variable.numpy()) for variable in model.get_layer(layer).weights]
