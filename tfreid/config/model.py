"""The section `model`: what the network is."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal, Optional

from pydantic import Field

from tfreid.setting import PathText, Section, ShareBelowOne, Whole, setting

Pixels = Whole[16, 4096]


@dataclasses.dataclass
class ModelConfig(Section):
    """What the network is."""

    backbone: str = setting("resnet50", "Name of the backbone, one of tfreid.backbones.BACKBONES.")
    last_stride: Optional[Whole[1, 2]] = setting(
        None, "Stride of the last stage. 1 keeps a finer feature map (Bag of Tricks); null is the "
        "published stride of the backbone.")
    weights: Optional[PathText] = setting(
        None, "Initial weights: `imagenet` (Keras Applications; resnet50, resnet101, resnet152 and "
        "vgg16), `rendered` (osnet_x0_25 trained on rendered people alone, in this package), a "
        ".weights.h5 file, or null for random weights.", resume="free")
    imagenet_weights: Optional[PathText] = setting(
        None, "File of the Keras Applications weights, for machines that cannot download them.",
        resume="free", average="free")
    height: Pixels = setting(256, "Height in pixels to which every image is resized.")
    width: Pixels = setting(128, "Width in pixels to which every image is resized.")
    longest_side: Optional[Pixels] = setting(
        None, "Pixels of every image's longer side, instead of height and width: the aspect ratio "
        "is kept, so that no image is distorted (Almazan et al. 2018 use 416). null resizes to "
        "height x width.")
    normalization: Literal["torch", "caffe", "unit"] = setting(
        "torch", "Input range: `torch` (ImageNet mean and deviation of RGB in 0-1), `caffe` (BGR "
        "minus its mean) or `unit` (RGB in 0-1).")
    pooling: Literal["average", "max", "gem", "flatten"] = setting(
        "average", "How a feature map becomes a vector. `flatten` keeps every cell and so needs "
        "images of one size.")
    embedding_size: Optional[Whole[1, 2**16]] = setting(
        None, "Width of a linear layer before the neck; null keeps the backbone's own feature.")
    hidden_size: Optional[Whole[1, 2**16]] = setting(
        None, "Width of a linear layer with batch normalisation and ReLU before that of "
        "embedding_size (mmtracking: 1024).")
    embedding_head: Literal["linear", "sigmoid", "linear_bn_relu"] = setting(
        "linear", "What the layer of embedding_size computes: `linear`, `sigmoid` of the linear "
        "layer (the MARS Siamese network) or `linear_bn_relu` (the stock OSNet).")
    dropout: ShareBelowOne = setting(
        0.0, "Share of the embedding's entries that training drops.")
    filters: Optional[Annotated[list[Whole[1, 4096]], Field(min_length=1, max_length=8)]] = setting(
        None, "Filters of each block of `backbone: siamese_twin`; null is the report's [256, 128, "
        "64, 32].")
    block_dropout: Optional[ShareBelowOne] = setting(
        None, "Share of the entries after each block of `backbone: siamese_twin` that training "
        "drops; null is that of `dropout`.")
    normalize_embedding: bool = setting(
        False, "Whether embeddings are unit vectors, so that dot products are cosine similarities.")
    neck: bool = setting(
        True, "Whether batch normalisation stands between the feature of the metric losses and the "
        "classifier (Bag of Tricks).")
    neck_beta: bool = setting(
        False, "Whether the beta of the neck is trained; Bag of Tricks freezes it at zero.")
    classifier: bool = setting(
        True, "Whether there is an identity classifier; `system: triplet` and `siamese` learn "
        "without one.")
    classifier_bias: bool = setting(False, "Whether the identity classifier has a bias.")
    classifier_dropout: ShareBelowOne = setting(
        0.0, "Share of the classifier's inputs that training drops.")
    classifier_sigmoid: bool = setting(
        False, "Whether the ID loss sees the sigmoids of the logits, as in Bhanushali's code for "
        "MobileNetV3.")
    num_identities: Optional[Whole[1, 10**6]] = setting(
        None, "Width of the classifier; null takes it from the training records.")
    stride_in_1x1: bool = setting(
        False, "Whether the first convolution of a ResNet bottleneck has its stride, as the "
        "ImageNet weights of Keras Applications need; the torchvision layout puts it on the 3x3.")
    non_local: Optional[Annotated[list[Whole[0, 36]], Field(min_length=4, max_length=4)]] = setting(
        None, "Non-local blocks in each of the four stages of a ResNet or its IBN form, one behind "
        "each of the stage's last blocks: [0, 2, 3, 0] in AGW (Ye et al. 2021); null is none.")
    non_local_channels: Optional[Whole[1, 1024]] = setting(
        None, "Channels within a non-local block; null is half of its map's, as published. The "
        "released code of AGW, and fast-reid, have 1.")
    stem: Literal["torchvision", "bag_of_tricks", "fast_reid"] = setting(
        "torchvision", "Whose first layers a ResNet has: `torchvision`, `bag_of_tricks` (plain "
        "networks without the ReLU before the max pooling) or `fast_reid` (plain and IBN, max "
        "pooling without padding). Set the one that the weights were trained with; the weights "
        "themselves fit all three.")
