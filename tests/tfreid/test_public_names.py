"""The public names: what `import tfreid` offers, and the examples in the docstrings."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tfreid

ROOT = Path(__file__).parents[2]
# Results, settings and errors that users receive; the classes and functions that they call have an
# example.
WITHOUT_EXAMPLE = {"Ranking", "Verification", "SplitIndex", "Split", "Config", "AugmentationConfig",
                   "PairDataConfig", "UserError"}


@pytest.fixture(scope="module")
def workplace(records, tmp_path_factory):
    """A folder as a user has it: `records/people`, `runs/first`, `images/a.jpg` and `b.jpg`."""
    from tfreid.config import Config, DataConfig, ModelConfig, save_config
    from tfreid.models.embedding import build_embedding_model
    from tfreid.weights.files import save_weights

    folder = tmp_path_factory.mktemp("workplace")
    for name in ("records", "runs/first/checkpoints", "images"):
        (folder / name).mkdir(parents=True)
    (folder / "records" / "people").symlink_to(records)
    config = Config(model=ModelConfig(backbone="osnet_x0_25", height=64, width=32,
                                      num_identities=8), data=DataConfig(records=str(records)))
    save_config(config, folder / "runs/first/config.yaml")
    save_weights(build_embedding_model(config.model),
                 folder / "runs/first/checkpoints/last.weights.h5")
    images = tfreid.Records(records)["gallery"].encoded
    for name, image in zip("ab", images):
        (folder / "images" / f"{name}.jpg").write_bytes(image)
    return folder


def test_importing_loads_no_tensorflow():
    program = "import sys, tfreid; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


@pytest.mark.parametrize("name", tfreid.__all__)
def test_a_public_name_is_explained(name):
    value = getattr(tfreid, name)
    assert value.__module__ not in ("builtins",) and value.__doc__
    assert (">>>" in value.__doc__) != (name in WITHOUT_EXAMPLE)


@pytest.mark.parametrize("name", sorted({*tfreid.__all__} - WITHOUT_EXAMPLE))
def test_the_example_runs(name, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    examples = doctest.DocTestParser().get_doctest(
        getattr(tfreid, name).__doc__, {"tfreid": tfreid, "np": np}, name, None, 0)
    failed = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS).run(
        examples, out=failed.append)
    assert not failed, "".join(failed)


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = tfreid.no_such_name
