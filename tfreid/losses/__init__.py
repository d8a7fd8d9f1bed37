"""Losses: each a pure function of tensors and a Keras loss over it.

The classes serve `Model.compile`. In a custom training loop under a distribution strategy, create
them with `reduction="none"` and average yourself: there Keras 2 refuses to compute a mean, and
Keras 3 divides it by the number of replicas.
"""

from tfreid.losses.center import CenterLoss
from tfreid.losses.classification import LabelSmoothedSoftmax
from tfreid.losses.contrastive import ContrastiveLoss
from tfreid.losses.lin import LinLoss
from tfreid.losses.triplet import TripletLoss
from tfreid.losses.triplet_ranking import TripletRankingLoss
from tfreid.losses.verification import PairSoftmax, VerificationLoss

# Name of a loss in settings and summaries -> its class. To add a loss, write its file and its line.
LOSSES = {
    "id": LabelSmoothedSoftmax,
    "triplet": TripletLoss,
    "lin": LinLoss,
    "center": CenterLoss,
    "contrastive": ContrastiveLoss,
    "match": PairSoftmax,
    "verification": VerificationLoss,
    "triplet_ranking": TripletRankingLoss,
}

__all__ = ["LOSSES", *(loss.__name__ for loss in LOSSES.values())]
