"""ImageNet weights of Keras Applications."""

from __future__ import annotations

import os
from collections.abc import Iterator

import keras
import numpy as np

from tfrecords.errors import UserError
from tfreid.backbones.resnet import BLOCKS
from tfreid.layers.preprocessing import ImagePreprocessing
from tfreid.weights.files import weight_keys

_FILE = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"


def load_imagenet_resnet50(model: keras.Model, source: str | keras.Model = "imagenet") -> None:
    """Gives a model's ResNet-50 trunk the ImageNet weights of `keras.applications.ResNet50`.

    Their convolutions have biases, ours have none: the batch normalisation behind each takes the
    bias off its moving mean, which is the same function at inference and has no effect in training.

    Args:
        model: Model with the `resnet50` backbone of this project, strided in the first 1x1
            convolutions, and with `caffe` normalisation: what these weights were trained with.
        source: "imagenet" downloads the weights into Keras's cache; otherwise the path of the
            file `resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5`, or the model itself.

    Raises:
        UserError: The model differs from what the weights expect, or they cannot be had.
    """
    variables = weight_keys(model)
    _check(model, variables)
    if not isinstance(source, keras.Model):
        source = _keras_resnet50(os.fspath(source))
    for ours, theirs in _layer_names():
        kernel, bias = _arrays(source, f"{theirs}_conv")
        gamma, beta, mean, variance = _arrays(source, f"{theirs}_bn")
        variables[f"{ours}/kernel"].assign(kernel)
        variables[f"{ours}_bn/gamma"].assign(gamma)
        variables[f"{ours}_bn/beta"].assign(beta)
        variables[f"{ours}_bn/moving_mean"].assign(mean - bias)
        variables[f"{ours}_bn/moving_variance"].assign(variance)


def _layer_names() -> Iterator[tuple[str, str]]:
    """Pairs our names of convolutions with the beginnings of theirs."""
    yield "stem_conv", "conv1"
    parts = ("shortcut", "conv1", "conv2", "conv3")
    for stage, blocks in enumerate(BLOCKS[50], 1):
        for block in range(1, blocks + 1):
            for number, part in enumerate(parts):
                if number > 0 or block == 1:
                    yield f"stage{stage}_block{block}_{part}", (
                        f"conv{stage + 1}_block{block}_{number}"
                    )


def _check(model, variables):
    missing = [ours for ours, _ in _layer_names() if f"{ours}/kernel" not in variables]
    if missing:
        raise UserError(
            f"model {model.name} is no ResNet-50 (it has no layer {missing[0]}); set "
            "model.backbone=resnet50 or do without the ImageNet weights of Keras Applications."
        )
    strides = model.get_layer("stage2_block1_conv1").strides
    modes = [layer.mode for layer in model.layers if isinstance(layer, ImagePreprocessing)]
    if tuple(strides) != (2, 2) or modes != ["caffe"]:
        raise UserError(
            "the ImageNet weights of Keras Applications fit only "
            "model.stride_in_1x1=true with model.normalization=caffe; set both."
        )


def _keras_resnet50(source):
    if source != "imagenet" and not os.path.isfile(source):
        raise UserError(
            f"model.imagenet_weights: the file {source} does not exist; give the path of {_FILE}."
        )
    try:
        return keras.applications.ResNet50(include_top=False, weights=source)
    except Exception as error:  # Keras raises a bare Exception where a download fails.
        if source == "imagenet":
            raise UserError(
                "the ImageNet weights could not be downloaded; fetch "
                f"{_FILE} elsewhere and give its path as model.imagenet_weights=PATH, or put it "
                f"into {os.path.join('~', '.keras', 'models')}."
            ) from error
        raise UserError(
            f"model.imagenet_weights: {source} does not hold the weights of Keras Applications' "
            f"ResNet50 without its classifier; give the path of {_FILE}."
        ) from error


def _arrays(model, layer):
    return [np.asarray(variable.numpy()) for variable in model.get_layer(layer).weights]
