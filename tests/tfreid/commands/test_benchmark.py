"""The benchmark's command line on settings small enough for a second."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tfrecords.synthetic import SyntheticOptions
from tfreid.benchmarks import building, pipeline, runtimes
from tfreid.benchmarks.measuring import PeakMemory
from tfreid.commands import benchmark as benchmark_command

TINY = ["model.backbone=tiny", "model.height=32", "model.width=16",
        "data.identities_per_batch=2", "data.images_per_identity=2", "data.eval_batch_size=2"]
CSN = ["system=csn", "model.height=32", "model.width=16", "csn.levels=[3]",
       "data.eval_batch_size=2"]


@pytest.fixture(scope="module")
def benchmark():
    return benchmark_command


@pytest.fixture
def measure(benchmark, tiny_backbone, capsys, tmp_path):
    """Returns a function that runs the command and reads what it printed."""
    (tmp_path / "tiny.yaml").write_text("name: tiny\n")

    def run(*arguments, recipe=True):
        config = ["--config", str(tmp_path / "tiny.yaml")] if recipe else []
        assert benchmark.main([*arguments, *config]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def test_every_result_names_the_machine(measure):
    found = measure("evaluation", "--queries", "20", "--gallery", "50", "--dimensions", "8",
                    recipe=False)
    assert found["what"] == "evaluation"
    assert found["cores"] >= 1
    assert found["tensorflow"].startswith("2.")
    assert found["keras"][0] in "23"
    assert (found["queries"], found["gallery"], found["dimensions"]) == (20, 50, 8)
    assert found["seconds"] > 0
    assert found["megabytes_above_features"] >= 0
    assert found["features_megabytes"] == pytest.approx(70 * 8 * 4 / 1e6, rel=1e-3)


def test_runtimes_in_turns(measure, monkeypatch):
    monkeypatch.setattr(runtimes, "_ROUNDS", 1)  # each starts a process for each row
    found = measure("inference", "--against", "tensorflow,litert", "--quantize", "none,int8",
                    "--steps", "2", "--warm-up", "1", *TINY)
    assert [(row["runtime"], row["precision"]) for row in found["runtimes"]] == [
        ("tensorflow", "float32"), ("litert", "float32"), ("litert", "int8")]
    for row in found["runtimes"]:
        batch = row["batch_8"]
        assert batch["images_per_second"] == pytest.approx(8e3 / batch["p50_ms"], rel=1e-2)
        assert row["batch_1"]["p99_ms"] >= row["batch_1"]["p50_ms"] > 0
        assert row["megabytes_on_disk"] > 0 and row["peak_megabytes"] > 10


def test_reranking(measure):
    found = measure("reranking", "--queries", "20", "--gallery", "50", "--dimensions", "8",
                    recipe=False)
    assert (found["queries"], found["gallery"], found["dimensions"]) == (20, 50, 8)
    assert 0 < found["seconds"] == min(found["seconds_of_each"])
    assert found["cpu_seconds"] >= 0
    assert found["process_megabytes"] > found["megabytes_above_features"] >= 0


def test_mining(measure):
    found = measure("mining", "--images", "60", "--dimensions", "8", recipe=False)
    assert (found["images"], found["dimensions"], found["hardest"]) == (60, 8, 25)
    assert 0 < found["queries"] <= 60 and found["seconds"] > 0
    assert found["process_megabytes"] > found["megabytes_above_features"] >= 0


def test_streaming(measure):
    found = measure("streaming", "--queries", "20", "--gallery", "50", "--distractors", "300",
                    "--dimensions", "8", recipe=False)
    assert (found["queries"], found["gallery"], found["distractors"]) == (20, 50, 300)
    assert found["features_megabytes"] == pytest.approx(370 * 8 * 4 / 1e6, rel=0.02)
    for kind in ("market_like", "random"):
        figures = found[kind]
        assert figures["seconds"] > 0 and figures["bare_product_seconds"] > 0
        assert figures["ratio"] == pytest.approx(np.median(figures["ratios"]), rel=1e-3)
        assert figures["megabytes_above_features"] >= 0


def test_building(measure, benchmark, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(building, "_RENDERED", SyntheticOptions(
        train_identities=2, test_identities=1, images_per_camera=2, distractors=3, junk=1))
    found = measure("building", "--workers", "2", recipe=False)
    # 3 people in 4 of the cameras, and the distractors; junk is dropped.
    assert (found["images"], found["workers"]) == (3 * 4 * 2 + 3, 2)
    assert 0 < found["start_seconds"] <= found["seconds"]
    assert found["images_per_second"] == pytest.approx(27 / found["seconds"], rel=1e-2)
    assert 0 < found["megabytes_per_second"] < 0.1 * found["images_per_second"]
    assert 100 < found["process_tree_megabytes"] < 2000  # TensorFlow's, at least
    assert benchmark.main(["building", "--root", str(tmp_path)]) == 2
    assert "holds no folder bounding_box_train" in capsys.readouterr().err


def test_a_failed_build_says_why(benchmark, capsys, tmp_path):
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0001_c1s1_000001_00.jpg").write_bytes(b"")
    assert benchmark.main(["building", "--root", str(tmp_path), "--workers", "1"]) == 2
    message = capsys.readouterr().err
    assert "failed: 3 of 3 images" in message and "(empty file)" in message


def test_memory_counts_processes_below():
    code = "import os, time; block = b'x' * 50_000_000; print(flush=True); time.sleep(60)"
    inner = [sys.executable, "-c", code]
    outer = ("import subprocess, sys, time; block = b'x' * 30_000_000\n"
             f"subprocess.run({inner!r})")
    with subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE,
                          start_new_session=True) as process:
        process.stdout.readline()
        found = building._tree_bytes(process.pid)
        os.killpg(process.pid, signal.SIGKILL)
    assert 80e6 < found < 120e6
    assert building._tree_bytes(process.pid) == 0


def test_evaluation_takes_the_metric_of_a_recipe(measure):
    arguments = ["--queries", "20", "--gallery", "50", "--dimensions", "8"]
    assert measure("evaluation", *arguments, "evaluation.metric=minkowski",
                   "evaluation.minkowski_p=4")["seconds"] > 0
    assert measure("reranking", *arguments, "evaluation.reranking_k1=5")["seconds"] > 0


def test_the_pipeline_beside_opencv(measure, records):
    found = measure("pipeline", "--records", str(records), "--steps", "2", "--warm-up", "1", *TINY)
    assert found["config"] == "tiny"
    assert found["size"] == [32, 16]
    assert found["batch_size"] == 4
    assert found["pipeline_images_per_second"] > 0
    assert found["opencv_images_per_second"] > 0
    assert found["ratio"] == pytest.approx(np.median(found["ratios"]), rel=1e-3)
    assert found["cpu_time_ratio"] > 0
    assert "everything_images_per_second" not in found


def test_the_pipeline_with_every_augmentation(measure, records, monkeypatch):
    made = []
    make = pipeline.make_system
    monkeypatch.setattr(pipeline, "make_system",
                        lambda config: (made.append(config), make(config))[1])
    monkeypatch.setattr(pipeline, "_TURNS", 2)
    found = measure("pipeline", "--records", str(records), "--steps", "2", "--warm-up", "1",
                    "--all-augmentation", *TINY)
    assert min(found["everything_images_per_second"], found["everything_cpu_microseconds"]) > 0
    plain, everything = (config.data.augmentation for config in made)
    assert plain.augmix_probability == 0.0
    assert {getattr(everything, f"{step}_probability") for step in plain.steps()} == {1.0}


def test_train_steps(measure):
    found = measure("training", "--steps", "1", "--warm-up", "1", *TINY)
    assert found["images_per_second"] > 0
    assert found["batch_size"] == 4 * found["replicas"]
    assert (found["backbone"], found["precision"]) == ("tiny", "float32")


def test_a_csn_trains_on_pairs_and_extracts_images(measure):
    pairs = ["data.pairs.batch_size=6", "data.pairs.negatives=batch"]
    found = measure("training", "--steps", "1", "--warm-up", "1", *CSN, *pairs)
    assert found["pairs_per_second"] > 0
    assert (found["batch_size"], found["batch_of"], found["levels"]) == (6, "pairs", [3])
    assert found["images_per_batch"] == 4  # two matching pairs, whose images make up the others
    found = measure("inference", "--steps", "1", "--warm-up", "1", *CSN)
    assert found["images_per_second"] > 0 and found["system"] == "csn"


def test_the_similarity_beside_tensorflows_own(measure):
    found = measure("similarity", "--batch", "1", recipe=False)
    for what in ("forward", "gradient"):
        assert found[f"{what}_seconds"] > 0 and found[f"plain_{what}_seconds"] > 0
        assert found[f"{what}_ratio"] == pytest.approx(np.median(found[f"{what}_ratios"]))
        assert found[f"{what}_largest_relative_difference"] < 1e-4
    assert (found["batch_size"], found["map"], found["parts"]) == (
        1, [40, 15, 96], [3, 10, 10, 96])


@pytest.mark.parametrize("every", [False, True])
def test_a_gallery_beside_the_whole_network(measure, every):
    pairs = ["--all-pairs"] if every else ["--pairs", "4"]
    found = measure("gallery", "--queries", "2", "--gallery", "3", *pairs, *CSN,
                    "csn.score.both_orders=true")
    assert (found["queries"], found["gallery"]) == (2, 3)
    assert found["whole_network_pairs_measured"] == (6 if every else 4)
    total = found["whole_network_seconds" + ("" if every else "_extrapolated")]
    assert total == pytest.approx(6 / found["whole_network_pairs_per_second"], rel=1e-2)
    assert found["pairs_per_second"] == pytest.approx(6 / found["seconds"], rel=1e-2)
    assert 0 < found["extraction_seconds"] < found["seconds"]
    assert found["ratio"] == pytest.approx(np.median(found["ratios"]), rel=1e-2)
    assert found["largest_score_difference"] < 1e-3 * found["largest_score"]


def test_a_gallery_is_for_pair_models(benchmark, capsys, tmp_path):
    (tmp_path / "tiny.yaml").write_text("name: tiny")
    assert benchmark.main(["gallery", "--config", str(tmp_path / "tiny.yaml")]) == 2
    message = capsys.readouterr().err
    assert "system: csn" in message and message.count("\n") == 1


def test_inference(measure):
    found = measure("inference", "--steps", "1", "--warm-up", "1", *TINY)
    assert found["images_per_second"] > 0
    assert found["batch_size"] == 2


def test_memory_is_the_peak_above_the_start():
    with PeakMemory() as memory:
        block = np.ones(10_000_000)  # 80 MB
        time.sleep(0.05)
        del block
    assert 70 < memory.megabytes < 160


@pytest.mark.parametrize(("arguments", "message"), [
    (["pipeline"], "--config is missing"),
    (["evaluation", "evaluation.metric=cosine"], "--config is missing"),
    (["training", "--config", "nowhere.yaml"], "nowhere.yaml"),
])
def test_mistakes_are_one_sentence(benchmark, capsys, arguments, message):
    assert benchmark.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_the_pipeline_needs_records(benchmark, capsys, tmp_path):
    (tmp_path / "tiny.yaml").write_text("")
    assert benchmark.main(["pipeline", "--config", str(tmp_path / "tiny.yaml")]) == 2
    assert "--records is missing" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["speed"], ["pipeline", "--steps", "0"]])
def test_wrong_usage_is_argparses_error(benchmark, arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        benchmark.main(arguments)
    assert caught.value.code == 2
