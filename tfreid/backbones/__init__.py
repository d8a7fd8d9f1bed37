"""Backbones: functions from normalised images [n, h, w, 3] to a feature map [n, h', w', c]."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Callable

from tfreid.backbones.mobilenet_v3 import mobilenet_v3_large
from tfreid.backbones.osnet import osnet
from tfreid.backbones.resnet import IBN_STEMS, STEMS, resnet, resnet_ibn_a
from tfreid.backbones.se_resnet import se_resnet50, se_resnext50
from tfreid.backbones.siamese_twin import FILTERS, siamese_twin
from tfreid.backbones.vgg import LEAST_SIDE, vgg16


@dataclass(frozen=True)
class Backbone:
    """A backbone and what a model must know to use it.

    Attributes:
        apply: Function of the images, and of the settings that this backbone has.
        channels: Channels of its feature map.
        stride_in_1x1: Whether it takes the settings `stride_in_1x1` and `bn_epsilon`, which the
            weights of Keras Applications need.
        stems: What its setting `stem` may be; empty where it has no such setting.
        dropout: Whether it takes the setting `dropout`.
        least_side: Pixels that the sides of an image must have at least.
    """

    apply: Callable
    channels: int
    stride_in_1x1: bool = False
    stems: tuple[str, ...] = ()
    dropout: bool = False
    least_side: int = 1

    def __call__(self, images, **settings):
        """Applies the backbone to images [n, h, w, 3], with the published strides by default."""
        return self.apply(images, **settings)


def _resnet(depth: int) -> Backbone:
    apply = functools.partial(resnet, depth=depth)
    if depth == 34:
        return Backbone(apply, 512, stems=STEMS)
    return Backbone(apply, 2048, stride_in_1x1=True, stems=STEMS)


def _resnet_ibn_a(depth: int) -> Backbone:
    return Backbone(functools.partial(resnet_ibn_a, depth=depth), 2048, stems=IBN_STEMS)


def _osnet(width: float) -> Backbone:
    return Backbone(functools.partial(osnet, width=width), int(512 * width))


BACKBONES = {
    "resnet34": _resnet(34),
    "resnet50": _resnet(50),
    "resnet101": _resnet(101),
    "resnet152": _resnet(152),
    "resnet50_ibn_a": _resnet_ibn_a(50),
    "resnet101_ibn_a": _resnet_ibn_a(101),
    "se_resnet50": Backbone(se_resnet50, 2048),
    "se_resnext50": Backbone(se_resnext50, 2048),
    "osnet_x1_0": _osnet(1.0),
    "osnet_x0_75": _osnet(0.75),
    "osnet_x0_5": _osnet(0.5),
    "osnet_x0_25": _osnet(0.25),
    "mobilenet_v3_large": Backbone(mobilenet_v3_large, 960),
    "siamese_twin": Backbone(siamese_twin, FILTERS[-1], dropout=True, least_side=16),
    "vgg16": Backbone(vgg16, 512, least_side=LEAST_SIDE),
}
