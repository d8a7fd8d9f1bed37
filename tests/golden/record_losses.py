"""Records losses and gradients of pytorch-metric-learning: `python record_losses.py`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytorch_metric_learning as pml
import torch
from pytorch_metric_learning import losses, miners
from pytorch_metric_learning.reducers import DoNothingReducer

SEED = 0
LABELS = np.repeat([0, 2, 3], 4)
SIZE, CLASSES = 8, 5


def main() -> None:
    """Writes losses.npz."""
    random = np.random.default_rng(SEED)
    # A common direction, so that negatives are near too.
    embeddings = random.normal(size=(len(LABELS), SIZE)) + 0.7
    classes = random.normal(size=(SIZE, CLASSES))
    # One image nearly opposite to its class, one nearly on it.
    embeddings[1] = -3.0 * classes[:, LABELS[1]] + 0.05 * random.normal(size=SIZE)
    embeddings[6] = 2.0 * classes[:, LABELS[6]] + 0.01 * random.normal(size=SIZE)
    embeddings, classes = embeddings.astype(np.float32), classes.astype(np.float32)
    arrays = {"embeddings": embeddings, "labels": LABELS, "classes": classes}
    for name, compute in LOSSES.items():
        x, w = (torch.tensor(array, dtype=torch.float64, requires_grad=True)
                for array in (embeddings, classes))
        values = compute(x, torch.from_numpy(LABELS), w)
        values.sum().backward()
        arrays[f"{name}/losses"] = values.detach().numpy()
        arrays[f"{name}/embeddings"] = x.grad.numpy()
        if w.grad is not None:
            arrays[f"{name}/classes"] = w.grad.numpy()
        print(name, values.detach().numpy().round(3))
    about = {"seed": SEED, "made_with": f"pytorch-metric-learning {pml.__version__}, torch "
                                        f"{torch.__version__}, float64"}
    np.savez_compressed(Path(__file__).with_name("losses.npz"), about=json.dumps(about), **arrays)


def _values(loss, x, labels, *pairs, **references):
    return loss(x, labels, *pairs, **references)["loss"]["losses"].reshape(-1)


def _margin_softmax(kind, **settings):
    def compute(x, labels, classes):
        loss = kind(num_classes=CLASSES, embedding_size=SIZE, reducer=DoNothingReducer(),
                    **settings)
        del loss.W
        loss.W = classes
        loss.cast_types = lambda dtype, device: None
        return _values(loss, x, labels)

    return compute


def _pairs(kind, miner=None, **settings):
    def compute(x, labels, classes):
        pairs = () if miner is None else (miner(x, labels),)
        return _values(kind(reducer=DoNothingReducer(), **settings), x, labels, *pairs)

    return compute


def _circle_of_classes(x, labels, classes):
    loss = losses.CircleLoss(m=0.25, gamma=128, reducer=DoNothingReducer())
    return _values(loss, x, labels, ref_emb=classes.t(), ref_labels=torch.arange(CLASSES))


LOSSES = {
    "arcface": _margin_softmax(losses.ArcFaceLoss, margin=np.degrees(0.5), scale=64),
    "cosface": _margin_softmax(losses.CosFaceLoss, margin=0.35, scale=64),
    "circle_classifier": _circle_of_classes,
    "circle": _pairs(losses.CircleLoss, m=0.25, gamma=128),
    "multi_similarity": _pairs(losses.MultiSimilarityLoss, miners.MultiSimilarityMiner(0.1),
                               alpha=2, beta=50, base=0.5),
    "supervised_contrastive": _pairs(losses.SupConLoss, temperature=0.1),
}

if __name__ == "__main__":
    main()
