"""The section `data`: which records, and how they become batches."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal, Optional, Union

from pydantic import Field

from tfreid.setting import (
    Fraction,
    PathText,
    PositiveFloat,
    Section,
    Seed,
    Share,
    Whole,
    section,
    setting,
)


@dataclasses.dataclass
class SubsetConfig(Section):
    """Which training images are trained on, and which are held out; of each of several sources."""

    identities: Optional[Whole[2, 10**7]] = setting(
        None, "Number of training identities to draw; null takes all.")
    images: Optional[Whole[1, 10**9]] = setting(
        None, "Number of images of them, the same number of each identity; null takes all. With "
        "`identities`, only those with enough images are drawn (Bojja's study of MARS has 100 "
        "identities and 100,000 images).")
    validation: Annotated[float, Field(ge=0, le=10**7)] = setting(
        0.0, "Share, or from 1 on the number, of the training identities that are held out: "
        "evaluations during training are on them, and choose the `best` weights. 0 for none.")
    validation_by: Literal["identity", "image"] = setting(
        "identity", "What is held out: `identity` whole identities, as a test meets identities "
        "that were never trained on; `image`, with `system: siamese`, single images, as the study "
        "does. The latter leaks, because the same identities are trained on, and in video nearly "
        "the same frames; figures are marked as leaking.")
    seed: Seed = setting(0, "Seed of the drawings.")

    def __post_init__(self):
        if self.validation >= 1 and self.validation != int(self.validation):
            raise ValueError(f"validation is {self.validation:g}, which is neither a share below 1 "
                             "nor a whole number")


@dataclasses.dataclass
class AugmentationConfig(Section):
    """How training images are varied. A `probability` of 0 turns its step off."""

    flip_probability: Share = setting(0.5, "Probability of a horizontal flip.")
    pad: Whole[0, 512] = setting(
        10, "Zero pixels added on each side before cropping back to the size at a random place.")
    translation: Annotated[float, Field(ge=0, le=0.5)] = setting(
        0.0, "Largest shift as a share of height and width, instead of `pad` (0.05: samples "
        "around the image centre of Ahmed et al. 2015).")
    erasing_probability: Share = setting(
        0.5, "Probability of random erasing (Zhong et al. 2020) of a rectangle.")
    erasing_color: Annotated[list[Whole[0, 255]], Field(min_length=3, max_length=3)] = setting(
        [124, 116, 104], "RGB of the rectangle. [124, 116, 104] is the ImageNet mean, which "
        "normalisation turns into 0; [152, 142, 127] is what normalisation turns into that mean "
        "(0.485, 0.456, 0.406), which the public code of Bag of Tricks writes.")
    erasing_area_min: Share = setting(0.02, "Smallest share of the area that is erased.")
    erasing_area_max: Share = setting(0.4, "Largest share of the area that is erased.")
    erasing_aspect_min: Fraction = setting(
        0.3, "Smallest aspect ratio of the erased rectangle; the largest is its inverse.")
    color_probability: Share = setting(0.0, "Probability of a change of colours.")
    brightness: Share = setting(0.2, "Largest relative change of the brightness.")
    contrast: Share = setting(0.15, "Largest relative change of the contrast.")
    saturation: Share = setting(0.1, "Largest relative change of the saturation, in YIQ space.")
    hue: Annotated[float, Field(ge=0, le=0.5)] = setting(
        0.02, "Largest change of the hue as a share of the circle, in YIQ space.")
    crop_probability: Share = setting(0.0, "Probability of a random-sized crop.")
    crop_area_min: Fraction = setting(0.08, "Smallest share of the area that a crop keeps.")
    crop_area_max: Fraction = setting(1.0, "Largest share of the area that a crop keeps.")
    crop_aspect_min: Optional[Fraction] = setting(
        None, "Smallest aspect ratio of a crop, width over height; the largest is its inverse. "
        "With null the crop has the image's own, so that nothing is distorted.")
    cutout_probability: Share = setting(
        0.0, "Probability that a rectangle at a random place becomes noise (Almazan et al. 2018).")
    cutout_area_start: Share = setting(
        0.0, "Limit of the rectangle's share of the area in the first epoch. The share itself is "
        "random, up to the limit.")
    cutout_area_end: Share = setting(
        0.5, "Limit of that share in the last of `cutout_epochs`, and after.")
    cutout_epochs: Whole[1, 10**6] = setting(120, "Epochs over which the limit grows.")
    cutout_aspect_min: Fraction = setting(
        0.3, "Smallest aspect ratio of the rectangle; the largest is its inverse. Where an area "
        "leaves room for some of them only, it is one of these.")
    grey_probability: Share = setting(
        0.0, "Probability that the image loses its colours (global grey-scale transformation of "
        "Gong et al. 2021, whose public code has 0.05).")
    grey_patch_probability: Share = setting(
        0.0, "Probability that a rectangle of it does (the local one; their code has 0.4).")
    grey_patch_area_min: Share = setting(0.02, "Smallest share of the area that becomes grey.")
    grey_patch_area_max: Share = setting(0.4, "Largest share of the area that becomes grey.")
    grey_patch_aspect_min: Fraction = setting(
        0.3, "Smallest aspect ratio of the grey rectangle; the largest is its inverse.")
    patch_probability: Share = setting(
        0.0, "Probability that a part of another image of the batch, half of them mirrored and "
        "half turned by up to 10 degrees, is pasted at a random place (random patch of Zhou et al. "
        "2021, for OSNet-AIN; torchreid, whose pool is larger, has 0.5).")
    patch_area_min: Share = setting(0.01, "Smallest share of the area that the part covers.")
    patch_area_max: Share = setting(0.5, "Largest share of the area that the part covers.")
    patch_aspect_min: Fraction = setting(
        0.1, "Smallest aspect ratio of the part; the largest is its inverse.")
    blur_probability: Share = setting(0.0, "Probability of a Gaussian blur.")
    blur_sigma_min: Annotated[float, Field(ge=0.1, le=16)] = setting(
        0.1, "Smallest standard deviation of the blur, in pixels of the network's input.")
    blur_sigma_max: Annotated[float, Field(ge=0.1, le=16)] = setting(2.0, "The largest.")
    jpeg_probability: Share = setting(
        0.0, "Probability that the image, at the size of the network's input, is compressed as a "
        "JPEG file and read back.")
    jpeg_quality_min: Whole[1, 100] = setting(30, "Lowest quality of that file.")
    jpeg_quality_max: Whole[1, 100] = setting(95, "Highest quality of it.")
    randaugment_probability: Share = setting(
        0.0, "Probability of RandAugment (Cubuk et al. 2020): operations drawn from 13 and none.")
    randaugment_operations: Whole[1, 16] = setting(
        2, "How many operations follow each other, N.")
    randaugment_magnitude: Annotated[float, Field(ge=0, le=10)] = setting(
        5.0, "Strength of all operations, M; 10 is the end of the ranges of AutoAugment (turned by "
        "30 degrees, moved by 45 % of a side). The paper has N = 2 and M = 9 for a ResNet-50 on "
        "ImageNet; two such moves in one direction push a person out of the image.")
    augmix_probability: Share = setting(
        0.0, "Probability of AugMix (Hendrycks et al. 2020): a mixture of the image and of what "
        "chains of one to three operations make of it. Its consistency loss is not part of it.")
    augmix_severity: Annotated[float, Field(ge=0.1, le=10)] = setting(
        3.0, "Largest strength of an operation, where 10 is that of `randaugment_magnitude`; "
        "the strengths are uniform up to it.")
    augmix_width: Whole[1, 16] = setting(3, "Number of chains that are mixed.")

    def __post_init__(self):
        for kind in ("erasing_area", "crop_area", "grey_patch_area", "patch_area", "blur_sigma",
                     "jpeg_quality"):
            if getattr(self, f"{kind}_min") > getattr(self, f"{kind}_max"):
                raise ValueError(f"{kind}_min is above {kind}_max")
        if self.pad and self.translation:
            raise ValueError("pad and translation are two ways to shift; set one of them to 0")

    def steps(self) -> list[str]:
        """Returns the names of the steps, each of which has a `probability`."""
        end = "_probability"
        return [field.name[: -len(end)] for field in dataclasses.fields(self)
                if field.name.endswith(end)]

    def alone(self, step: str | None) -> AugmentationConfig:
        """Returns the settings with one step, or none, on every image, and no other."""
        chances = {f"{other}_probability": float(other == step) for other in self.steps()}
        return dataclasses.replace(self, pad=0, translation=0.0, **chances)

    def everything(self) -> AugmentationConfig:
        """Returns the settings with every step on every image, and the largest cut-outs."""
        chances = {f"{step}_probability": 1.0 for step in self.steps()}
        return dataclasses.replace(self, cutout_area_start=self.cutout_area_end, **chances)


@dataclasses.dataclass
class PairDataConfig(Section):
    """How training images become pairs (Guo and Cheung 2018, Section 4.2)."""

    batch_size: Whole[3, 2**16] = setting(128, "Pairs of every replica's batch.")
    negatives_per_positive: Whole[1, 1000] = setting(
        2, "Random negative pairs for each positive pair.")
    matching: Literal["all", "enlarged", "drawn"] = setting(
        "all", "Which positive pairs an epoch shows: `all` across cameras, `samples` times; all "
        "within each identity's `enlarged` set, which holds every image, `samples` shifted copies "
        "and a flipped one of it (Subramaniam et al. 2016); or as many `drawn` pairs as there are "
        "training images, where there are too many to show (MARS has over a hundred million).")
    apart: Literal["cameras", "tracklets", "images"] = setting(
        "cameras", "What the two images of a `drawn` positive pair must differ in: their cameras, "
        "their tracklets, or only in being two images. Where an identity has no two, the next "
        "best is taken.")
    samples: Whole[1, 1000] = setting(
        5, "How often an epoch shows every positive pair, each time shifted and flipped "
        "differently; with `matching: enlarged` the shifted copies of an image.")
    negatives: Literal["dataset", "batch"] = setting(
        "dataset", "Where the images of negative pairs come from: `dataset` draws two from all "
        "training images, as the paper does; `batch`, not for `matching: drawn`, pairs the images "
        "of the batch's positive pairs, so that each image is embedded once for several pairs and "
        "a step costs a third.")

    def __post_init__(self):
        if self.matching == "drawn" and self.negatives == "batch":
            raise ValueError("matching is drawn, which needs negatives to be dataset")


@dataclasses.dataclass
class DataConfig(Section):
    """Which records, and how they become batches."""

    records: Union[PathText, list[PathText], None] = setting(
        None, "Folder written by `tfreid build`, or a list of several, such as [records/a, "
        "records/b]: sources that are trained on together and evaluated one by one. A source has "
        "the name of its folder, with a number where two share one.", resume="free")
    source_balance: Union[Literal["equal"], list[PositiveFloat], None] = setting(
        None, "Shares of the sources that are trained on in the P identities of every batch (with "
        "`sampling: images` in its images, with `system: triplet` in the queries of the mined "
        "triplets): null draws as if they were one dataset, a larger source more often; `equal` "
        "gives each the same; a list has a number for each in their order, so that [3, 1] gives "
        "the first three quarters.")
    leave_out: Union[Whole[0, 10**9], str, None] = setting(
        None, "Source that is not trained on, and the one that is tested, also during training "
        "unless other images choose weights: its name (in quotes if it begins with a zero), or "
        "its place in `records` from 0.")
    fold: Whole[0, 9999] = setting(
        0, "Which identity split to use, where the records hold several (VIPeR, CUHK01, the "
        "original protocol of CUHK03).", average="free")
    subset: SubsetConfig = section(SubsetConfig)
    sampling: Literal["identities", "images"] = setting(
        "identities", "How batches are drawn: `identities` P x K, or `images` all images in random "
        "order, for losses that compare no images with each other.")
    identities_per_batch: Whole[1, 4096] = setting(16, "P of every replica's P x K batch.")
    images_per_identity: Whole[2, 1024] = setting(
        4, "K of every replica's P x K batch.")
    balance_cameras: bool = setting(
        False, "Whether the K images of an identity come from as many of its cameras as K allows, "
        "from each equally many or one more, where `sampling` is `identities`.")
    images_per_batch: Whole[1, 2**16] = setting(
        128, "Size of every replica's batch where `sampling` is `images`.")
    global_batch: Literal["grow", "keep"] = setting(
        "grow", "With several devices, `grow` gives each a batch of the sizes above, and `keep` a "
        "part of one: P, the images or the pairs of a batch are divided. `system: triplet` always "
        "keeps.")
    eval_batch_size: Whole[1, 2**16] = setting(
        64, "Images that an evaluation embeds at once.", resume="free", average="free")
    verify: Literal["size", "checksum"] = setting(
        "size", "How shards are checked when records are opened: by their `size`, or also by a "
        "`checksum` over all of their bytes.", resume="free", average="free")
    workers: Whole[0, 256] = setting(
        0, "Threads that decode; 0 chooses by the number of cores.", resume="free", average="free")
    memory_limit_mb: Optional[Annotated[float, Field(gt=0, le=1e9)]] = setting(
        None, "Megabytes of training images up to which they are held in memory; more are read "
        "from the records as batches need them. null is half of the free memory.", resume="free")
    augmentation: AugmentationConfig = section(AugmentationConfig)
    pairs: PairDataConfig = section(PairDataConfig)

    def __post_init__(self):
        if self.balance_cameras and self.sampling == "images":
            raise ValueError("balance_cameras is true, which needs sampling to be identities")
        if self.records == []:
            raise ValueError("records is an empty list; name a folder, or several")
        if self.source_balance == []:
            raise ValueError("source_balance is an empty list; give a number for each source")
        if isinstance(self.records, list) and len(self.records) == 1:
            self.records = self.records[0]

    @property
    def folders(self) -> list[str]:
        """The folders of `records`."""
        if self.records is None:
            return []
        return list(self.records) if isinstance(self.records, list) else [self.records]

    @property
    def named(self) -> str:
        """The folders of `records` in a sentence."""
        return " and ".join(map(str, self.folders))

    @property
    def tests_several(self) -> bool:
        """Whether tests are on several sources."""
        return len(self.folders) > 1 and self.leave_out is None
