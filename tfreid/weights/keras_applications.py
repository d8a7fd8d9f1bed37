"""ImageNet weights of Keras Applications."""

from __future__ import annotations

import os
from collections.abc import Iterator

import keras
import numpy as np

from tfrecords.errors import UserError
from tfreid.backbones import BACKBONES
from tfreid.backbones.resnet import BLOCKS, NON_LOCAL
from tfreid.backbones.vgg import convolution_names
from tfreid.layers.preprocessing import ImagePreprocessing
from tfreid.weights.files import check_finite, weight_keys

# Backbones with ImageNet weights, and their names in Keras Applications.
IMAGENET_BACKBONES = {name: entry.imagenet for name, entry in BACKBONES.items() if entry.imagenet}
# Prefixes of the names of a backbone's layers.
_TRUNK = ("stem_", "stage", "block")


def load_imagenet(
    model: keras.Model, backbone: str, source: str | keras.Model = "imagenet"
) -> None:
    """Loads the ImageNet weights of the same network of `keras.applications` into a model's trunk.

    The convolutions of their ResNets have biases and ours do not: each bias is subtracted from the
    moving mean of the batch normalisation behind it, which is the same function at inference and
    has no effect in training.

    Args:
        model: Model with the backbone and, as these weights were trained, `caffe` normalisation; a
            ResNet has its strides in the first 1x1 convolutions.
        backbone: A key of `IMAGENET_BACKBONES`.
        source: "imagenet" to download the weights into Keras's cache, the path of the file
            `BACKBONE_weights_tf_dim_ordering_tf_kernels_notop.h5`, or the Keras model itself.

    Raises:
        UserError: If the model does not fit the weights, or these cannot be loaded or hold NaN.
        ValueError: If there are no ImageNet weights of `backbone`.
    """
    if backbone not in IMAGENET_BACKBONES:
        raise ValueError(f"backbone must be one of {list(IMAGENET_BACKBONES)}, got {backbone}")
    variables = weight_keys(model)
    _check(model, backbone, variables)
    network = source
    if not isinstance(source, keras.Model):
        network = _keras_network(backbone, os.fspath(source))
    convert = _resnet_weights if _is_resnet(backbone) else _vgg_weights
    weights = dict(convert(network, backbone))
    check_finite(weights, network.name if source is network else source)
    for key, array in weights.items():
        variables[key].assign(array)


def _resnet_weights(source, backbone) -> Iterator[tuple[str, np.ndarray]]:
    for ours, theirs in _resnet_layers(backbone):
        kernel, bias = _arrays(source, f"{theirs}_conv")
        gamma, beta, mean, variance = _arrays(source, f"{theirs}_bn")
        yield f"{ours}/kernel", kernel
        yield f"{ours}_bn/gamma", gamma
        yield f"{ours}_bn/beta", beta
        yield f"{ours}_bn/moving_mean", mean - bias
        yield f"{ours}_bn/moving_variance", variance


def _vgg_weights(source, backbone) -> Iterator[tuple[str, np.ndarray]]:
    for layer in _trunk_layers(backbone):
        kernel, bias = _arrays(source, layer)
        yield f"{layer}/kernel", kernel
        yield f"{layer}/bias", bias


def _is_resnet(backbone) -> bool:
    return BACKBONES[backbone].layout == "resnet"


def _trunk_layers(backbone) -> set[str]:
    """Returns the names of our layers that have weights."""
    if not _is_resnet(backbone):
        # VGG16 has the same names here and there.
        return set(convolution_names())
    convolutions = [ours for ours, _ in _resnet_layers(backbone)]
    return {*convolutions, *(f"{name}_bn" for name in convolutions)}


def _resnet_layers(backbone) -> Iterator[tuple[str, str]]:
    """Pairs our names of convolutions with the beginnings of theirs."""
    yield "stem_conv", "conv1"
    parts = ("shortcut", "conv1", "conv2", "conv3")
    for stage, blocks in enumerate(BLOCKS[BACKBONES[backbone].depth], 1):
        for block in range(1, blocks + 1):
            for number, part in enumerate(parts):
                if number > 0 or block == 1:
                    yield f"stage{stage}_block{block}_{part}", (
                        f"conv{stage + 1}_block{block}_{number}"
                    )


def _check(model, backbone, variables):
    trunk = {key.split("/")[0] for key in variables
             if key.startswith(_TRUNK) and NON_LOCAL not in key}
    differing = sorted(_trunk_layers(backbone) ^ trunk)
    if differing:
        raise UserError(
            f"model {model.name} is not a {backbone} (the layer {differing[0]} differs); set "
            f"model.backbone={backbone} or leave out the ImageNet weights of Keras Applications."
        )
    modes = [layer.mode for layer in model.layers if isinstance(layer, ImagePreprocessing)]
    fits, needs = modes == ["caffe"], "model.normalization=caffe; set it"
    if _is_resnet(backbone):
        fits &= tuple(model.get_layer("stage2_block1_conv1").strides) == (2, 2)
        needs = "model.stride_in_1x1=true with model.normalization=caffe; set both"
    if not fits:
        raise UserError(f"the ImageNet weights of Keras Applications fit only {needs}.")


def _keras_network(backbone, source):
    name = IMAGENET_BACKBONES[backbone]
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
