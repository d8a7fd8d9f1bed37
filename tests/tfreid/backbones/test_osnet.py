"""OSNet: parameter counts, sizes, and one block recomputed in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfreid.backbones import BACKBONES
from tfreid.backbones.osnet import osnet, osnet_head


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_weights)


@pytest.mark.parametrize(
    "name, one_way, market",
    [("osnet_x0_25", 202_377, 587_127), ("osnet_x1_0", 2_170_021, 2_554_771)],
)
def test_published_counts(name, one_way, market):
    inputs = keras.Input((256, 128, 3))
    model = keras.Model(inputs, osnet_head(BACKBONES[name](inputs)))
    assert trainable(model) + 512 + 1 == one_way
    assert trainable(model) + (512 + 1) * 751 == market


@pytest.mark.parametrize("width, channels", [(0.25, 128), (0.5, 256), (0.75, 384), (1.0, 512)])
def test_shapes(width, channels):
    inputs = keras.Input((256, 128, 3))
    assert osnet(inputs, width).shape == (None, 16, 8, channels)
    backbone = BACKBONES["osnet_x" + f"{width:0<4}".replace(".", "_").replace("0_50", "0_5")
                         .replace("1_00", "1_0")]
    assert backbone.channels == channels


def test_trunk_count():
    inputs = keras.Input((64, 32, 3))
    assert trainable(keras.Model(inputs, osnet(inputs, 0.25))) == 134_792


def test_width_too_small_for_a_gate():
    with pytest.raises(ValueError, match="at least 0.25, got 0.2"):
        osnet(keras.Input((64, 32, 3)), 0.2)


def test_last_stride_is_fixed():
    with pytest.raises(ValueError, match="got 2"):
        BACKBONES["osnet_x0_25"](keras.Input((64, 32, 3)), last_stride=2)
