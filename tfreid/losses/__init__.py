"""Losses: each a pure function of tensors and a thin Keras loss over it.

The classes are for `Model.compile`. In a replica context of one's own, Keras 2 refuses their mean
and Keras 3 divides it by the number of replicas: take the functions there, or `reduction="none"`.
"""

from tfreid.losses.center import CenterLoss, center_loss
from tfreid.losses.classification import LabelSmoothedSoftmax, label_smoothed_softmax
from tfreid.losses.contrastive import (
    ContrastiveLoss,
    contrastive_from_distance,
    contrastive_loss,
)
from tfreid.losses.lin import LinLoss, lin_loss
from tfreid.losses.pair_softmax import PairSoftmax, pair_softmax
from tfreid.losses.triplet import TripletLoss, batch_all_triplet, batch_hard_triplet
from tfreid.losses.triplet_ranking import TripletRankingLoss, triplet_ranking
from tfreid.losses.verification import VerificationLoss, verification_loss

__all__ = [
    "CenterLoss",
    "ContrastiveLoss",
    "LabelSmoothedSoftmax",
    "LinLoss",
    "PairSoftmax",
    "TripletLoss",
    "TripletRankingLoss",
    "VerificationLoss",
    "batch_all_triplet",
    "batch_hard_triplet",
    "center_loss",
    "contrastive_from_distance",
    "contrastive_loss",
    "label_smoothed_softmax",
    "lin_loss",
    "pair_softmax",
    "triplet_ranking",
    "verification_loss",
]
