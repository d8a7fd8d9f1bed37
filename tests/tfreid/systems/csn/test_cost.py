"""Size and cost of CSNs against their paper's."""

from __future__ import annotations

import pytest

from tfreid.config import Config, ModelConfig
from tfreid.systems.csn.cost import describe_csn
from tfreid.systems.csn.network import build_csn
from tfreid.systems.csn.settings import Settings as CsnSettings


def described_csn(height=160, **settings):
    config = Config(name="csn", system="csn", model=ModelConfig(height=height, width=60),
                    csn=CsnSettings(**settings))
    return describe_csn(config, build_csn(config))


@pytest.mark.parametrize(("levels", "trainable", "gflops", "paper"), [
    ([2, 3], 480_254, 0.9313, (500_000, 960_000_000)),
    ([2, 3, 4], 650_052, 1.0534, (800_000, 1_310_000_000)),
])
def test_a_csn_stands_beside_its_paper(levels, trainable, gflops, paper):
    """Guo and Cheung 2018, Table 5; what it counts beyond ours, the paper does not tell."""
    found = described_csn(levels=levels)
    assert found["trainable_params"] == trainable < found["params"]
    assert found["flops"] / 1e9 == pytest.approx(gflops, abs=5e-5)
    assert found["flops"] == 2 * found["flops_extract"] + found["flops_compare"]
    assert (found["name"], found["levels"]) == ("csn", levels)
    assert found["input_shape"] == [160, 60, 3]
    assert tuple(found["paper_table_5"].values()) == paper


def test_comparing_at_level_3_costs_what_paper_and_pencil_say():
    """Two directions of three 5x5 parts over 20x8x96, then 1x1, 3x3 (on 10x4, 5x2) and 1x1."""
    similarity = 2 * (2 * 3 * 20 * 8 * 96) * 25
    decision = 2 * (10 * 4 * 576 * 32 + 10 * 4 * 32 * 32 * 9 + 5 * 2 * 32 * 500 + 500 * 2)
    assert described_csn(levels=[3])["flops_compare"] == similarity + decision


def test_the_paper_has_no_figures_of_ablations_and_other_sizes():
    assert "paper_table_5" not in described_csn(ranking_net=False)
    assert "paper_table_5" not in described_csn(height=128)
    assert "paper_table_5" not in described_csn(levels=[3])
