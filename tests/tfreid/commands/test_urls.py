"""A whole job at URLs gives what it gives in folders."""

from __future__ import annotations

import json
import uuid

import numpy as np
import pytest

from tests.conftest import RENDERED
from tfrecords.storage import as_path
from tfreid.commands.main import main
from tfreid.weights.files import read_arrays

SETTINGS = ["model.backbone=tiny", "model.height=32", "model.width=16",
            "data.identities_per_batch=2", "data.images_per_identity=2",
            "training.steps_per_epoch=3", "schedule.warmup_epochs=0", "training.epochs=2",
            "training.evaluate_every=1", "training.projector_images=10",
            "training.deterministic=true"]


def run(*arguments: str) -> None:
    assert main(list(map(str, arguments))) == 0


def whole_job(root, images) -> None:
    records, folder = root / "records", root / "run"
    run("build", "synthetic", "--root", images, "--output", records, "--shards", "2", "--workers",
        "1", *(word for name, value in RENDERED.items()
               for word in (f"--{name.replace('_', '-')}", str(value))))
    settings = [*SETTINGS, f"data.records={records}"]
    run("train", "--config", "bot_osnet_x025", "--output", folder, *settings,
        "training.max_steps=4")
    run("train", "--config", folder / "config.yaml", "--output", folder, "--resume",
        "training.max_steps=null")
    run("test", "--run", folder, "--output", root / "test")
    run("calibrate", "--run", folder)
    run("export", "--run", folder, "--output", root / "served")
    run("embed-images", "--model", root / "served", "--input", records, "--output",
        root / "embedded", "--images-per-shard", "40")


@pytest.mark.slow
def test_a_whole_job(records, tiny_backbone, tmp_path, capsys):
    pytest.importorskip("pyarrow")
    images = records.parent / "images"
    roots = tmp_path / "local", as_path(f"ram://{uuid.uuid4().hex}/job")
    for root in roots:
        whole_job(root, images)
    names = [sorted(path.relative_to(root).as_posix() for path in root.rglob("*")
                    if path.is_file() and "tfevents" not in path.name) for root in roots]
    assert names[0] == names[1]
    same = [name for name in names[0] if name.startswith("records/") or name.endswith(".parquet")
            or name == "run/results.json"]
    assert len(same) > 10
    for name in same:
        assert (roots[0] / name).read_bytes() == (roots[1] / name).read_bytes(), name
    weights = [read_arrays(str(root / "run" / "checkpoints" / "last.weights.h5")) for root in roots]
    for key, value in weights[0].items():
        np.testing.assert_array_equal(value, weights[1][key])
    assert [json.loads((root / "test" / "results.json").read_bytes())["mean_ap"]
            for root in roots] == [json.loads((roots[0] / "run" / "results.json").read_bytes())[
                "mean_ap"]] * 2
    capsys.readouterr()
    query = sorted((images / "query").iterdir())[:2]
    answers = []
    for root in roots:
        run("query", "--model", root / "served", *query)
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1] and "cosine" in answers[0]


@pytest.mark.parametrize("arguments", [
    ["train", "--config", "bot_osnet_x025", "--output", "DIR/run", "data.records=foo://a"],
    ["train", "--config", "bot_osnet_x025", "--output", "foo://a"],
    ["train", "--config", "foo://a/recipe.yaml", "--output", "DIR/run"],
    ["test", "--run", "foo://a"],
    ["query", "--model", "foo://a", "DIR"],
    ["build", "viper", "--root", "DIR", "--output", "foo://a"],
])
def test_an_unknown_scheme_is_one_sentence(arguments, tmp_path, capsys, tmp_path_factory):
    assert main([word.replace("DIR", str(tmp_path)) for word in arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: ") and "Traceback" not in "".join(lines)
