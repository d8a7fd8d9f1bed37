"""Recipes, overrides and the errors that name the mend."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tfrecords.errors import UserError
from tfreid.config import Config, load_config, save_config

RECIPES = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.fixture
def recipe(tmp_path):
    """Returns a function that writes a recipe and returns its path."""

    def write(text: str, name: str = "recipe.yaml") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def problem(path, overrides=()) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path, overrides)
    return str(caught.value)


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


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_loads(path, tmp_path):
    config = load_config(path)
    assert config.name == path.stem
    assert path.name in path.read_text(), "the head comment states the command"
    save_config(config, tmp_path / "saved.yaml")
    assert load_config(tmp_path / "saved.yaml") == config


def test_there_are_recipes():
    assert len(RECIPES) >= 4


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
def test_an_unknown_key_names_the_nearest(recipe, key, nearest):
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
    ("data.records=[a]", "data.records"),
])
def test_a_wrong_value_names_file_and_setting(recipe, override, key):
    path = recipe("")
    message = problem(path, [override])
    assert message.startswith(str(path))
    assert f"`{key}`" in message
    assert message.count(f"`{key}`") == 1
    assert "\n" not in message


def test_many_mistakes_are_counted_beyond_three(recipe):
    path = recipe("model: {height: 0, width: 0, backbone: 3, neck: 3, pooling: 3}")
    message = problem(path)
    assert "(and 2 more)" in message
    assert message.count("`model.") == 3


@pytest.mark.parametrize("override", ["training.epochs", "=3", "training.epochs=[1", "name.x=1"])
def test_a_malformed_override_is_quoted(recipe, override):
    assert f"override `{override}`" in problem(recipe("name: text"), [override])


@pytest.mark.parametrize("override", [".=1", "model.=1", ".model=1", "model..height=1"])
def test_an_override_with_empty_names_is_a_clear_error(recipe, override):
    assert "\n" not in problem(recipe(""), [override])


def test_a_base_that_leads_back_is_an_error(recipe):
    recipe("base: b.yaml\n", "a.yaml")
    recipe("base: a.yaml\n", "b.yaml")
    assert "leads back to itself" in problem(recipe("base: a.yaml\n"))
    assert "leads back to itself" in problem(recipe("base: me.yaml\n", "me.yaml"))


def test_a_missing_recipe_or_base_is_named(recipe, tmp_path):
    assert str(tmp_path / "none.yaml") in problem(tmp_path / "none.yaml")
    assert str(tmp_path / "gone.yaml") in problem(recipe("base: gone.yaml"))
    assert str(tmp_path) in problem(tmp_path), "a folder"


@pytest.mark.parametrize("content", [
    b"model: {backbone: [", b"\xff\xfe\x00\x01", b"- a\n- b\n", b"just text", b"a: b: c",
    b"model:\n\theight: 3\n", b"name: \x00\n", b"base: [1]\n"])
def test_a_broken_recipe_is_one_sentence_with_its_name(tmp_path, content):
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    message = problem(path)
    assert str(path) in message or str(tmp_path) in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["1: 2\n", "model: {1: 2}\n", "model: null\n", "{[1, 2]: 3}\n"])
def test_odd_yaml_is_an_error_without_a_traceback(recipe, text):
    assert str(recipe(text)) in problem(recipe(text))


def test_sections_are_independent_objects():
    first, second = Config(), Config()
    first.schedule.decay_epochs.append(99)
    first.model.height = 1
    assert second == Config()
    assert dataclasses.asdict(second)["model"]["height"] == 256
