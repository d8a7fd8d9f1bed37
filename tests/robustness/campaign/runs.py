"""Groups of hostile inputs to commands, on a run of two steps that is trained first."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
from pathlib import Path
from random import Random

import numpy as np

from campaign.damage import damaged
from campaign.readers import TESTS, build_records, json_reader
from campaign.runner import Attempt, Refused, sentence_problem

TINY = ("model.backbone=tiny", "model.height=64", "model.width=32", "data.identities_per_batch=4",
        "data.images_per_identity=2", "training.max_steps=2", "training.projector_images=0",
        "schedule.warmup_epochs=0")


def register_tiny_backbone() -> None:
    """Makes `model.backbone=tiny` known in this process."""
    import runpy

    from tfreid.backbones import BACKBONES

    BACKBONES["tiny"] = runpy.run_path(str(TESTS / "tiny_backbone.py"))["TINY"]


def train_tiny(folder: Path, *settings: str) -> Path:
    """Trains two steps on rendered people; the run is `folder/run`."""
    import train_net

    register_tiny_backbone()
    records = build_records(folder)
    recipe = folder / "recipe.yaml"
    recipe.write_text("name: tiny\n")
    run_command(train_net.main, ["--config", str(recipe), "--output", str(folder / "run"),
                                 f"data.records={records}", *TINY, *settings])
    return folder / "run"


def run_command(main, arguments: list[str]) -> str:
    """Runs a command in this process and returns what it printed.

    Raises:
        Refused: If it ended with another exit code than 0; its text is the error's sentence.
    """
    printed, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
        try:
            status = main(arguments)
        except SystemExit as error:  # argparse
            status = error.code
    if status:
        lines = errors.getvalue().split("\r")[-1].splitlines()
        sentence = lines[-1] if lines else ""
        assert status == 2 and "error: " in sentence, f"exit {status}: {errors.getvalue()[-300:]}"
        raise Refused(sentence)
    problem = sentence_problem(printed.getvalue()[-2000:])
    assert not problem, f"{problem} in {printed.getvalue()[-300:]!r}"
    return printed.getvalue()


def thresholds(folder: Path) -> Attempt:
    """A changed thresholds.json."""
    from tfreid.evaluation.thresholds import load_thresholds

    good = {"cosine": {
        "threshold": 0.4, "metric": "cosine", "minkowski_p": 3.0, "feature": "neck",
        "normalized": True, "criterion": "eer", "false_accept_rate": 0.1,
        "false_reject_rate": 0.1, "positive_pairs": 10, "negative_pairs": 100, "dataset": "a",
        "split": "query", "weights": "best", "fingerprint": "0", "measured": {}}}
    run = train_tiny(folder)
    from tfreid.commands import calibrate

    with contextlib.suppress(Refused):
        run_command(calibrate.main, ["--run", str(run)])
    found = list(run.rglob("thresholds.json"))
    if found:
        good = json.loads(found[0].read_text())

    def read(path):
        for one in load_thresholds(path).values():
            assert np.isfinite(one.threshold)
            one.distances(np.zeros((1, 2), np.float32), np.ones((2, 2), np.float32))

    return json_reader(good, "thresholds.json", read)


def run_folder(folder: Path) -> Attempt:
    """A run folder with one damaged file, resumed: refused, or its weights are the good ones."""
    import train_net
    from tfreid.weights.files import read_shapes

    run = train_tiny(folder)
    good = {path: path.read_bytes() for path in sorted(run.rglob("*"))
            if path.is_file() and "tensorboard" not in path.parts}

    def attempt(random: Random, folder: Path) -> None:
        shutil.rmtree(run)
        for path, content in good.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        path = random.choice(list(good))
        path.write_bytes(damaged(good[path], random))
        run_command(train_net.main, ["--output", str(run), "--resume"])
        read_shapes(str(run / "checkpoints" / "last.weights.h5"))

    return attempt


def exported_model(folder: Path) -> Attempt:
    """A damaged SavedModel: refused, or it answers as the good one."""
    import tfreid
    from tfreid.commands import export

    run = train_tiny(folder)
    run_command(export.main, ["--run", str(run)])
    version = next(path for path in sorted((run / "export").iterdir()) if path.name.isdecimal())
    good = {path: path.read_bytes() for path in sorted(version.rglob("*")) if path.is_file()}
    images = [next((folder / "images").rglob("*.jpg"))]
    answer = tfreid.load(version).embed(images)

    def attempt(random: Random, folder: Path) -> None:
        for path, content in good.items():
            path.write_bytes(content)
        path = random.choice(list(good))
        if random.random() < 0.2:
            path.unlink()
        else:
            path.write_bytes(damaged(good[path], random))
        found = tfreid.load(version).embed(images)
        assert np.allclose(found, answer, atol=1e-5), f"other answers ({path.name})"

    return attempt


def options(folder: Path) -> Attempt:
    """Commands with odd values for their options."""
    from tfreid.commands.main import COMMANDS, main

    run = train_tiny(folder)
    numbers = ("-1", "0", "1", "2147483648", "9" * 30, "1e9", "nan", "text", "", "1.5")
    paths = ("/dev/zero", "/dev/null", str(run), str(folder / "none"), "a\0b", "", ".", "~/none",
             str(folder / "images"), "/proc/self/mem", "\udcff", "x" * 300)
    base = {"train": ["--config", str(folder / "recipe.yaml"), "--output", str(folder / "new"),
                      f"data.records={folder / 'records'}", *TINY],
            "build": ["--root", str(folder / "images"), "--output", str(folder / "new")],
            "settings": [], "convert": [str(TESTS / "golden" / "checkpoint_zip.pth")]}
    known = {(name,): _options(name) for name in COMMANDS if name not in ("benchmark", "build")}
    known.update({("build", name): _options("build", name) for name in (
        "folder", "csv", "market1501", "viper", "synthetic")})

    def attempt(random: Random, folder: Path) -> None:
        name = random.choice(sorted(known))
        shutil.rmtree(folder / "new", ignore_errors=True)
        arguments = list(name)
        if random.random() < 0.8:
            arguments += base.get(name[0], ["--run", str(run)])
        most = min(len(known[name]), random.choice((0, 1, 1, 2)))
        for option in random.sample(known[name], most):
            arguments += [option, random.choice(numbers + paths)]
        run_command(main, arguments)

    os.chdir(folder)
    return attempt


def _options(*words):
    """The options of a command that its help lists."""
    from tfreid.commands.main import main

    printed = run_command(main, [*words, "--help"])
    return sorted(set(re.findall(r"(?<=\s)--[a-z][a-z-]*", printed)) - {"--help"})


def feature_file(folder: Path) -> Attempt:
    """Damaged .npy files of features, and their stamps."""
    from tfreid.evaluation.features import FeatureStore
    from tfreid.records import open_records
    from tfreid.systems.registry import make_system
    from tfreid.training.run_folder import open_run

    run, config = open_run(train_tiny(folder))
    model, records = make_system(config).load(run.weights()), open_records(config.data)
    store = FeatureStore(folder / "features", model, config, records)
    shape = store.features("query").shape
    good = {path: path.read_bytes() for path in sorted((folder / "features").iterdir())}

    def attempt(random: Random, folder: Path) -> None:
        for path, content in good.items():
            path.write_bytes(content)
        path = random.choice(list(good))
        path.write_bytes(damaged(good[path], random))
        found = np.array(store.features("query"))
        assert found.shape == shape and found.dtype == np.float32, f"{found.shape} {found.dtype}"

    return attempt


GROUPS = {function.__name__: function for function in (
    thresholds, run_folder, exported_model, options, feature_file)}
