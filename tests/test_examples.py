"""The examples run."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.mark.slow
def test_training_with_keras(records, tmp_path, capsys):
    main = runpy.run_path(str(EXAMPLES / "train_with_keras.py"))["main"]
    rank_1 = main(["--records", str(records), "--output", str(tmp_path / "new" / "model.keras"),
                   "--epochs", "1", "--steps", "1"])
    printed = capsys.readouterr().out
    assert f"rank-1 after training: {rank_1:.1%}" in printed
    assert f"rank-1 of the loaded model: {rank_1:.1%}" in printed
