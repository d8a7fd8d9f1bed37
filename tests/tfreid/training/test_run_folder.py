"""What a resumed run may change and what not."""

from __future__ import annotations

import pytest

from tfrecords.errors import UserError
from tfreid.config import load_config
from tfreid.training.run_folder import start_run


@pytest.fixture
def resume(tmp_path):
    """Returns a function that starts a run, then resumes it with other settings."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: first\n")
    start_run(tmp_path / "run", load_config(recipe), "first", resume=False)

    def again(*overrides):
        return start_run(tmp_path / "run", load_config(recipe, overrides), "again", resume=True)

    return again


@pytest.mark.parametrize("override, old", [
    ("system=csn", "embedding"),
    ("model.height=64", "256"),
    ("data.fold=1", "0"),
    ("data.pairs.batch_size=9", "128"),
    ("loss.id.smoothing=0.2", "0.1"),
    ("csn.divide=false", "True"),
    ("loss.contrastive.margin=2.0", "1.0"),
    ("optimizer.momentum=0.5", "0.9"),
    ("training.seed=1", "0"),
])
def test_what_the_checkpoint_hangs_on_stays(resume, override, old):
    key, _ = override.split("=")
    with pytest.raises(UserError, match=f"the run was started with {key}={old}, which cannot"):
        resume(override)


@pytest.mark.parametrize("override", [
    "name=second", "model.weights=other.weights.h5", "data.workers=3", "optimizer.clip_norm=1.0",
    "schedule.learning_rate=0.1", "training.epochs=200", "evaluation.metric=euclidean",
])
def test_the_rest_may_change(resume, override):
    run = resume(override)
    assert load_config(run.config) == load_config(run.config, [override])
