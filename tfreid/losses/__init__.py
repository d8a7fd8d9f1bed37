"""Losses: each a pure function of tensors and a Keras loss over it.

The classes serve `Model.compile`. In a custom training loop under a distribution strategy, create
them with `reduction="none"` and average yourself: there Keras 2 refuses to compute a mean, and
Keras 3 divides it by the number of replicas.
"""

from tfreid.losses.center import CenterLoss
from tfreid.losses.circle import CircleLoss
from tfreid.losses.classification import LabelSmoothedSoftmax
from tfreid.losses.contrastive import ContrastiveLoss
from tfreid.losses.lin import LinLoss
from tfreid.losses.margin_softmax import ArcFaceLoss, CircleClassifierLoss, CosFaceLoss
from tfreid.losses.multi_similarity import MultiSimilarityLoss
from tfreid.losses.supervised_contrastive import SupervisedContrastiveLoss
from tfreid.losses.triplet import TripletLoss
from tfreid.losses.triplet_ranking import TripletRankingLoss
from tfreid.losses.verification import PairSoftmax, VerificationLoss

# Name of a loss in settings and summaries -> its class. To add a loss, write its file and its line.
LOSSES = {
    "id": LabelSmoothedSoftmax,
    "arcface": ArcFaceLoss,
    "cosface": CosFaceLoss,
    "circle_classifier": CircleClassifierLoss,
    "triplet": TripletLoss,
    "lin": LinLoss,
    "circle": CircleLoss,
    "multi_similarity": MultiSimilarityLoss,
    "supervised_contrastive": SupervisedContrastiveLoss,
    "center": CenterLoss,
    "contrastive": ContrastiveLoss,
    "match": PairSoftmax,
    "verification": VerificationLoss,
    "triplet_ranking": TripletRankingLoss,
}

__all__ = ["LOSSES", *(loss.__name__ for loss in LOSSES.values())]
