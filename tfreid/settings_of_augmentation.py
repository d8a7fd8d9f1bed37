"""The section of a recipe for the augmentation of training images."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Optional

from pydantic import Field

from tfreid.setting_types import NotNegative, Positive, Section, Share


@dataclasses.dataclass
class AugmentationConfig(Section):
    """How training images are varied; each `probability` of 0 turns its step off.

    pad: zero pixels added on each side before cropping back to the size at a random place.
    translation: instead of `pad`, the largest shift as a share of the height and of the width
        (0.05: samples around the image centre of Ahmed et al. 2015).
    erasing_*: random erasing (Zhong et al. 2020): share of the area and aspect ratio of the
        rectangle, filled with the mean colour.
    brightness, contrast, saturation, hue: largest relative change (hue: share of the circle);
        hue and saturation change in YIQ space.
    crop_*: random-sized crops: share of the image's area that is kept, and its smallest aspect
        ratio, width over height (its largest is the inverse); with a null aspect the crop has the
        image's own, so that nothing is distorted.
    cutout_*: a rectangle of random noise at a random place (Almazan et al. 2018). Its area is a
        random share of the image's, up to a limit that grows over the first `cutout_epochs` epochs
        from `cutout_area_start` to `cutout_area_end`; `cutout_aspect_min` bounds its aspect ratio
        like that of a crop.
    """

    flip_probability: Share = 0.5
    pad: NotNegative = 10
    translation: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    erasing_probability: Share = 0.5
    erasing_area_min: Share = 0.02
    erasing_area_max: Share = 0.4
    erasing_aspect_min: Annotated[float, Field(gt=0, le=1)] = 0.3
    color_probability: Share = 0.0
    brightness: Share = 0.2
    contrast: Share = 0.15
    saturation: Share = 0.1
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    crop_probability: Share = 0.0
    crop_area_min: Annotated[float, Field(gt=0, le=1)] = 0.08
    crop_area_max: Annotated[float, Field(gt=0, le=1)] = 1.0
    crop_aspect_min: Optional[Annotated[float, Field(gt=0, le=1)]] = None
    cutout_probability: Share = 0.0
    cutout_area_start: Share = 0.0
    cutout_area_end: Share = 0.5
    cutout_epochs: Positive = 120
    cutout_aspect_min: Annotated[float, Field(gt=0, le=1)] = 0.3

    def __post_init__(self):
        for kind in ("erasing", "crop"):
            if getattr(self, f"{kind}_area_min") > getattr(self, f"{kind}_area_max"):
                raise ValueError(f"{kind}_area_min is above {kind}_area_max")
        if self.pad and self.translation:
            raise ValueError("pad and translation are two ways to shift; set one of them to 0")
