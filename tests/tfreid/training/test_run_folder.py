"""Which folders a run starts in, and what a resumed run may change."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.config import Config, load_config
from tfreid.training.run_folder import RunFolder
from tfreid.weights.files import save_arrays


@pytest.fixture
def resume(tmp_path):
    """Returns a function that resumes a run with other settings."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: first\n")
    run = RunFolder(tmp_path / "run")
    run.start(load_config(recipe), {"count": 3}, "first")

    def again(*overrides):
        run.check_usable(resume=True)
        run.check_settings(load_config(recipe, overrides))
        run.start(load_config(recipe, overrides), {"count": 3}, "again")
        return run

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


def test_the_folder_of_an_unfinished_start_is_new(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.check_usable(resume=False)
    run.checkpoints.mkdir(parents=True)
    for name in (".lock", ".tmp-host-123-config.yaml", "config.yaml.tmp"):
        (run.path / name).write_text("")
    for resume in (False, True):
        run.check_usable(resume)
    (run.checkpoints / "step-1.index").write_text("")
    for resume in (False, True):
        with pytest.raises(UserError, match="has no run to resume .* choose another --output"):
            run.check_usable(resume)
    run.config.write_text("")
    run.check_usable(resume=True)
    with pytest.raises(UserError, match="add --resume"):
        run.check_usable(resume=False)
    with pytest.raises(UserError, match="is a file"):
        RunFolder(run.config).check_usable(resume=False)


def test_a_deleted_folder_is_written_again(tmp_path):
    """Also that of the run that this one is a stage of."""
    whole = RunFolder(tmp_path / "run")
    stage = RunFolder(whole.pretraining, outer=whole)
    config = Config(name="first")
    whole.start(config, {"count": 3})
    stage.start(config, {"count": 3})
    stage.restore_files()
    shutil.rmtree(whole.path)
    with pytest.warns(UserWarning, match="was deleted during training"):
        stage.restore_files()
    for run in (whole, stage):
        run.check_usable(resume=True)
        assert load_config(run.config) == config
        assert json.loads(run.identities.read_text()) == {"count": 3}


@pytest.mark.parametrize(("chosen_on", "names", "default"), [
    ("validation", ("best", "last"), "best"),
    ("validation", ("best",), "best"),
    ("test", ("best", "last"), "last"),
    (None, ("best", "last"), "last"),  # a run from before the choice was written down
    (None, ("best",), "best"),
    (None, ("last",), "last"),
])
def test_test_images_do_not_choose_the_weights_of_commands(tmp_path, chosen_on, names, default):
    run = RunFolder(tmp_path)
    for name in names:
        save_arrays({"a/b": np.ones(2)}, run.checkpoints / f"{name}.weights.h5", "one",
                    chosen_on if name == "best" else None)
        assert run.weights(name).name == f"{name}.weights.h5"
    assert run.weights().name == f"{default}.weights.h5"
    if "best" not in names:
        with pytest.raises(UserError, match="it held nobody out .* take the last ones"):
            run.weights("best")


def test_a_run_without_weights_says_how_to_get_them(tmp_path):
    for choice, words in ((None, "last"), ("last", "last"), ("best", "best")):
        with pytest.raises(UserError, match=f"no {words} weights yet; train it to its end"):
            RunFolder(tmp_path).weights(choice)
