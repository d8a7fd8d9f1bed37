"""The sections `evaluation` and `export`: how a gallery is ranked, what a served model returns."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal, Optional

from pydantic import Field

from tfrecords.images import DECODABLE_PIXELS
from tfreid.setting import Section, Seed, Share, Whole, section, setting


@dataclasses.dataclass
class SingleShotConfig(Section):
    """One query and one gallery image of each identity, drawn again in every trial."""

    trials: Whole[1, 10**4] = setting(20, "Number of drawings that are averaged.")
    training_trials: Whole[1, 10**4] = setting(
        2, "Number of drawings that evaluations during training average.")
    identities: Optional[Whole[1, 10**6]] = setting(
        None, "Number of test identities that a trial draws; null for all.")
    seed: Seed = setting(0, "Seed of the drawings.", average="free")


@dataclasses.dataclass
class EvaluationConfig(Section):
    """How a gallery is ranked."""

    protocol: Literal["full", "single_shot"] = setting(
        "full", "`full` ranks the whole gallery for every query (CMC and mAP); `single_shot` "
        "averages the CMC of trials with one query and one gallery image per identity.")
    single_shot: SingleShotConfig = section(SingleShotConfig)
    feature: Literal["neck", "embedding"] = setting(
        "neck", "Feature that is compared: after the batch-norm `neck`, or the `embedding` before "
        "it.", resume="free")
    flip: bool = setting(
        False, "Whether an image's feature, also that which is exported, is the mean of the "
        "image's and its mirror image's; for systems that embed single images.", resume="free")
    metric: str = setting(
        "cosine", "Distance between features: `cosine`, `euclidean`, `cityblock`, `minkowski`, "
        "`correlation` or `dot`, as explained in tfreid.evaluation.pairwise_distances. With "
        "`system: siamese` also `probability`, that of the merge network.", resume="free")
    minkowski_p: Annotated[float, Field(ge=1, le=32)] = setting(
        3.0, "Exponent of the `minkowski` distance.", resume="free")
    max_rank: Whole[1, 10**5] = setting(50, "Length of the CMC curve.", resume="free")
    reranking: bool = setting(
        False, "Whether tfreid test also reports the figures after k-reciprocal re-ranking (Zhong "
        "et al. 2017). It works on squared Euclidean distances: of the features as they are for "
        "`euclidean`, of unit vectors for `cosine` and `correlation`; other metrics cannot be "
        "re-ranked. Evaluations during training stay plain.", resume="free")
    reranking_k1: Whole[1, 1000] = setting(
        20, "Number of reciprocal neighbours, k1.", resume="free")
    reranking_k2: Whole[1, 1000] = setting(
        6, "Number of nearest neighbours that an encoding is averaged over, k2.", resume="free")
    reranking_lambda: Share = setting(
        0.3, "Share of the original distance in the re-ranked one, lambda.", resume="free")
    multi_query: bool = setting(
        False, "Whether tfreid test also reports the figures of queries that are the mean of all "
        "images of a query's identity by its camera, from the split `multi_query` (Zheng et al. "
        "2015).", resume="free")
    expansion: bool = setting(
        False, "Whether tfreid test also reports the figures after queries and gallery have become "
        "means with their nearest gallery images (Almazan et al. 2018). This, multi_query and "
        "reranking are also reported together.", resume="free")
    expansion_method: Literal["added", "replaced"] = setting(
        "added", "`added` averages an image with its nearest others, the gallery first, and a "
        "query then with images of the expanded gallery; `replaced` takes the mean of the nearest "
        "gallery images alone, for a gallery image itself included.", resume="free")
    expansion_query: Whole[1, 1000] = setting(
        5, "Number of nearest gallery images in the mean of a query.", resume="free")
    expansion_gallery: Whole[1, 1000] = setting(
        10, "Number of nearest gallery images in the mean of a gallery image.", resume="free")
    tracklet_pooling: Literal["mean", "max", "none"] = setting(
        "mean", "How the features of a tracklet's images become the one that is ranked, where the "
        "records have tracklets: their mean, or the maximum of each dimension; `none` ranks single "
        "images. For `cosine` and `correlation` this, multi_query and expansion work on unit "
        "vectors.", resume="free")
    verification_pairs: Whole[2, 10**7] = setting(
        4000, "Number of pairs, half of them positive, on which `system: siamese` is validated and "
        "tested.")
    verification_apart: Literal["cameras", "tracklets", "images"] = setting(
        "cameras", "What the two images of a positive one of these pairs differ in, as in "
        "data.pairs.apart: thresholds are for pairs from two `cameras` unless told otherwise.")


@dataclasses.dataclass
class ExportConfig(Section):
    """What the served model returns."""

    normalize: bool = setting(
        True, "Whether embeddings become unit vectors; the descriptors of a Siamese network stay "
        "as they are.", resume="free", average="free")
    max_pixels: Whole[1, DECODABLE_PIXELS] = setting(
        16_000_000, "Images of more pixels, width times height, are refused instead of decoded: a "
        "file of a few kB can declare gigabytes.", resume="free", average="free")
    parity_images: Whole[1, 10**5] = setting(
        64, "Test images on which a device format is compared with the trained model.",
        resume="free", average="free")
    calibration_images: Whole[1, 10**5] = setting(
        200, "Images on which the ranges of int8 and int16x8 are measured.",
        resume="free", average="free")
    calibration_split: str = setting(
        "train", "The split that they come from, evenly spread over it.",
        resume="free", average="free")
    license: Optional[str] = setting(
        None, "Under which terms the exported model may be used, for its model.json. Defaults to "
        "those of its training data.", resume="free", average="free")
