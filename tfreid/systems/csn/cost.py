"""Cost of a CSN: parameters and FLOPs, and the measured speed of its comparisons."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfreid.benchmarks.measuring import describe_network, random_images, rounded, timed
from tfreid.config import Config
from tfreid.models.flops import count_flops, count_parameters
from tfreid.systems.csn.network import build_csn, csn_parts
from tfreid.systems.csn.scores import CsnScorer, simi_score
from tfreid.systems.csn.settings import Settings as CsnSettings
from tfreid.training.strategy import prepare_runtime

# Guo and Cheung 2018, Table 5: parameters and FLOPs by levels, for images of 160x60.
_CSN_PAPER = {
    (2, 3): {"params": 500_000, "flops": 960_000_000},
    (2, 3, 4): {"params": 800_000, "flops": 1_310_000_000},
}
_CSN_PAPER_SIZE = [160, 60, 3]
_TURNS = 3
_PAIRS_AT_ONCE = 64


def describe_csn(config: Config, model: keras.Model) -> dict[str, Any]:
    """Describes a CSN.

    Not counted are products of stacks of matrices (BatchMatMul): here they are the bilinear
    sampler's. That it multiplies by dense interpolation matrices, of which four weights a sample
    are not zero, is a matter of speed and no property of the network.

    Args:
        config: Its settings.
        model: What `build_csn` made of them.

    Returns:
        `name`; `levels`; `trainable_params`, and `params` with the batch norms' statistics; `flops`
        of one pair, 2 x multiply-adds of both images extracted and compared; `flops_extract` of
        one image and `flops_compare` of one pair, which are its parts; `input_shape` [height,
        width, 3]; and for the paper's networks `paper_table_5`, what the paper counts.
    """
    shape = [config.model.height, config.model.width, 3]
    parts = csn_parts(model)
    extract = count_flops(
        lambda images: parts.extract(images, training=False),
        tf.TensorSpec((1, *shape), tf.float32),
    )
    compare = count_flops(
        lambda features: parts.compare(features, training=False),
        {name: tf.TensorSpec((1, *value.shape[1:]), tf.float32)
         for name, value in parts.compare.input.items()},
    )
    described = {
        "name": config.name,
        "levels": list(config.csn.levels),
        "trainable_params": count_parameters(model.trainable_weights),
        "params": count_parameters(model.weights),
        "flops": 2 * extract + compare,
        "flops_extract": extract,
        "flops_compare": compare,
        "input_shape": shape,
    }
    levels = tuple(config.csn.levels)
    # Neither ablations nor other image sizes are in the table.
    full = CsnSettings(levels=list(levels))
    if levels in _CSN_PAPER and config.csn == full and shape == _CSN_PAPER_SIZE:
        described["paper_table_5"] = _CSN_PAPER[levels]
    return described


def measure_gallery(
    config: Config, queries: int, gallery: int, pairs: int | None
) -> dict[str, Any]:
    """Compares all queries with a gallery, beside the whole network run on pairs, in turns.

    Ours extracts every image once and compares the features; the other extracts both images of
    every pair anew, in batches of 64 pairs.

    Args:
        config: Of a CSN.
        queries: Number of queries.
        gallery: Number of gallery images.
        pairs: How many pairs, spread over all, the whole network is run on; None for all.
    """
    # The whole network looks at a pair in one order.
    score = dataclasses.replace(config.csn.score, both_orders=False)
    config = dataclasses.replace(
        config, csn=dataclasses.replace(config.csn, score=score))
    prepare_runtime(config.training)
    model = build_csn(config)
    images = random_images(queries + gallery, config.model.height, config.model.width)
    every = np.arange(queries * gallery)
    count = len(every) if pairs is None else min(pairs, len(every))
    rows, columns = np.divmod(every[np.linspace(0, len(every) - 1, count).astype(int)], gallery)
    ours = _Ours(model, config, images, queries)
    whole = _WholeNetwork(model, config, images, rows, queries + columns)
    ours(), whole()  # compile
    turns = []
    for _ in range(_TURNS):
        extraction, _ = timed(ours.extract)
        comparison, _ = timed(ours.compare)
        turns.append((extraction + comparison, timed(whole)[0] * len(every) / count, extraction))
    seconds, extrapolated, extraction = np.median(turns, axis=0)
    ratios = [theirs / own for own, theirs, _ in turns]
    return {
        **describe_network(config, {"levels": list(config.csn.levels)}),
        "queries": queries,
        "gallery": gallery,
        "seconds": rounded(seconds),
        "extraction_seconds": rounded(extraction),
        "pairs_per_second": rounded(len(every) / seconds),
        "whole_network_pairs_measured": count,
        "whole_network_pairs_per_second": rounded(len(every) / extrapolated),
        "whole_network_seconds" + ("" if count == len(every) else "_extrapolated"): rounded(
            extrapolated),
        "ratio": rounded(np.median(ratios)),
        "ratios": [rounded(ratio) for ratio in ratios],
        "largest_score": rounded(np.abs(whole.scores).max()),
        "largest_score_difference": rounded(
            np.abs(ours.scores[rows, columns] - whole.scores).max()),
    }


class _Ours:
    """Extracts every image once, then compares all queries with all gallery images."""

    def __init__(self, model, config, images, queries):
        parts = csn_parts(model)
        self._extract = tf.function(
            lambda x: parts.extract(x, training=False),
            input_signature=[tf.TensorSpec([None, *images.shape[1:]], tf.float32)])
        self._scorer = CsnScorer(model, config, None)
        self._sides = (images[:queries], images[queries:])
        self._batch = config.data.eval_batch_size

    def __call__(self):
        self.extract()
        self.compare()

    def extract(self):
        self._features = [self._extract_side(images) for images in self._sides]

    def compare(self):
        self.scores = self._scorer.cross(*self._features, progress=False)

    def _extract_side(self, images):
        blocks = [self._extract(images[start : start + self._batch])
                  for start in range(0, len(images), self._batch)]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]
                if not name.startswith("regions")}


class _WholeNetwork:
    """Runs the network from the images to the score for every pair."""

    def __init__(self, model, config, images, first, second):
        self._run = tf.function(
            lambda first, second: self._scores(model, config, first, second),
            input_signature=2 * [tf.TensorSpec([None, *images.shape[1:]], tf.float32)])
        self._images, self._first, self._second = images, first, second

    def __call__(self):
        blocks = [slice(start, start + _PAIRS_AT_ONCE)
                  for start in range(0, len(self._first), _PAIRS_AT_ONCE)]
        self.scores = np.concatenate([
            self._run(self._images[self._first[block]], self._images[self._second[block]])
            for block in blocks])

    @staticmethod
    def _scores(model, config, first, second):
        count = tf.shape(first)[0]
        outputs = model({"images": tf.concat([first, second], 0), "first": tf.range(count),
                         "second": tf.range(count, 2 * count)}, training=False)
        probabilities = tf.nn.softmax(outputs["logits"])[:, 1]
        return simi_score(probabilities, outputs.get("distance"), config.csn.score)
