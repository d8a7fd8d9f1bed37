"""The section `loss`: what is minimised."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import AfterValidator, Field

from tfreid.setting import (
    NotNegativeFloat,
    PositiveFloat,
    Section,
    Share,
    ShareBelowOne,
    section,
    setting,
)


def _check_weight(arguments: dict[str, Any]) -> dict[str, Any]:
    weight = arguments.get("weight", 1.0)
    if type(weight) not in (int, float) or not 0 <= weight <= 1e6:
        raise ValueError("its weight must be a number from 0 to 1,000,000")
    return arguments


OtherLoss = Annotated[dict[str, Any], AfterValidator(_check_weight)]


@dataclasses.dataclass
class IdLossConfig(Section):
    """Cross-entropy of the identity classifier."""

    weight: NotNegativeFloat = setting(1.0, "Weight of the loss; 0 leaves it out.")
    smoothing: ShareBelowOne = setting(0.1, "Label smoothing.")


@dataclasses.dataclass
class TripletLossConfig(Section):
    """Triplet loss over the batch (Hermans et al. 2017)."""

    weight: NotNegativeFloat = setting(1.0, "Weight of the loss; 0 leaves it out.")
    mining: Literal["batch_hard", "batch_all"] = setting(
        "batch_hard", "Which triplets count: the hardest of each anchor, or all of the batch.")
    margin: Union[PositiveFloat, Literal["soft"]] = setting(
        0.3, "Margin of the hinge, or `soft` for log(1 + exp(.)).")
    normalize: bool = setting(
        False, "Whether distances are taken between L2-normalised features.")
    across_replicas: bool = setting(
        False, "Whether anchors also mine in the images of the other replicas.")


@dataclasses.dataclass
class LinLossConfig(Section):
    """The Lin loss on L2-normalised features; `tfreid/losses/lin.py` has its equations.

    The ranked list loss of Wang et al. 2019 is positive_boundary 0.8, negative_boundary 1.2,
    temperature 10, decay false, pairs `active`.
    """

    weight: NotNegativeFloat = setting(0.0, "Weight of the loss; 0 leaves it out.")
    positive_boundary: Annotated[float, Field(ge=0, le=2)] = setting(
        0.7, "r, the distance up to which images of the same identity cost nothing.")
    negative_boundary: Annotated[float, Field(gt=0, le=2)] = setting(
        2.0, "Distance from which images of different identities cost nothing; 2 is the largest "
        "possible distance.")
    temperature: NotNegativeFloat = setting(
        1.0, "T, how much nearer negatives outweigh farther ones.")
    decay: bool = setting(True, "Whether the weights have the factor exp(-d).")
    pairs: Literal["all", "active"] = setting(
        "all", "What a query averages over: all of its pairs, or those that cost something.")
    weight_gradient: bool = setting(
        False, "Whether the gradient also goes through the weights, as in the published code, or "
        "takes them for constants.")
    reduction: Literal["sum", "mean"] = setting(
        "mean", "Sum or mean over the queries of a replica's batch. The sum grows with the batch, "
        "so its weight has to shrink with it.")
    across_replicas: bool = setting(
        False, "Whether queries also rank the images of the other replicas.")

    def __post_init__(self):
        if self.positive_boundary > self.negative_boundary:
            raise ValueError("positive_boundary is above negative_boundary")


@dataclasses.dataclass
class CircleLossConfig(Section):
    """Circle loss between the images of the batch (Sun et al. 2020), on L2-normalised features."""

    weight: NotNegativeFloat = setting(0.0, "Weight of the loss; 0 leaves it out.")
    scale: PositiveFloat = setting(
        128.0, "gamma, by which similarities are multiplied; the loss grows with it.")
    margin: Share = setting(
        0.25, "m: positive pairs are drawn above a cosine of 1 - m, negative ones below m.")
    across_replicas: bool = setting(
        False, "Whether anchors are also compared with the images of the other replicas.")


@dataclasses.dataclass
class MultiSimilarityLossConfig(Section):
    """Multi-similarity loss with its pair mining (Wang et al. 2019), on L2-normalised features."""

    weight: NotNegativeFloat = setting(0.0, "Weight of the loss; 0 leaves it out.")
    positive_scale: PositiveFloat = setting(
        2.0, "alpha, how much less similar positives outweigh others.")
    negative_scale: PositiveFloat = setting(
        50.0, "beta, how much more similar negatives outweigh others.")
    threshold: Annotated[float, Field(ge=-1, le=1)] = setting(
        0.5, "lambda, the cosine that parts positive and negative pairs; the paper's text has 1, "
        "its code 0.5.")
    mining_margin: Annotated[float, Field(ge=0, le=2)] = setting(
        0.1, "epsilon: pairs count that are up to this much easier than the anchor's hardest of "
        "the other kind; 2 counts all.")
    across_replicas: bool = setting(
        False, "Whether anchors are also compared with the images of the other replicas.")


@dataclasses.dataclass
class SupervisedContrastiveLossConfig(Section):
    """Supervised contrastive loss (Khosla et al. 2020, L_out), on L2-normalised features."""

    weight: NotNegativeFloat = setting(0.0, "Weight of the loss; 0 leaves it out.")
    temperature: PositiveFloat = setting(
        0.1, "tau, by which cosines are divided; lower ones look at the hardest pairs alone.")
    across_replicas: bool = setting(
        False, "Whether anchors are also compared with the images of the other replicas.")


@dataclasses.dataclass
class AddonsLossConfig(Section):
    """A loss of TensorFlow Addons, where that is installed; see `tfreid.addons.metric_loss`."""

    name: Optional[Literal["triplet_semi_hard", "lifted_structure", "npairs"]] = setting(
        None, "Which loss; null for none.")
    weight: NotNegativeFloat = setting(1.0, "Weight of the loss; 0 leaves it out.")
    margin: PositiveFloat = setting(
        1.0, "Margin of `triplet_semi_hard` and `lifted_structure`.")


@dataclasses.dataclass
class CenterLossConfig(Section):
    """Pull of embeddings to the centre of their class."""

    weight: NotNegativeFloat = setting(0.0005, "Weight of the loss; 0 leaves it out.")
    variant: Literal["bag_of_tricks", "wen"] = setting(
        "bag_of_tricks", "Whose loss: `bag_of_tricks` (mean of the batch, centres by SGD) or `wen` "
        "(Wen et al. 2016).")
    rate: NotNegativeFloat = setting(
        0.5, "Learning rate of the centres (alpha of Wen et al.).")


@dataclasses.dataclass
class MatchLossConfig(Section):
    """Cross-entropy over match / no match of a pair (Guo and Cheung 2018, Eq. 3)."""

    weight: NotNegativeFloat = setting(
        1.0, "Weight of the loss, for `system: csn` and the combined loss of `system: siamese`.")


@dataclasses.dataclass
class ContrastiveLossConfig(Section):
    """Contrastive loss of a pair's features (Guo and Cheung 2018, Eq. 4)."""

    weight: NotNegativeFloat = setting(
        1.0, "Weight of the loss, for `system: csn` and the combined loss of `system: siamese`.")
    margin: PositiveFloat = setting(
        1.0, "Distance m from which negative pairs cost nothing.")
    scale: Literal["half", "mean"] = setting(
        "half", "Factor of the loss: `half` is 1 / (2m) as in Eq. 4, `mean` is 1 / m.")


@dataclasses.dataclass
class RegionLossConfig(Section):
    """Penalties on the regions that a CSN attends to (Guo and Cheung 2018, Section 4.2)."""

    rotation: NotNegativeFloat = setting(
        0.1, "Weight of the L1 penalty on the rotation terms of the attended regions.")
    scale: NotNegativeFloat = setting(
        1.0, "Weight of the hinge penalty that keeps the scales of the regions positive.")
    inside: NotNegativeFloat = setting(
        1.0, "Weight of the hinge penalty that keeps the regions inside the image.")


@dataclasses.dataclass
class LossConfig(Section):
    """The loss is the sum of weight * loss over the losses whose weight is above 0.

    `system: embedding` adds up `id`, `triplet`, `lin`, `circle`, `multi_similarity`,
    `supervised_contrastive`, `addons` and `center`; `system: csn` adds up `match`, `contrastive`
    and `regions`; `system: siamese` takes the loss that `siamese.loss` names, with its settings
    from here; `system: triplet` has its loss in its own section.
    """

    classifier: Literal["softmax", "arcface", "cosface", "circle"] = setting(
        "softmax", "What the ID loss is of `system: embedding`: a plain `softmax`, or, of a "
        "classifier of L2-normalised features and weights without bias, `arcface` (Deng et al. "
        "2019), `cosface` (Wang et al. 2018) or `circle` (Sun et al. 2020), which subtract a "
        "margin from the image's own class. Label smoothing applies to all.")
    classifier_scale: Optional[PositiveFloat] = setting(
        None, "By what `arcface`, `cosface` and `circle` multiply their cosines; null is 16, "
        "16 and 128. ArcFace and CosFace were published with 64, for many more identities.")
    classifier_margin: Optional[Share] = setting(
        None, "Margin of `arcface` (an angle in radians), `cosface` and `circle`; null is the "
        "published 0.5, 0.35 and 0.25.")
    metric_feature: Literal["embedding", "neck"] = setting(
        "embedding", "What the losses between images (triplet, Lin, circle, multi-similarity, "
        "supervised contrastive, Addons) see: `embedding`, before the neck, or `neck`, after it.")
    center_feature: Literal["embedding", "neck"] = setting(
        "embedding", "What the center loss sees and the centers follow: the `embedding`, or the "
        "`neck` (Bhanushali's ResNet-50).")
    id: IdLossConfig = section(IdLossConfig)
    triplet: TripletLossConfig = section(TripletLossConfig)
    lin: LinLossConfig = section(LinLossConfig)
    circle: CircleLossConfig = section(CircleLossConfig)
    multi_similarity: MultiSimilarityLossConfig = section(MultiSimilarityLossConfig)
    supervised_contrastive: SupervisedContrastiveLossConfig = section(
        SupervisedContrastiveLossConfig)
    addons: AddonsLossConfig = section(AddonsLossConfig)
    center: CenterLossConfig = section(CenterLossConfig)
    match: MatchLossConfig = section(MatchLossConfig)
    contrastive: ContrastiveLossConfig = section(ContrastiveLossConfig)
    regions: RegionLossConfig = section(RegionLossConfig)
    others: dict[str, OtherLoss] = setting(
        {}, "Further losses of `system: embedding`, by their name in `tfreid.losses.LOSSES`, each "
        "with its `weight` and its own arguments, for example `{my_loss: {weight: 0.5, margin: "
        "0.2}}`. They see the labels and what `metric_feature` says.")
