"""The embedding model: backbone, pooling, batch-norm neck, identity classifier."""

from __future__ import annotations

import keras

from tfrecords.errors import UserError, nearest, shortened
from tfreid.backbones import BACKBONES
from tfreid.backbones.osnet import linear_bn_relu, osnet_head
from tfreid.backbones.resnet import BLOCKS as RESNET_BLOCKS
from tfreid.backbones.siamese_twin import FILTERS
from tfreid.config import ModelConfig
from tfreid.layers.cosine_classifier import CosineClassifier
from tfreid.layers.dropout import StatelessDropout
from tfreid.layers.normalization import batch_norm_neck
from tfreid.layers.pooling import pool
from tfreid.layers.preprocessing import ImagePreprocessing, InputSize

KERAS_APPLICATIONS_EPSILON = 1.001e-5
# Layers behind the backbone, which `training.frozen_backbone_epochs` leaves trainable.
HEAD_LAYERS = (
    "pool", "hidden", "hidden_bn", "fc", "fc_bn", "fc_relu", "unit", "neck", "classifier")


def input_size(config: ModelConfig) -> InputSize:
    """Returns the size that a model's images are resized to."""
    return InputSize(config.height, config.width, config.longest_side)


def embedding_model(backbone: str = "resnet50", num_identities: int | None = None,
                    cosine_classifier: bool = False, **settings) -> keras.Model:
    """Builds an embedding model with random weights, for a custom training loop.

    Args:
        backbone: Name of the backbone, for example `osnet_x0_25`.
        num_identities: Width of the identity classifier. Defaults to a model without one.
        cosine_classifier: Whether `logits` are cosines, as `ArcFaceLoss`, `CosFaceLoss` and
            `CircleClassifierLoss` take them.
        **settings: Settings of the section `model`, for example `height=256, width=128,
            embedding_size=512`; `tfreid settings model` explains them.

    Returns:
        A functional model from raw RGB images [n, h, w, 3] in 0-255, of any size, to a dictionary
        of float32: `embedding` [n, d] for the metric losses, `neck` [n, d] for ranking and, with
        identities, `logits` [n, identities] (Luo et al. 2019, Fig. 3).

    Raises:
        UserError: If the backbone does not exist, or does not support these settings.
        TypeError: If a setting does not exist.

    Example:
        >>> model = tfreid.embedding_model("osnet_x0_25", num_identities=10, height=64, width=32)
        >>> images = np.zeros((2, 80, 40, 3), np.uint8)
        >>> {name: tuple(value.shape) for name, value in model(images).items()}
        {'embedding': (2, 128), 'neck': (2, 128), 'logits': (2, 10)}
    """
    config = ModelConfig(backbone=backbone, classifier=num_identities is not None, **settings)
    return build_embedding_model(config, num_identities, cosine_classifier)


def build_embedding_model(config: ModelConfig, num_identities: int | None = None,
                          cosine_classifier: bool = False) -> keras.Model:
    """Builds the network of one recipe; see `embedding_model` for its inputs and outputs.

    `num_identities` is the width of the classifier unless `model.num_identities` is set. Without a
    neck, `neck` is the same tensor as `embedding`.

    Raises:
        UserError: If the backbone is unknown or does not support the settings, images are too small
            for it, or settings contradict each other.
    """
    backbone = _backbone(config)
    identities = config.num_identities or num_identities
    _check_head(config, identities, cosine_classifier)
    _check_size(config, 2 ** len(config.filters) if config.filters else backbone.least_side)
    images = keras.Input((None, None, 3), name="images", dtype="float32")
    x = ImagePreprocessing(config.height, config.width, config.normalization, config.longest_side,
                           name="preprocess")(images)
    x = backbone(x, **_backbone_settings(config))
    # The inputs of the losses and the statistics of the neck are float32 at any precision.
    x = _head(x, config)
    if config.dropout:
        x = StatelessDropout(config.dropout, name="dropout")(x)
    if config.normalize_embedding:
        x = keras.layers.UnitNormalization(dtype="float32", name="unit")(x)
    embedding = keras.layers.Activation("linear", dtype="float32", name="embedding")(x)
    neck = batch_norm_neck(embedding, bias=config.neck_beta) if config.neck else embedding
    outputs = {"embedding": embedding, "neck": neck}
    if config.classifier:
        x = neck
        if config.classifier_dropout:
            x = StatelessDropout(config.classifier_dropout, dtype="float32",
                                 name="classifier_dropout")(x)
        outputs["logits"] = _classifier(config, identities, cosine_classifier)(x)
    return keras.Model(images, outputs, name=config.backbone)


def set_backbone_trainable(model: keras.Model, trainable: bool) -> None:
    """Freezes or unfreezes all but the head; frozen batch norms also keep their statistics."""
    for layer in model.layers:
        if layer.name not in HEAD_LAYERS:
            layer.trainable = trainable


def _backbone(config):
    try:
        return BACKBONES[config.backbone]
    except KeyError:
        raise UserError(f"model.backbone is {shortened(config.backbone)}, which does not exist; "
                        f"the nearest is {nearest(config.backbone, BACKBONES)}.") from None


def _backbone_settings(config):
    settings = {"last_stride": config.last_stride}
    if config.stride_in_1x1:
        if not BACKBONES[config.backbone].stride_in_1x1:
            allowed = ", ".join(name for name, entry in BACKBONES.items() if entry.stride_in_1x1)
            raise UserError(f"model.stride_in_1x1 is for ResNets of bottlenecks ({allowed}); "
                            f"{config.backbone} has no such block.")
        settings.update(stride_in_1x1=True, bn_epsilon=KERAS_APPLICATIONS_EPSILON)
    if config.stem != "torchvision":
        if config.stem not in BACKBONES[config.backbone].stems:
            allowed = ", ".join(name for name, x in BACKBONES.items() if config.stem in x.stems)
            raise UserError(f"model.stem is {config.stem}, which {config.backbone} does not have "
                            f"(only {allowed} do); leave it out.")
        settings["stem"] = config.stem
    if config.non_local is not None:
        settings.update(non_local=_non_local(config), non_local_channels=config.non_local_channels)
    elif config.non_local_channels is not None:
        raise UserError("model.non_local_channels needs model.non_local; set both or neither.")
    if BACKBONES[config.backbone].blocks:
        between = config.dropout if config.block_dropout is None else config.block_dropout
        settings.update(filters=config.filters or FILTERS, dropout=between)
    elif config.block_dropout is not None or config.filters is not None:
        raise UserError("model.filters and model.block_dropout are for model.backbone "
                        f"siamese_twin; set them to null for {config.backbone}.")
    return settings


def _non_local(config):
    if not BACKBONES[config.backbone].non_local:
        allowed = ", ".join(name for name, entry in BACKBONES.items() if entry.non_local)
        raise UserError(f"model.non_local is for {allowed}; set it to null for {config.backbone}.")
    blocks = RESNET_BLOCKS[BACKBONES[config.backbone].depth]
    if any(count > most for count, most in zip(config.non_local, blocks)):
        raise UserError(f"model.non_local is {config.non_local}, and the stages of "
                        f"{config.backbone} have {list(blocks)} blocks; give no more than these.")
    return tuple(config.non_local)


def _classifier(config, identities, of_cosines):
    if of_cosines:
        return CosineClassifier(identities, dtype="float32", name="classifier")
    return keras.layers.Dense(
        identities, use_bias=config.classifier_bias, dtype="float32", name="classifier",
        activation="sigmoid" if config.classifier_sigmoid else None,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.001))


def _check_head(config, identities, cosine_classifier):
    """Checks settings before the backbone is built, which takes seconds."""
    if config.embedding_size is None and config.embedding_head != "linear":
        raise UserError(f"model.embedding_head {config.embedding_head} has no width; set "
                        "model.embedding_size (512 for the stock OSNet).")
    if config.hidden_size and (config.embedding_size is None
                               or config.embedding_head == "linear_bn_relu"):
        raise UserError("model.hidden_size needs model.embedding_size, and an embedding_head other "
                        "than linear_bn_relu, which pools itself; set it to null.")
    if config.embedding_head == "linear_bn_relu" and config.pooling != "average":
        raise UserError("model.embedding_head linear_bn_relu is the stock OSNet head and pools by "
                        f"the average; set model.pooling to average instead of {config.pooling}.")
    if config.pooling == "flatten" and config.longest_side is not None:
        raise UserError("model.pooling=flatten needs images of one size; set model.longest_side to "
                        "null, or choose another pooling.")
    if config.neck_beta and not config.neck:
        raise UserError("model.neck_beta needs a neck; set model.neck to true, or neck_beta to "
                        "false.")
    if cosine_classifier and (config.classifier_bias or config.classifier_sigmoid):
        raise UserError("a classifier of cosines (loss.classifier arcface, cosface or circle) has "
                        "neither bias nor sigmoid; set model.classifier_bias and "
                        "model.classifier_sigmoid to false.")
    if config.classifier and not identities:
        raise UserError("model.num_identities is not set; give the number of training identities.")


def _check_size(config, least):
    height, width = map(int, input_size(config).of(config.height, config.width))
    if min(height, width) < least:
        raise UserError(f"images of {height}x{width} are too small for model.backbone "
                        f"{config.backbone}; make both sides {least} pixels or more, by "
                        "model.height and model.width or by model.longest_side.")


def _head(x, config):
    if config.embedding_size is None:
        return pool(x, config.pooling)
    if config.embedding_head == "linear_bn_relu":
        return osnet_head(x, config.embedding_size)
    x = pool(x, config.pooling)
    if config.hidden_size:
        x = linear_bn_relu(x, config.hidden_size, "hidden")
    activation = None if config.embedding_head == "linear" else config.embedding_head
    return keras.layers.Dense(config.embedding_size, activation, name="fc")(x)
