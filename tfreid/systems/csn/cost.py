"""Cost of a CSN: parameters and FLOPs, and the measured speed of its comparisons."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfreid.benchmarks.measuring import describe_network, random_images, rounded, timed
from tfreid.config import Config
from tfreid.models.flops import count_cost, count_flops, count_parameters
from tfreid.systems.csn.network import build_csn, compared_features, csn_parts
from tfreid.systems.csn.scores import CsnScorer, simi_score
from tfreid.systems.csn.settings import Settings as CsnSettings
from tfreid.training.strategy import prepare_runtime

# Guo and Cheung 2018, Table 5: parameters, FLOPs and depth by levels, for images of 160x60.
_CSN_PAPER = {
    (2, 3): {"params": 500_000, "flops": 960_000_000, "depth": 12},
    (2, 3, 4): {"params": 800_000, "flops": 1_310_000_000, "depth": 18},
}
_CSN_PAPER_SIZE = [160, 60, 3]
_TURNS = 3
_PAIRS_AT_ONCE = 64


def describe_csn(config: Config, model: keras.Model) -> dict[str, Any]:
    """Describes a CSN.

    Not counted are products of stacks of matrices (BatchMatMul), here those of the bilinear
    sampler: it multiplies by dense interpolation matrices, which have only four nonzero weights per
        sample.

    Args:
        config: Its settings.
        model: What `build_csn` made of them.

    Returns:
        `name`; `levels`; `trainable_params`, and `params` with the batch norms' statistics; `flops`
        of one pair, 2 x multiply-adds of extracting and comparing both images; its parts
        `flops_extract` of one image and `flops_compare` of one pair; `depth`, the layers on the
        longest path from images to logits; `input_shape` [height, width, 3]; and for the paper's
        networks `paper_table_5`, the paper's counts.
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
        "depth": count_cost(
            lambda images: model({"images": images, "first": tf.constant([0]),
                                  "second": tf.constant([1])}, training=False)["logits"],
            tf.TensorSpec((2, *shape), tf.float32)).depth,
        "input_shape": shape,
    }
    levels = tuple(config.csn.levels)
    # Neither ablations nor other image sizes are in the table.
    full = CsnSettings(levels=list(levels))
    if levels in _CSN_PAPER and config.csn == full and shape == _CSN_PAPER_SIZE:
        described["paper_table_5"] = _CSN_PAPER[levels]
    return described


def measure_gallery(config: Config, queries: int, gallery: int,
                    pairs: int | None) -> dict[str, Any]:
    """Compares all queries with a gallery, and runs the whole network on pairs, in turns.

    The first extracts every image once and compares the features; the second extracts both images
    of each pair again, in batches of 64 pairs.

    Args:
        config: Settings of a CSN.
        queries: Number of queries.
        gallery: Number of gallery images.
        pairs: Number of pairs, spread over all, that the whole network runs on; None for all.
    """
    # The whole network compares a pair in one order.
    score = dataclasses.replace(config.csn.score, both_orders=False)
    config = dataclasses.replace(
        config, csn=dataclasses.replace(config.csn, score=score))
    prepare_runtime(config.training)
    model = build_csn(config)
    images = random_images(queries + gallery, config.model.height, config.model.width)
    every = np.arange(queries * gallery)
    count = len(every) if pairs is None else min(pairs, len(every))
    rows, columns = np.divmod(every[np.linspace(0, len(every) - 1, count).astype(int)], gallery)
    batch, spec = config.data.eval_batch_size, tf.TensorSpec([None, *images.shape[1:]], tf.float32)
    parts, scorer, found = csn_parts(model), CsnScorer(model, config, None), {}
    extract_batch = tf.function(
        lambda x: compared_features(parts.extract(x, training=False)), input_signature=[spec])
    run_pairs = tf.function(lambda first, second: _scores(model, config, first, second),
                            input_signature=[spec, spec])

    def extract_side(side):
        blocks = [extract_batch(side[start : start + batch])
                  for start in range(0, len(side), batch)]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    def extract():
        found["sides"] = [extract_side(side) for side in (images[:queries], images[queries:])]

    def compare():
        found["scores"] = scorer.cross(*found["sides"], progress=False)

    def whole():
        blocks = [slice(start, start + _PAIRS_AT_ONCE) for start in range(0, count, _PAIRS_AT_ONCE)]
        found["whole"] = np.concatenate([
            run_pairs(images[rows[block]], images[queries + columns[block]]) for block in blocks])

    extract(), compare(), whole()  # compile
    turns = []
    for _ in range(_TURNS):
        extraction, comparison = timed(extract)[0], timed(compare)[0]
        turns.append((extraction + comparison, timed(whole)[0] * len(every) / count, extraction))
    seconds, extrapolated, extraction = np.median(turns, axis=0)
    ratios = [theirs / ours for ours, theirs, _ in turns]
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
        "largest_score": rounded(np.abs(found["whole"]).max()),
        "largest_score_difference": rounded(
            np.abs(found["scores"][rows, columns] - found["whole"]).max()),
    }


def _scores(model, config, first, second):
    """Runs the network from the images to the scores of n pairs."""
    count = tf.shape(first)[0]
    outputs = model({"images": tf.concat([first, second], 0), "first": tf.range(count),
                     "second": tf.range(count, 2 * count)}, training=False)
    probabilities = tf.nn.softmax(outputs["logits"])[:, 1]
    return simi_score(probabilities, outputs.get("distance"), config.csn.score)
