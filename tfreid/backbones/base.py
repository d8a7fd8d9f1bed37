"""What every backbone's line in the table says, and the check of its strides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Backbone:
    """A backbone and what models, weights and settings must know about it.

    Attributes:
        apply: Function of images [n, h, w, 3], and of the settings that this backbone has, that
            returns its feature map.
        channels: Channels of its feature map.
        stride_in_1x1: Whether it takes the settings `stride_in_1x1` and `bn_epsilon`, which the
            weights of Keras Applications need.
        stems: Values of its setting `stem`; empty if it has no such setting.
        non_local: Whether it takes the settings `non_local` and `non_local_channels`.
        blocks: Whether it takes the settings `filters` and `dropout` of its blocks, each of which
            halves the image.
        least_side: Smallest side of an image in pixels.
        imagenet: Its name in Keras Applications, if that has ImageNet weights for it.
        layout: Module of `tfreid.weights.layouts` that converts its PyTorch weights, if there is
            one.
        checkpoints: Who offers an ImageNet checkpoint that the layout converts.
    """

    apply: Callable
    channels: int
    stride_in_1x1: bool = False
    stems: tuple[str, ...] = ()
    non_local: bool = False
    blocks: bool = False
    least_side: int = 1
    imagenet: str | None = None
    layout: str | None = None
    checkpoints: str | None = None

    @property
    def depth(self) -> int:
        """Depth of a residual network, by default 50."""
        return getattr(self.apply, "keywords", {}).get("depth", 50)

    def __call__(self, images, **settings):
        """Applies the backbone to images [n, h, w, 3], by default with the published strides."""
        return self.apply(images, **settings)


def stage_strides(strides: Sequence[int], last_stride: int | None, stages: int) -> list[int]:
    """Returns the strides of all stages, the last one replaced by `last_stride` if that is given.

    Raises:
        ValueError: If they are not one positive integer per stage.
    """
    strides = list(strides)
    if last_stride is not None:
        strides[-1:] = [last_stride]
    if len(strides) != stages or any(not isinstance(s, int) or s < 1 for s in strides):
        raise ValueError(f"strides must be {stages} positive integers, got {strides}")
    return strides
