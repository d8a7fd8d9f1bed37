"""Settings and their rules, recipes, variants, overrides, old names, errors that name the fix."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tfrecords.errors import UserError
from tfreid.config import (
    Config,
    all_settings,
    flat,
    load_config,
    save_config,
    stage_config,
    with_derived,
)
from tfreid.config.__main__ import main as describe_settings
from tfreid.config.recipes import renamed_recipe
from tfreid.setting import AVERAGE, RESUME, setting
from tfreid.training.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"



def test_an_empty_recipe_is_the_defaults(recipe):
    assert load_config(recipe("")) == Config()
    assert load_config(recipe("# nothing but a comment\n")) == Config()


def test_saved_settings_read_back_equal(recipe, tmp_path):
    config = load_config(recipe("name: saved\n"), [
        "model.embedding_size=512", "loss.triplet.margin=soft", "schedule.learning_rate=1e-4",
        "training.devices=[GPU:0, GPU:1]", "data.augmentation.hue=0.5"])
    save_config(config, tmp_path / "saved.yaml")
    assert load_config(tmp_path / "saved.yaml") == config
    assert config != Config()


def test_a_recipe_refines_its_base_key_by_key(recipe, tmp_path):
    (tmp_path / "inner").mkdir()
    recipe("name: lowest\nmodel: {height: 384, width: 192}\nschedule: {decay_epochs: [1, 2, 3]}\n",
           "lowest.yaml")
    recipe("base: ../lowest.yaml\nname: middle\nmodel: {width: 64}\n", "inner/middle.yaml")
    config = load_config(recipe("base: inner/middle.yaml\nschedule: {decay_epochs: [9]}\n"))
    assert (config.name, config.model.height, config.model.width) == ("middle", 384, 64)
    assert config.schedule.decay_epochs == [9]


@pytest.mark.parametrize(("override", "value"), [
    ("schedule.learning_rate=1e-4", 1e-4),
    ("schedule.learning_rate=1E-4", 1e-4),
    ("schedule.learning_rate=2", 2.0),
    ("schedule.decay_epochs=[4, 7]", [4, 7]),
    ("model.backbone=osnet_x1_0", "osnet_x1_0"),
    ("model.neck=false", False),
    ("model.embedding_size=null", None),
    ("model.embedding_size=128", 128),
    ("loss.triplet.margin=0.5", 0.5),
    ("loss.triplet.margin=soft", "soft"),
    ("data.augmentation.pad=0", 0),
    ("data.records=records/a=b", "records/a=b"),
    ("data.records=2024-01-01", "2024-01-01"),
])
def test_an_override_sets_its_key_with_its_type(recipe, override, value):
    config = load_config(recipe("model: {embedding_size: 64}"), [override])
    found = config
    for name in override.split("=")[0].split("."):
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value)


def test_the_last_override_wins_over_earlier_ones_and_the_recipe(recipe):
    path = recipe("training: {epochs: 1, seed: 7}")
    config = load_config(path, ["training.epochs=2", "training.epochs=3"])
    assert (config.training.epochs, config.training.seed) == (3, 7)


def test_numbers_of_any_notation_are_numbers_in_recipes(recipe):
    config = load_config(recipe("schedule: {learning_rate: 3e-4, warmup_start: 1.e-5}"))
    assert (config.schedule.learning_rate, config.schedule.warmup_start) == (3e-4, 1e-5)


@pytest.mark.parametrize(("key", "nearest"), [
    ("schedule.lerning_rate", "schedule.learning_rate"),
    ("data.augmentation.flip_probabilty", "data.augmentation.flip_probability"),
    ("modell.backbone", "model"),
    ("learning_rate", "learning_rate"),
])
def test_an_unknown_key_names_the_nearest(recipe, key, nearest, problem):
    message = problem(recipe(""), [f"{key}=1"])
    assert f"unknown setting `{key.split('.')[0] if 'modell' in key else key}`" in message
    assert nearest in message.split("the nearest is")[1]


@pytest.mark.parametrize(("override", "key"), [
    ("training.epochs=many", "training.epochs"),
    ("training.epochs=1.5", "training.epochs"),
    ("training.epochs='3'", "training.epochs"),
    ("training.epochs=true", "training.epochs"),
    ("training.epochs=0", "training.epochs"),
    ("training.jit_compile=1", "training.jit_compile"),
    ("model=resnet50", "model"),
    ("model.last_stride=3", "model.last_stride"),
    ("model.pooling=mean", "model.pooling"),
    ("data.augmentation.flip_probability=1.5", "data.augmentation.flip_probability"),
    ("data.augmentation.hue=0.6", "data.augmentation.hue"),
    ("data.images_per_identity=1", "data.images_per_identity"),
    ("loss.triplet.margin=hard", "loss.triplet.margin"),
    ("loss.id.smoothing=1", "loss.id.smoothing"),
    ("schedule.decay_epochs=40", "schedule.decay_epochs"),
    ("schedule.decay_epochs=[1, x]", "schedule.decay_epochs"),
    ("schedule.learning_rate=.nan", "schedule.learning_rate"),
    ("schedule.learning_rate=.inf", "schedule.learning_rate"),
    ("data.records={a: 1}", "data.records"),
    ("data.workers=257", "data.workers"),
    ("data.images_per_batch=100000000000000000000", "data.images_per_batch"),
    ("evaluation.single_shot.training_trials=100000000000000000000",
     "evaluation.single_shot.training_trials"),
    ("model.height=100000", "model.height"),
    ("training.seed=4294967296", "training.seed"),
    ("loss.id.weight=1e308", "loss.id.weight"),
    ("loss.id.weight=1e400", "loss.id.weight"),
    ("model.last_stride=true", "model.last_stride"),
    ("csn.levels=[2.0]", "csn.levels"),
])
def test_a_wrong_value_names_file_and_setting(recipe, override, key, problem):
    path = recipe("")
    message = problem(path, [override])
    assert message.startswith(str(path))
    assert f"`{key}`" in message
    assert message.count(f"`{key}`") == 1
    assert "\n" not in message


@pytest.mark.parametrize(("overrides", "words"), [
    (["data.augmentation.jpeg_quality_min=96"], "jpeg_quality_min is above jpeg_quality_max"),
    (["data.augmentation.blur_sigma_max=0.1", "data.augmentation.blur_sigma_min=0.2"],
     "blur_sigma_min is above blur_sigma_max"),
    (["data.augmentation.grey_patch_area_min=0.5"],
     "grey_patch_area_min is above grey_patch_area_max"),
    (["data.augmentation.erasing_area_min=0.5"], "erasing_area_min is above erasing_area_max"),
    (["data.balance_cameras=true", "data.sampling=images"],
     "balance_cameras is true, which needs sampling to be identities"),
])
def test_settings_that_contradict_each_other_are_refused(recipe, problem, overrides, words):
    message = problem(recipe(""), overrides)
    assert words in message and "\n" not in message


def test_text_that_yaml_reads_otherwise_says_how_to_quote_it(recipe, problem):
    for text in ("2024", "true", "null"):
        message = problem(recipe(""), [f"name={text}"])
        assert f"as text it is written name='\"{text}\"' here" in message
        assert load_config(recipe(""), [f'name="{text}"']).name == text
    assert load_config(recipe(""), ["name=on"]).name == "on"
    assert """as text it is written data.records='"[a]/b"' here""" in problem(
        recipe(""), ["data.records=[a]/b"])
    assert "what follows # would be a comment" in problem(recipe(""), ["name=run #3"])
    assert load_config(recipe(""), ["name='run #3'"]).name == "run #3"


def test_a_section_is_laid_over_that_of_the_recipe(recipe, problem):
    path = recipe("model: {backbone: osnet_x0_25, height: 64}\nloss: {others: {lin: {}}}\n")
    config = load_config(path, ["model={height: 32, width: 16}", "data={}", "model={}",
                                "data.augmentation={pad: 0}", "loss={triplet_weight: 0.5}"])
    assert (config.model.backbone, config.model.height, config.model.width) == (
        "osnet_x0_25", 32, 16)
    assert (config.data.augmentation.pad, config.loss.triplet.weight) == (0, 0.5)
    assert load_config(path, ["loss.others={triplet: {}}"]).loss.others == {
        "lin": {}, "triplet": {}}
    assert load_config(path, ["loss.others={}"]).loss.others == {}
    assert "`name` is {}" in problem(path, ["name={}"])


def test_paths_begin_in_the_home_folder(recipe, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    config = load_config(recipe("data: {records: ~/records}\n"), [
        "model.weights=~/a.weights.h5", "model.imagenet_weights=~/b.h5"])
    assert config.data.records == "/home/somebody/records"
    assert config.model.weights == "/home/somebody/a.weights.h5"
    assert config.model.imagenet_weights == "/home/somebody/b.h5"
    assert load_config(recipe(""), ["data.records=a/~"]).data.records == "a/~"


def test_a_setting_under_its_old_and_its_new_name_is_refused(recipe, problem):
    message = problem(recipe("loss: {triplet_weight: 0.5, triplet: {weight: 1.0}}\n"))
    assert "`loss.triplet.weight` and `loss.triplet_weight` are the same setting" in message
    problem(recipe("loss: {triplet: 3, triplet_weight: 0.5}\n"))


def test_many_mistakes_are_counted_beyond_three(recipe, problem):
    path = recipe("model: {height: 0, width: 0, backbone: 3, neck: 3, pooling: 3}")
    message = problem(path)
    assert "(and 2 more)" in message
    assert message.count("`model.") == 3


@pytest.mark.parametrize("override", ["training.epochs", "=3", "training.epochs=[1", "name.x=1"])
def test_a_malformed_override_is_quoted(recipe, override, problem):
    assert f"override `{override}`" in problem(recipe("name: text"), [override])


@pytest.mark.parametrize("override", [".=1", "model.=1", ".model=1", "model..height=1"])
def test_an_override_with_empty_names_is_a_clear_error(recipe, override, problem):
    assert "\n" not in problem(recipe(""), [override])


def test_a_base_that_leads_back_is_an_error(recipe, problem):
    recipe("base: b.yaml\n", "a.yaml")
    recipe("base: a.yaml\n", "b.yaml")
    assert "leads back to itself" in problem(recipe("base: a.yaml\n"))
    assert "leads back to itself" in problem(recipe("base: me.yaml\n", "me.yaml"))


def test_a_missing_recipe_or_base_is_named(recipe, tmp_path, problem):
    assert str(tmp_path / "none.yaml") in problem(tmp_path / "none.yaml")
    assert str(tmp_path / "gone.yaml") in problem(recipe("base: gone.yaml"))
    assert str(tmp_path) in problem(tmp_path), "a folder"


@pytest.mark.parametrize("content", [
    b"model: {backbone: [", b"\xff\xfe\x00\x01", b"- a\n- b\n", b"just text", b"a: b: c",
    b"model:\n\theight: 3\n", b"name: \x00\n", b"base: [1]\n"])
def test_a_broken_recipe_is_one_sentence_with_its_name(tmp_path, content, problem):
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    message = problem(path)
    assert str(path) in message or str(tmp_path) in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["1: 2\n", "model: {1: 2}\n", "model: null\n", "{[1, 2]: 3}\n"])
def test_odd_yaml_is_an_error_without_a_traceback(recipe, text, problem):
    assert str(recipe(text)) in problem(recipe(text))


def test_sections_are_independent_objects():
    first, second = Config(), Config()
    first.schedule.decay_epochs.append(99)
    first.model.height = 1
    assert second == Config()
    assert dataclasses.asdict(second)["model"]["height"] == 256


def test_every_setting_explains_itself_and_has_its_rules():
    for key, field in all_settings().items():
        assert field.metadata, f"{key} is not declared by `setting`"
        assert re.search(r"[.]$", field.metadata["meaning"]), f"{key} has no explanation"
        assert field.metadata["resume"] in RESUME and field.metadata["average"] in AVERAGE, key
    with pytest.raises(ValueError, match="not an explanation"):
        setting(1, "")
    with pytest.raises(ValueError, match="not an explanation"):
        setting(1, "Something.", resume="perhaps")


def test_the_listing_has_every_setting_and_its_bounds(capsys):
    describe_settings([])
    listing = capsys.readouterr().out
    for key in all_settings():
        assert re.search(rf"^  {re.escape(key)} = .+  \(.+\)$", listing, re.M), key
    assert max(map(len, listing.splitlines())) <= 120
    describe_settings(["loss.lin"])
    section = capsys.readouterr().out
    assert section.startswith("loss.lin: The Lin loss") and "loss.triplet" not in section
    assert "loss.lin.negative_boundary = 2.0  (number, above 0, at most 2)" in section


def test_an_unknown_section_names_the_nearest(capsys):
    assert describe_settings(["los.lin"]) == 2
    assert capsys.readouterr().err == (
        "error: there is no section or setting los.lin; the nearest is loss.lin.\n")


def test_the_listing_reads_only_files(capsys):
    assert describe_settings(["--recipes", "/dev/zero"]) == 2
    assert "/dev/zero is a pipe or device" in capsys.readouterr().err


def test_settings_are_read_without_tensorflow():
    code = ("import sys, tfreid.config; tfreid.config.load_config('quickstart');"
            "sys.exit(any(name in sys.modules for name in ('keras', 'tensorflow')))")
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_variants_are_laid_on_top_in_order_and_name_the_run(recipe):
    path = recipe("name: mine\nvariants:\n  a: {about: A, model: {height: 32, width: 32}}\n"
                  "  b: {paper: [], model: {width: 64}}\n")
    config = load_config(path, ["training.epochs=3"], ["a", "b"])
    assert (config.name, config.model.height, config.model.width) == ("mine-a-b", 32, 64)
    assert config.training.epochs == 3
    assert load_config(path).model.height == 256
    child = recipe(
        "base: recipe.yaml\nname: child\nvariants: {a: {model: {width: 16}}}\n", "c.yaml")
    config = load_config(child, variants=["a"])
    assert (config.name, config.model.height, config.model.width) == ("child-a", 32, 16)
    for variants, words in ((["c"], "there is no variant `c`; the nearest is `"),):
        with pytest.raises(UserError, match=words):
            load_config(path, variants=variants)
    with pytest.raises(UserError, match="there is no variant `a`; it has none"):
        load_config(recipe("", "bare.yaml"), variants=["a"])


@pytest.mark.parametrize("old, new", [
    ("configs/lin_resnet50_ibn_a_market1501_t0_5.yaml", "lin_resnet50_ibn_a --variant t0_5."),
    ("configs/quickstart.yaml", "quickstart."),
    ("csn_l234_market1501_cpu", "csn_l234 --variant market1501 --variant cpu."),
])
def test_an_old_recipe_answers_with_the_command_of_today(old, new, problem):
    assert f"this recipe is now --config {new}" in problem(old)


def test_an_unknown_recipe_names_the_nearest(problem):
    assert "the nearest of those that ship is `bot_resnet50`" in problem("bot_resnet5")


def test_a_stage_before_is_laid_over_the_other_settings(recipe, problem):
    stage = "{base: classification, model: {height: 32}, training: {epochs: 2}}"
    path = recipe(f"system: triplet\nmodel: {{backbone: osnet_x0_25}}\npretraining: {stage}\n")
    config = load_config(path, ["pretraining.schedule.learning_rate=0.02", "training.seed=3"])
    first = stage_config(config)
    assert (first.system, first.model.backbone) == ("embedding", "osnet_x0_25")
    assert (first.model.height, first.model.width) == (32, 224)
    assert (first.training.epochs, first.training.seed) == (2, 3)
    assert first.schedule.learning_rate == 0.02 and first.pretraining is None
    assert stage_config(load_config(path, ["pretraining=null"])) is None
    assert stage_config(load_config(path, ["pretraining.training.epochs=0"])) is None
    by_name = load_config(recipe("pretraining: classification\n", "named.yaml"))
    assert stage_config(by_name).optimizer.name == "sgd"
    for stage in ("classification", "{base: classification}"):
        by_override = load_config(recipe("name: bare\n", "bare.yaml"), [f"pretraining={stage}"])
        assert stage_config(by_override).optimizer.name == "sgd"
    refined = ["pretraining=classification", "pretraining.training.epochs=7"]
    for overrides in (refined, refined[::-1]):
        first = stage_config(load_config(path, overrides))
        assert (first.training.epochs, first.model.height, first.optimizer.name) == (7, 224, "sgd")
    assert "the nearest of those that ship is `classification`" in problem(
        path, ["pretraining=clasification"])
    assert "`pretraining.model.height` is 3" in problem(path, ["pretraining.model.height=3"])
    assert "the nearest is `pretraining.model.height`" in problem(
        path, ["pretraining.model.heigth=32"])


@pytest.mark.parametrize("name", ["finetune_osnet_x025", "rendered_osnet_x025"])
def test_classification_before_any_other_losses(name):
    """It is one whatever the training after it adds up."""
    first = stage_config(load_config(name, ["pretraining=classification"]))
    weights = {key for key, value in flat(first).items()
               if key.startswith("loss.") and key.endswith(".weight") and value}
    assert not {f"loss.{loss}.weight" for loss in (
        "triplet", "center", "lin", "circle", "multi_similarity", "supervised_contrastive")
        } & weights
    assert (first.loss.classifier, first.data.balance_cameras) == ("softmax", False)


def test_a_stage_before_does_not_inherit_what_is_derived(recipe):
    path = recipe("pretraining: {model: {height: 32}, training: {epochs: 2}}\n")
    config = load_config(path, ["training.epochs=3"])
    derived = load_config(path, ["training.epochs=3", "model.num_identities=5",
                                 "training.steps_per_epoch=7"])
    both = with_derived(config, derived)
    first = stage_config(both)
    assert (both.model.num_identities, both.training.steps_per_epoch) == (5, 7)
    assert (first.model.num_identities, first.training.steps_per_epoch) == (None, None)
    assert (first.model.height, first.training.epochs) == (32, 2)
    assert "steps_per_epoch" not in config.pretraining["training"]
    alone = load_config(recipe("name: alone\n", "alone.yaml"))
    assert with_derived(alone, alone) == alone


def test_old_names_are_read_with_one_notice(recipe, capsys, problem):
    path = recipe("system: ranking\nranking: {margin: 0.2}\nloss: {triplet_weight: 0.5}\n"
                  "pretraining: {epochs: 2, augmentation: {pad: 3}}\n")
    config = load_config(path, ["data.split=3", "evaluation.pair_score.epsilon=0.5"])
    assert (config.system, config.triplet.margin, config.loss.triplet.weight) == (
        "triplet", 0.2, 0.5)
    assert (config.data.fold, config.csn.score.epsilon) == (3, 0.5)
    first = stage_config(config)
    assert (first.training.epochs, first.data.augmentation.pad, first.system) == (
        2, 3, "embedding")
    load_config(path, ["data.split=3", "evaluation.pair_score.epsilon=0.5"])
    notices = capsys.readouterr().err.splitlines()
    assert len(notices) == 1 and notices[0].startswith(str(path))
    assert "ranking.margin is now triplet.margin" in notices[0] and "more." in notices[0]
    assert stage_config(load_config(path, ["pretraining.epochs=0"])) is None
    without = load_config(recipe("system: ranking\n", "default.yaml"))
    assert stage_config(without).training.epochs == 60, "the default of before"
    assert "the nearest is `triplet.mining_images`" in problem(path, ["ranking.mining_image=5"])


@pytest.mark.parametrize("system", ["embedding", "ranking", "csn", "siamese"])
def test_runs_of_before_load_and_resume(system, tmp_path, capsys):
    old = tmp_path / "run"
    old.mkdir()
    (old / "config.yaml").write_text((GOLDEN / f"old_run_{system}.yaml").read_text())
    config = load_config(old / "config.yaml")
    assert config.system == {"ranking": "triplet"}.get(system, system)
    assert (stage_config(config) is not None) == (system == "ranking")
    run = RunFolder(old)
    run.check_settings(config)
    run.start(config, {}, "again")
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert load_config(old / "config.yaml") == config
    assert not capsys.readouterr().err
    name, *variants = renamed_recipe(yaml.safe_load(
        (GOLDEN / f"old_run_{system}.yaml").read_text())["name"])
    more = {"embedding": ["loss.addons.name=npairs"], "csn": ["data.fold=2"]}.get(system, [])
    # What the recipes and defaults have become since is set back, as the refusal says.
    with pytest.raises(UserError, match="which cannot become .* set it back"):
        run.check_settings(load_config(name, more, variants))
    more += {"embedding": ["data.augmentation.erasing_color=[124, 116, 104]"],
             "csn": ["loss.lin.reduction=sum", "data.pairs.matching=all"]}.get(
        system, ["loss.lin.reduction=sum"])
    run.check_settings(load_config(name, more, variants))
    if system == "ranking":
        stage = load_config(name, [
            *more, "pretraining.training.epochs=9", "pretraining.data.records=moved"], variants)
        run.check_settings(stage)
        ended = RunFolder(run.pretraining).last_weights
        ended.parent.mkdir(parents=True)
        ended.touch()
        with pytest.raises(UserError, match="pretraining.training.epochs=24, which cannot"):
            run.check_settings(stage)
        stage.pretraining["training"]["epochs"] = 24
        run.check_settings(stage)
