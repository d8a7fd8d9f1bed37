"""tools/reproduce.sh goes from a dataset's folder to figures."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tfrecords import build
from tfreid.config import load_config
from tfreid.config.recipes import shipped_recipes

ROOT = Path(__file__).parents[1]
SCRIPT = (ROOT / "tools" / "reproduce.sh").read_text()
NAMES = dict(re.findall(r"^    (\w+)\) .*recipe=\((.*)\) ;;$", SCRIPT, re.MULTILINE))
TINY = ["model.height=32", "model.width=16", "training.max_steps=2", "data.pairs.batch_size=4",
        "evaluation.verification_pairs=8"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """This checkout by links, its environment the interpreter that runs the tests."""
    folder = tmp_path_factory.mktemp("checkout")
    for entry in ROOT.iterdir():
        if not entry.name.startswith(".") and entry.name != "runs":
            (folder / entry.name).symlink_to(entry)
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    stamp = "".join((ROOT / name).read_text() for name in ("requirements.txt", "pyproject.toml"))
    (folder / ".venv" / "installed-requirements.txt").write_text(stamp)
    return folder


def reproduce(checkout: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Runs the script as a user does, in another folder than its own."""
    return subprocess.run(
        [str(checkout / "tools" / "reproduce.sh"), *arguments], cwd=checkout.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_the_table_and_of_shipped_recipes(name):
    recipe, *variants = NAMES[name].replace("--variant ", "").split()
    load_config(shipped_recipes()[recipe], variants=variants)
    assert f"`{name}`" in (ROOT / "docs" / "results.md").read_text()
    assert name in SCRIPT.split("set -euo")[0]


@pytest.mark.slow
def test_goes_from_images_to_figures(checkout):
    images = checkout.parent / "images"
    assert build.main([
        "synthetic", "--root", str(images), "--output", str(checkout.parent / "unused"),
        "--workers", "1", "--shards", "1", "--train-identities", "8", "--test-identities", "3",
        "--cameras", "2", "--cameras-per-identity", "2", "--images-per-camera", "2",
        "--distractors", "0", "--junk", "0",
    ]) == 0
    done = reproduce(checkout, "siamese", str(images), *TINY)
    assert done.returncode == 0, done.stderr
    run = checkout / "runs" / "reproduce" / "siamese"
    figures = json.loads((run / "split-gallery" / "verification.json").read_text())
    assert 0 <= figures["probability"]["roc_auc"] <= 1


@pytest.mark.parametrize("arguments, message", [
    (["siamese", "no_such_folder"], "the folder must exist"),
    (["nothing", "."], "unknown name nothing"),
    ([], "usage"),
])
def test_refuses_in_one_line(checkout, arguments, message):
    done = reproduce(checkout, *arguments)
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.splitlines()) == 1
