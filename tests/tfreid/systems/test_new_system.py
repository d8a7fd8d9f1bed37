"""Adding a system is a folder and a line: a small one is trained, tested and exported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = '''
import dataclasses

from tfreid.setting import Section, setting


@dataclasses.dataclass
class Settings(Section):
    """The section of the example."""

    gain: float = setting(1.0, "Factor of the loss.")
'''
SYSTEM = '''
from tfrecords.errors import UserError
from tfreid.systems.embedding.system import EmbeddingSystem


class LoudSystem(EmbeddingSystem):
    unit = "loud images"

    def check(self, replicas):
        super().check(replicas)
        if self.config.loud.gain > 9:
            raise UserError("loud.gain is above 9; lower it.")
'''
# The line of the registry, then the ordinary commands.
PROGRAM = """
import sys
from tfreid.systems.registry import SYSTEMS
SYSTEMS["loud"] = "loud.system:LoudSystem"
from tfreid.backbones import BACKBONES
from tests.tiny_backbone import TINY
BACKBONES["tiny"] = TINY
from tfreid.commands import export, info, test, train
recipe, run = sys.argv[1:]
assert train.main(["--config", recipe, "--output", run + "-not", "loud.gain=10"]) == 2
assert train.main(["--config", recipe, "--output", run]) == 0
assert test.main(["--run", run, "--output", run + "/test", "evaluation.metric=euclidean"]) == 0
assert export.main(["--run", run]) == 0
assert info.main(["--config", recipe]) == 0
"""


@pytest.fixture(scope="module")
def done(records, tmp_path_factory):
    """What the commands printed, and the run's folder."""
    folder = tmp_path_factory.mktemp("loud")
    (folder / "loud").mkdir()
    for name, text in (("__init__", ""), ("settings", SETTINGS), ("system", SYSTEM)):
        (folder / "loud" / f"{name}.py").write_text(text)
    recipe = folder / "recipe.yaml"
    recipe.write_text(json.dumps({
        "system": "loud", "loud": {"gain": 2.0},
        "model": {"backbone": "tiny", "height": 32, "width": 16},
        "data": {"records": str(records), "identities_per_batch": 4, "images_per_identity": 2},
        "training": {"max_steps": 1},
    }))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    ran = subprocess.run([sys.executable, "-c", PROGRAM, str(recipe), str(folder / "run")],
                         cwd=ROOT, env=environment, text=True, timeout=600,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert ran.returncode == 0, ran.stdout
    return ran.stdout, folder / "run"


def test_it_is_trained_tested_and_exported(done):
    printed, run = done
    assert "loud.gain is above 9; lower it." in printed
    assert "loud images/s" in printed and "48 images of 8 identities" in printed
    assert "gain: 2.0" in (run / "config.yaml").read_text()
    assert json.loads((run / "test" / "results.json").read_text())["metric"] == "euclidean"
    assert (run / "export" / "1" / "saved_model.pb").exists()
    assert '"embedding_size": 8' in printed
