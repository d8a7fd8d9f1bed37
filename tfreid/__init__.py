"""Person re-identification for TensorFlow and Keras.

Names are imported when they are first used, so that `import tfreid` takes no time. Imported before
TensorFlow, it switches TensorFlow's oneDNN kernels on, which it leaves off on some processors:
they train up to twice as fast. `TF_ENABLE_ONEDNN_OPTS=0` in the environment keeps them off.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"

# Public name -> its module.
_MODULES = {
    **dict.fromkeys(("Ranking", "TrainedModel", "Verification", "load"), "tfreid.trained_model"),
    **dict.fromkeys(("Records", "Split", "SplitIndex"), "tfreid.records"),
    **dict.fromkeys(("identity_dataset", "pair_dataset"), "tfreid.data.datasets"),
    **dict.fromkeys(("AugmentationConfig", "Config", "PairDataConfig", "load_config"),
                    "tfreid.config"),
    "embedding_model": "tfreid.models.embedding",
    "InputSize": "tfreid.layers.preprocessing",
    "evaluate_ranking": "tfreid.evaluation.ranking",
    "expand_features": "tfreid.evaluation.pooling",
    "k_reciprocal_rerank": "tfreid.evaluation.reranking",
    "pairwise_distances": "tfreid.evaluation.distances",
    "verification_curve": "tfreid.evaluation.verification",
    **dict.fromkeys(("ArcFaceLoss", "CenterLoss", "CircleClassifierLoss", "CircleLoss",
                     "ContrastiveLoss", "CosFaceLoss", "LabelSmoothedSoftmax", "LinLoss",
                     "MultiSimilarityLoss", "PairSoftmax", "SupervisedContrastiveLoss",
                     "TripletLoss", "TripletRankingLoss", "VerificationLoss"), "tfreid.losses"),
    "UserError": "tfrecords.errors",
}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'tfreid' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
