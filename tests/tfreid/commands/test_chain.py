"""The commands one after the other, as a user runs them, on rendered people."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

import test_net
import train_net
from tfrecords import build
from tfrecords.schema import encode_record
from tfreid.commands import export as export_model
from tfreid.commands import plot_cmc as plot_cmc
from tfreid.commands import query as query_export
from tfreid.records import Records
from tfreid.weights.files import read_arrays, save_arrays

TINY = [
    "model.backbone=tiny", "model.height=64", "model.width=32",
    "data.identities_per_batch=4", "data.images_per_identity=2", "training.max_steps=2",
    "training.projector_images=0",
]


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_backbone):
    """Folder with rendered images, records built from them and a run of two steps."""
    folder = tmp_path_factory.mktemp("world")
    built = build.main([
        "synthetic", "--root", str(folder / "images"), "--output", str(folder / "records"),
        "--workers", "1", "--shards", "2", "--train-identities", "6", "--test-identities", "4",
        "--cameras", "3", "--cameras-per-identity", "3", "--images-per-camera", "2",
        "--distractors", "2", "--junk", "1",
    ])
    assert built == 0
    recipe = folder / "recipe.yaml"
    tree = {"name": "tiny", "data": {"records": str(folder / "records")}}
    recipe.write_text(yaml.safe_dump(tree))
    assert train_net.main(
        ["--config", str(recipe), "--output", str(folder / "run"), *TINY]
    ) == 0
    return folder


@pytest.fixture(scope="module")
def osnet_run(world):
    """A run of two steps with a backbone that is used."""
    run = world / "osnet"
    assert train_net.main(["--config", str(world / "recipe.yaml"), "--output", str(run), *TINY,
                           "model.backbone=osnet_x0_25"]) == 0
    return run


@pytest.fixture(scope="module")
def exported(osnet_run):
    """The folder of versions of the run's export."""
    assert export_model.main(["--run", str(osnet_run)]) == 0
    return osnet_run / "export"


def test_evaluation_writes_a_table_json_and_pictures(osnet_run, capsys, tmp_path):
    status = test_net.main(["--run", str(osnet_run), "--output", str(tmp_path)])
    assert status == 0
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())
    for word in ("rank-1", "mAP", "trapezoid", "mINP", "skipped", "cosine"):
        assert word in printed
    assert results["num_valid_queries"] == 12 and results["num_gallery"] == 14
    assert len(results["cmc"]) == 50 and results["cmc"][-1] == 1.0
    for picture in ("cmc.png", "ranked_lists.png"):
        assert cv2.imread(str(tmp_path / picture)) is not None


def test_evaluation_of_weights_by_recipe_equals_that_of_the_run(world, capsys, tmp_path):
    weights = world / "run" / "checkpoints" / "last.weights.h5"
    assert test_net.main([
        "--config", str(world / "recipe.yaml"), "--weights", str(weights), "--output",
        str(tmp_path), "--ranked-queries", "0", *TINY, "evaluation.metric=euclidean",
    ]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["metric"] == "euclidean"
    assert not (tmp_path / "ranked_lists.png").exists()


def test_several_test_sets_stand_beside_each_other(world, capsys, tmp_path):
    shutil.copytree(world / "records", tmp_path / "other")
    assert test_net.main([
        "--run", str(world / "run"), "--output", str(tmp_path / "out"), "--ranked-queries", "0",
        "--records", str(world / "records"), str(tmp_path / "other"),
        "evaluation.reranking=true", "evaluation.reranking_k1=5",
    ]) == 0
    printed = capsys.readouterr().out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert list(summary["test_sets"]) == ["records", "other"]
    for name, figures in summary["test_sets"].items():
        assert f"{name}, re-ranked" in printed
        single = json.loads((tmp_path / "out" / name / "results.json").read_text())
        assert {key: single[key] for key in figures} == figures
        assert single["reranked"]["k1"] == 5 and single["reranked"]["metric"] == "cosine, re-ranked"
        assert single["reranked"]["mean_ap"] != single["mean_ap"]
    assert summary["test_sets"]["records"] == summary["test_sets"]["other"]
    assert cv2.imread(str(tmp_path / "out" / "cmc.png")) is not None
    assert not (tmp_path / "out" / "other" / "ranked_lists.png").exists()
    assert plot_cmc.main([str(tmp_path / "out"), "--output", str(tmp_path / "all.png")]) == 0
    assert "4 curves" in capsys.readouterr().out


def test_one_other_test_set_keeps_the_runs_own_figures(world, capsys):
    before = (world / "run" / "results.json").read_bytes()
    shutil.copytree(world / "records", world / "elsewhere")
    assert test_net.main(["--run", str(world / "run"), "--ranked-queries", "0", "--records",
                          str(world / "elsewhere"), "evaluation.metric=minkowski",
                          "evaluation.minkowski_p=4", "evaluation.max_rank=9"]) == 0
    results = json.loads((world / "run" / "evaluation-elsewhere" / "results.json").read_text())
    assert (results["metric"], results["minkowski_p"]) == ("minkowski", 4)
    assert len(results["cmc"]) == 9
    assert "minkowski, p = 4" in capsys.readouterr().out
    assert (world / "run" / "results.json").read_bytes() == before


def test_export_is_queried(world, exported, capsys):
    images = sorted((world / "images" / "query").glob("*.jpg"))[:3]
    capsys.readouterr()
    assert query_export.main(["--model", str(exported), *map(str, images)]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert len(rows) == 3
    assert all(float(row.split()[number + 1]) < 1e-3 for number, row in enumerate(rows))


def test_names_of_any_letters_go_from_the_build_to_the_export(world, capsys, tmp_path):
    """Accents in both Unicode forms, Chinese, bytes of GBK that are not UTF-8, and patterns."""
    images = sorted((world / "images" / "bounding_box_train").glob("*.jpg"))
    root = tmp_path / os.fsdecode("照片 é".encode() + b"\xb0")
    names = ["José", "Jose\u0301", "张三", os.fsdecode("李四".encode("gbk")), "50% [a] #1"]
    for place, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(4):
            file = os.fsdecode("图_".encode("gbk")) + f"{number}_c{number % 2}.jpg"
            shutil.copy(images[place * 4 + number], root / name / file)
    records, run = tmp_path / "記録 ñ[2]", tmp_path / "Lauf ü[1]* 跑"
    assert build.main(["folder", "--root", str(root), "--output", str(records), "--workers", "1",
                       "--camera-pattern", r"_c(\d)", "--test-fraction", "0.6"]) == 0
    warning = capsys.readouterr().err
    assert r"'Jose\u0301' and 'Jos\xe9'" in warning
    train = ["--config", "quickstart", "--output", str(run),
             f"data.records={json.dumps(str(records))}", *TINY, "data.identities_per_batch=2",
             "training.projector_images=6", "training.keep_checkpoints=1"]
    assert train_net.main([*train, "training.checkpoint_every_steps=1"]) == 0
    assert train_net.main([*train, "--resume", "training.max_steps=3"]) == 0
    assert "resuming after step 2" in capsys.readouterr().out
    assert [path.stem for path in (run / "checkpoints").glob("*.index")] == ["step-3"]
    assert test_net.main(["--run", str(run)]) == 0
    assert json.loads((run / "results.json").read_text())["num_valid_queries"] == 3
    assert cv2.imdecode(np.fromfile(run / "ranked_lists.png", np.uint8), 1) is not None
    labels = (run / "tensorboard" / "gallery_labels.tsv").read_text(encoding="utf-8").splitlines()
    known = {name.encode("utf-8", "backslashreplace").decode() for name in names}
    assert len(labels) == 7 and {line.split("\t")[0] for line in labels[1:]} <= known
    paths = Records(records)["query"].index.paths
    assert all((root / path).is_file() for path in paths)
    assert export_model.main(["--run", str(run)]) == 0
    files = [str(root / path) for path in paths]
    assert query_export.main(["--model", str(run / "export"), *files]) == 0


def test_saved_model_cli_runs_the_export(exported, tmp_path):
    np.save(tmp_path / "crops.npy", np.zeros((2, 80, 40, 3), np.uint8))
    printed = subprocess.run(
        [str(Path(sys.executable).with_name("saved_model_cli")), "run", "--dir",
         str(exported / "1"), "--tag_set", "serve", "--signature_def", "images",
         "--inputs", f"images={tmp_path / 'crops.npy'}", "--outdir", str(tmp_path)],
        check=True, capture_output=True, text=True,
    ).stdout
    assert "Result for output key embedding" in printed
    assert np.load(tmp_path / "embedding.npy").shape == (2, 128)


def test_weights_of_another_architecture_are_refused(world, capsys):
    assert test_net.main(["--run", str(world / "run"), "model.embedding_size=64"]) == 2
    message = capsys.readouterr().err
    assert "do not fit the model" in message and message.count("\n") == 1


@pytest.mark.parametrize("main, arguments, words", [
    (test_net.main, ["--run", "nowhere"], "no run there"),
    (test_net.main, [], "give either --run RUN"),
    (test_net.main, ["--config", "quickstart"], "needs --weights"),
    (test_net.main, ["--run", "RUN", "data.records=nowhere"], "nowhere"),
    (test_net.main, ["--run", "RUN", "evaluation.metric=cosin"], "'cosine'"),
    (test_net.main, ["--run", "RUN", "--weights", "no.weights.h5"], "does not exist"),
    (test_net.main, ["--run", "RUN", "--records", "evaluation.max_rank=9"], "names no folder"),
    (test_net.main, ["--run", "RUN", "--records", "nowhere", "elsewhere"], "nowhere"),
    (test_net.main, ["--run", "RUN", "--records", "tests", "./tests"], "named twice"),
    (test_net.main, ["--run", "RUN", "evaluation.metric=dot", "evaluation.reranking=true"],
     "'dot' is not supported"),
    (test_net.main, ["--run", "RUN", "evaluation.minkowski_p=0.5"], "minkowski_p"),
    (export_model.main, ["--run", "nowhere"], "no run there"),
    (query_export.main, ["--model", "nowhere", "no.jpg"], "no.jpg"),
])
def test_mistakes_get_one_sentence(world, capsys, main, arguments, words):
    arguments = [str(world / "run") if word == "RUN" else word for word in arguments]
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and words in message


def test_truncated_gallery_image_is_named(world, capsys, tmp_path):
    """Records that were damaged after their build, or made by other means."""
    import tensorflow as tf

    from tfrecords.files import file_checksum
    from tfrecords.manifest import read_manifest

    records = tmp_path / "records"
    records.mkdir()
    for path in (world / "records").iterdir():
        (records / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((records / "manifest.json").read_text())
    image = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (64, 32, 3)))[1]
    shard = manifest["splits"]["gallery"]["shards"][0]
    damaged = encode_record(image.tobytes()[:-900], "jpeg", 64, 32, "bad/one.jpg", 1, -1, 1)
    with tf.io.TFRecordWriter(str(records / shard["file"])) as writer:
        for _ in range(shard["images"]):
            writer.write(damaged)
    shard["bytes"] = (records / shard["file"]).stat().st_size
    shard["checksum"] = file_checksum(records / shard["file"])
    (records / "manifest.json").write_text(json.dumps(manifest))
    read_manifest(records)
    assert test_net.main(["--run", str(world / "run"), f"data.records={records}"]) == 2
    assert "bad/one.jpg" in capsys.readouterr().err


def test_weights_without_classifier_rank_alike(world, capsys, tmp_path):
    source = world / "run" / "checkpoints" / "last.weights.h5"
    stripped = tmp_path / "stripped.weights.h5"
    kept = {key: array for key, array in read_arrays(source).items()
            if not key.startswith("classifier/")}
    save_arrays(kept, stripped, "stripped")
    figures = []
    for weights in (source, stripped):
        assert test_net.main(["--run", str(world / "run"), "--weights", str(weights),
                              "--output", str(tmp_path), "--ranked-queries", "0"]) == 0
        figures.append(json.loads((tmp_path / "results.json").read_text())["mean_ap"])
    assert figures[0] == figures[1]
