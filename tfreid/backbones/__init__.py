"""Backbones: functions from normalised images [n, h, w, 3] to a feature map [n, h', w', c]."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Callable

from tfreid.backbones.osnet import osnet
from tfreid.backbones.resnet import resnet50


@dataclass(frozen=True)
class Backbone:
    """A backbone and what a model must know to use it.

    Attributes:
        apply: Function of the images, and of the settings that this backbone has.
        channels: Channels of its feature map.
    """

    apply: Callable
    channels: int

    def __call__(self, images, **settings):
        """Applies the backbone to images [n, h, w, 3], with the published strides by default."""
        return self.apply(images, **settings)


def _osnet(width: float) -> Backbone:
    return Backbone(functools.partial(osnet, width=width), int(512 * width))


BACKBONES = {
    "resnet50": Backbone(resnet50, 2048),
    "osnet_x1_0": _osnet(1.0),
    "osnet_x0_75": _osnet(0.75),
    "osnet_x0_5": _osnet(0.5),
    "osnet_x0_25": _osnet(0.25),
}
