"""Size and cost of a CSN."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfreid.config import Config
from tfreid.models.flops import count_flops, count_parameters
from tfreid.systems.csn.network import csn_parts
from tfreid.systems.csn.settings import Settings as CsnSettings

# Guo and Cheung 2018, Table 5: parameters and FLOPs by levels, for images of 160x60.
_CSN_PAPER = {
    (2, 3): {"params": 500_000, "flops": 960_000_000},
    (2, 3, 4): {"params": 800_000, "flops": 1_310_000_000},
}
_CSN_PAPER_SIZE = [160, 60, 3]


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
