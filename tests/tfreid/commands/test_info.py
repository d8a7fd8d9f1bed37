"""The model description's command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tfreid.commands import info as info_command

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def model_info():
    return info_command


def test_the_stock_osnet(model_info, capsys):
    recipe = "osnet"
    assert model_info.main(["--config", recipe, "model.backbone=osnet_x0_25"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trainable_params"] == 587_127
    assert found["input_shape"] == [256, 128, 3]
    assert found["embedding_size"] == 512
    assert found["name"] == "osnet"


def test_identities_and_overrides_before_and_after_options(
    model_info, tiny_backbone, capsys, tmp_path
):
    (tmp_path / "tiny.yaml").write_text(
        f"model: {{backbone: {tiny_backbone}, height: 64, width: 32}}")
    counts = []
    for identities in ("1", "11"):
        assert model_info.main(["model.classifier_bias=true", "--config",
                                str(tmp_path / "tiny.yaml"), "--identities", identities]) == 0
        counts.append(json.loads(capsys.readouterr().out)["params"])
    assert counts[1] - counts[0] == 10 * (8 + 1)


def test_a_csn(model_info, capsys):
    recipe = "csn_l23"
    assert model_info.main(["--config", recipe, "csn.levels=[2,3,4]"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trainable_params"] == 815_940
    assert found["levels"] == [2, 3, 4]
    assert found["paper_table_5"] == {"params": 800_000, "flops": 1_310_000_000, "depth": 18}


def test_mistakes_are_one_sentence(model_info, capsys, tmp_path):
    assert model_info.main(["--config", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err
    (tmp_path / "empty.yaml").write_text("")
    assert model_info.main(["--config", str(tmp_path / "empty.yaml"), "model.backbone=osnet"]) == 2
    assert "nearest is osnet" in capsys.readouterr().err
