"""Training, testing and exporting a Siamese network by the commands."""

from __future__ import annotations

import json
import re
import shutil

import cv2
import keras
import numpy as np
import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import test_net
import train_net
from tfreid.commands import export as export_model
from tfreid.commands import query as query_export
from tfreid.records import Records
from tfreid.training.run_folder import open_run
from tfreid.weights.files import read_arrays, save_arrays

pytestmark = pytest.mark.slow

TREE = {
    "name": "tiny twins", "system": "siamese",
    "model": {"backbone": "siamese_twin", "height": 32, "width": 16, "pooling": "flatten",
              "embedding_size": 8, "neck": False, "classifier": False, "dropout": 0.2},
    "siamese": {"loss": "combined"},
    "data": {"subset": {"validation": 0.25},
             "pairs": {"batch_size": 6, "negatives_per_positive": 1, "matching": "drawn"},
             "augmentation": {"pad": 0, "erasing_probability": 0.0}},
    "schedule": {"warmup_epochs": 0},
    "training": {"max_steps": 2, "log_every": 1, "checkpoint_every_steps": 1,
                 "keep_checkpoints": 9, "devices": ["CPU:0"]},
    "evaluation": {"feature": "embedding", "metric": "euclidean", "verification_pairs": 20},
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("recipe") / "siamese.yaml"
    tree = {**TREE, "data": {**TREE["data"], "records": str(records)}}
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    """A run of two steps."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert train_net.main(command(recipe, folder)) == 0
    return folder


@pytest.fixture(scope="module")
def images(records, tmp_path_factory):
    """Two files of different sizes."""
    folder = tmp_path_factory.mktemp("images")
    paths = []
    for name, image in zip("ab", list(Records(records)["query"].encoded)[:2]):
        pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
        height = 90 if name == "a" else 140
        paths.append(folder / f"{name}.png")
        cv2.imwrite(str(paths[-1]), cv2.resize(pixels, (height // 2, height)))
    return [str(path) for path in paths]


def command(recipe, output, *more):
    return ["--config", str(recipe), "--output", str(output), *more]


def test_a_run_keeps_figures_of_both_kinds_of_pairs_and_thresholds(whole):
    results = json.loads((whole / "results.json").read_text())
    assert results["leaking"] is False and results["step"] == 2
    for kind, words in (("validation", "people never trained on"), ("training", "trained on")):
        figures = results[kind]
        assert words in figures["pairs"] and figures["matching_pairs"] == 10
        assert 0 <= figures["probability"]["accuracy_at_0.5"] <= 1
        assert figures["losses"]["total"] == pytest.approx(
            figures["losses"]["contrastive"] + figures["losses"]["verification"])
    progress = json.loads((whole / "checkpoints/progress.json").read_text())
    assert progress["best_figure"] == results["validation"]["probability"]["accuracy"]
    assert results["weights_chosen_on"] == "validation"
    thresholds = json.loads((whole / "thresholds.json").read_text())
    assert set(thresholds) == {"probability", "cosine", "correlation", "euclidean",
                                         "cityblock", "minkowski", "dot"}
    accepted = thresholds["euclidean"]["true_positive_rate"]
    assert 0 <= accepted <= 1 and thresholds["euclidean"]["split"] == "validation"


def test_tensorboard_gets_losses_figures_and_pairs(whole):
    events = EventAccumulator(str(whole / "tensorboard"), {"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    wanted = {"loss/total", "loss/contrastive", "loss/verification", "accuracy/pairs",
              "distance/matching", "distance/non_matching", "pairs", "pairs_per_second"}
    wanted |= {f"evaluation/{kind}/{figure}" for kind in ("validation", "training")
               for figure in ("accuracy", "accuracy_at_0.5", "roc_auc", "average_precision",
                              "loss/total")}
    assert wanted <= tags, wanted - tags
    assert [event.step for event in events.Tensors("pairs")] == [1]


def test_pairs_and_ranking_are_tested(whole, capsys, tmp_path):
    assert test_net.main(["--run", str(whole), "--output", str(tmp_path),
                          "evaluation.metric=probability"]) == 0
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())
    figures = results["verification"]
    assert results["metric"] == "probability" and results["num_valid_queries"] == 12
    calibrated = json.loads((whole / "thresholds.json").read_text())
    for name, one in calibrated.items():
        threshold = one["threshold"]
        shown = 1 / (1 + np.exp(-threshold)) if name == "probability" else threshold
        assert figures[name]["threshold"] == pytest.approx(shown)
        assert f"{figures[name]['accuracy']:.2%}" in printed
    assert "the most accurate on pairs of" in printed and "people never trained on" in printed
    single_shot = ["evaluation.protocol=single_shot", "evaluation.single_shot.trials=2"]
    assert test_net.main(["--run", str(whole), "--output", str(tmp_path / "trials"),
                          *single_shot]) == 0
    assert json.loads((tmp_path / "trials/results.json").read_text())["identities"] == 4
    for picture in ("roc.png", "pair_probabilities.png", "cmc.png", "ranked_lists.png"):
        assert cv2.imread(str(tmp_path / picture)) is not None


def test_pairs_of_a_table_and_of_a_split(whole, records, images, capsys, tmp_path):
    table = tmp_path / "pairs.csv"
    lines = [f"{images[0]},{images[0]},1", f"{images[0]},{images[1]},0"]
    table.write_text("\n".join(["first,second,same", *lines]))
    assert test_net.main(["--run", str(whole), "--pairs", str(table)]) == 0
    found = json.loads((whole / "pairs-pairs" / "verification.json").read_text())
    assert (found["matching_pairs"], found["non_matching_pairs"]) == (1, 1)
    # The first is an image and itself: nothing is nearer.
    assert found["euclidean"]["roc_auc"] == found["euclidean"]["average_precision"] == 1.0
    assert test_net.main(["--run", str(whole), "--split", "gallery", "--records", str(records),
                          "evaluation.verification_pairs=8"]) == 0
    found = json.loads((whole / "evaluation-records" / "split-gallery" /
                        "verification.json").read_text())
    assert found["matching_pairs"] == 4 and found["pairs"].endswith("gallery images of synthetic")
    assert "ROC AUC" in capsys.readouterr().out


def test_two_files_are_judged_alike_by_the_run_and_by_its_export(whole, images, capsys, tmp_path):
    def judged(*source):
        assert test_net.main([*source, "--output", str(tmp_path), "--pair", *images]) == 0
        lines = capsys.readouterr().out.splitlines()
        (picture,) = tmp_path.glob("pair-a-b-*.png")
        assert cv2.imread(str(picture)) is not None and lines[-1] == f"wrote {picture}"
        picture.unlink()
        probability, threshold = re.findall(r"0\.\d{4}", lines[0])
        figures = dict(line.split() for line in lines if line.startswith("  "))
        return float(probability), threshold, lines[1], {
            name: float(value) for name, value in figures.items()}

    by_run = judged("--run", str(whole))
    assert "the most accurate on pairs of" in by_run[2]
    assert list(by_run[3]) == ["similarity", "dissimilarity", "cosine", "correlation", "euclidean",
                               "cityblock", "minkowski", "dot"]
    assert export_model.main(["--run", str(whole), "--output", str(tmp_path / "served"), "--format",
                              "saved_model,litert", "--input", "float32"]) == 0
    assert "thresholds.json decides" in capsys.readouterr().out
    by_export = judged("--model", str(tmp_path / "served"))
    by_device = judged("--model", str(tmp_path / "served" / "litert-float32"))
    assert by_device[1:3] == by_export[1:3]
    assert by_device[0] == pytest.approx(by_export[0], abs=1.1e-4)
    assert by_device[3] == pytest.approx(by_export[3], rel=1e-4, abs=1e-5)
    assert by_export[1:3] == by_run[1:3]
    assert by_export[0] == pytest.approx(by_run[0], abs=1.1e-4)
    assert by_export[3] == pytest.approx(by_run[3], rel=1e-4, abs=1e-5)
    assert query_export.main(["--model", str(tmp_path / "served"), *images]) == 0
    ranked = capsys.readouterr().out.splitlines()[-1].split()
    assert float(ranked[1]) == float(ranked[2]) == pytest.approx(by_run[0], abs=1.1e-4)
    assert float(ranked[3]) == pytest.approx(by_run[3]["euclidean"], abs=1.1e-4)
    decision = "the same person" if by_run[0] >= float(by_run[1]) else "different people"
    assert " ".join(ranked[4:-1]) == decision


def test_files_are_judged_as_a_viewer_shows_them(whole, images, capsys, tmp_path,
                                                 tag_orientation):
    pixels = cv2.imread(images[0])
    turned = cv2.imencode(".jpg", np.rot90(pixels), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    upright = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR)
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
    (tmp_path / "one/a.jpg").write_bytes(tag_orientation(turned, 6))
    cv2.imwrite(str(tmp_path / "other/a.png"), np.rot90(upright, -1))
    cv2.imwrite(str(tmp_path / "small.png"), pixels[:7])
    printed = []
    for path in ("one/a.jpg", "other/a.png"):
        assert test_net.main(["--run", str(whole), "--output", str(tmp_path),
                              "--pair", str(tmp_path / path), images[1]]) == 0
        printed.append(capsys.readouterr().out.splitlines()[:-1])
    assert printed[0] == printed[1]
    # Files of one name do not overwrite each other's picture.
    assert len(list(tmp_path.glob("pair-a-b-*.png"))) == 2
    for option in (["--pair", "small.png", "small.png"], ["--pairs", "pairs.csv"]):
        (tmp_path / "pairs.csv").write_text("first,second,same\nsmall.png,small.png,1\n")
        option[1:] = [str(tmp_path / name) for name in option[1:]]
        assert test_net.main(["--run", str(whole), *option]) == 2
        assert "45 x 7 pixels show no person" in capsys.readouterr().err
    assert test_net.main(["--run", str(whole), "--pair", images[0], images[1],
                          "export.max_pixels=9000"]) == 2
    assert f"{images[1]}: the model cannot decode it, or it has more" in capsys.readouterr().err


def test_thresholds_of_other_weights_do_not_count(whole, images, capsys, tmp_path):
    copied = shutil.copytree(whole, tmp_path / "copied")
    best = copied / "checkpoints/best.weights.h5"
    weights = read_arrays(best)
    save_arrays({**weights, "verdict/bias": np.full_like(weights["verdict/bias"], 3)}, best, "twin")
    assert test_net.main(["--run", str(copied), "--pair", *images]) == 0
    printed = capsys.readouterr().out
    assert "(threshold 0.5000)" in printed and "none were calibrated for these weights" in printed
    (copied / "thresholds.json").write_text("{}")
    assert test_net.main(["--run", str(copied), "--pair", *images]) == 2
    assert "is broken" in capsys.readouterr().err


def test_leaks_streams_two_devices_and_half_precision(recipe, tmp_path, capfd):
    try:
        assert train_net.main(command(
            recipe, tmp_path / "run", "training.max_steps=1", "data.subset.validation_by=image",
            "data.memory_limit_mb=0.01", "siamese.loss=triplet", "training.devices=[CPU:0,CPU:1]",
            "loss.triplet.margin=0.0001",
            "training.precision=mixed_bfloat16")) == 0
    finally:
        keras.mixed_precision.set_global_policy("float32")
    printed = capfd.readouterr().out
    assert "streamed from disk" in printed and "above the memory limit of 0 MB" in printed
    assert "note: dropout alone puts a training image" in printed
    assert "beyond loss.triplet.margin=0.0001: " in printed
    assert "2 device(s)" in printed and "LEAKING validation accuracy" in printed
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["leaking"] is True and "LEAKING" in results["validation"]["pairs"]
    assert list(results["validation"]["losses"]) == ["verification"]
    for value in read_arrays(tmp_path / "run/checkpoints/last.weights.h5").values():
        assert np.isfinite(value).all()
    thresholds = json.loads((tmp_path / "run/thresholds.json").read_text())
    assert "LEAKING" in thresholds["probability"]["dataset"]


def test_twins_start_from_an_embedding_model_and_keep_it_frozen(recipe, tmp_path, capfd,
                                                                tiny_backbone):
    head = ["model.backbone=tiny", "model.pooling=average", "training.max_steps=1",
            "training.evaluate_every=0", "data.subset.validation=0"]
    embedding = tmp_path / "embedding"
    assert train_net.main(command(
        recipe, embedding, *head, "system=embedding", "model.classifier=true", "model.neck=true",
        "siamese.loss=null", "data.identities_per_batch=4", "data.images_per_identity=2",
        "data.subset.identities=4", "data.subset.images=16")) == 0
    printed = capfd.readouterr().out
    assert "16 images of 4 identities in memory" in printed
    assert open_run(embedding)[1].model.num_identities == 4
    for question in (["--pair", "a.jpg", "b.jpg"], ["--split", "query"]):
        assert test_net.main(["--run", str(embedding), *question]) == 2
    assert capfd.readouterr().err.count("cannot verify pairs") == 2
    weights = embedding / "checkpoints/last.weights.h5"
    assert train_net.main(command(
        recipe, tmp_path / "twins", *head, f"model.weights={weights}",
        "training.frozen_backbone_epochs=1", "schedule.learning_rate=0.1")) == 0
    printed = capfd.readouterr().out
    assert "has no verdict/bias, verdict/kernel" in printed
    assert "data.subset.validation is 0: no evaluation" in printed
    mine = read_arrays(tmp_path / "twins/checkpoints/last.weights.h5")
    theirs = read_arrays(weights)
    np.testing.assert_array_equal(mine["stem_conv/kernel"], theirs["stem_conv/kernel"])
    assert np.abs(mine["fc/kernel"] - theirs["fc/kernel"]).max() > 0


@pytest.mark.parametrize(("more", "words"), [
    (["siamese.loss=null"], "siamese.loss is not set"),
    (["siamese.loss=contrast"], "`siamese.loss` is"),
    (["training.jit_compile=true"], "training.jit_compile is not available"),
    (["training.evaluate_queries=3"], "evaluation.verification_pairs"),
    (["data.subset.identities=9"], "there are only 8 training identities"),
    (["data.subset.validation=0.9"], "for training"),
    (["data.pairs.negatives=batch"], "matching is drawn"),
    (["model.neck=true"], "neither a classifier nor a neck"),
    (["model.longest_side=64"], "model.longest_side"),
    (["loss.triplet.across_replicas=true"], "loss.triplet.across_replicas is not available"),
    (["system=embedding", "model.classifier=true", "data.subset.validation=0"],
     "siamese.loss is for system: siamese"),
    (["system=embedding", "model.classifier=true", "siamese.loss=null",
      "data.subset.validation_by=image"],
     "data.subset.validation_by=image is for system: siamese"),
    (["training.choose_best_on=test"], "training.choose_best_on=test is for galleries"),
])
def test_mistakes_get_one_sentence(recipe, tmp_path, capfd, more, words):
    assert train_net.main(command(recipe, tmp_path / "run", *more)) == 2
    printed = capfd.readouterr().err
    assert words in printed and "Traceback" not in printed
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("arguments", "words"), [
    (["--run", "RUN", "--pair", "none.jpg", "b.jpg"], "none.jpg cannot be read"),
    (["--run", "RUN", "--pairs", "none.csv"], "none.csv: cannot be read"),
    (["--run", "RUN", "--split", "val"], "no split 'val'"),
    (["--run", "RUN", "--split", "query", "--pairs", "x.csv"], "give one"),
    (["--model", "RUN"], "ranks the images of --records"),
    (["--model", "RUN", "--pair", "a.jpg", "b.jpg", "evaluation.minkowski_p=2"],
     "leave out --records and settings"),
    (["--run", "RUN", "evaluation.protocol=single_shot", "evaluation.metric=probability"],
     "unknown distance metric"),
    (["--model", "RUN", "--pair", "a.jpg", "b.jpg"], "no SavedModel there"),
    (["--run", "RUN", "evaluation.metric=probability", "evaluation.reranking=true"],
     "evaluation.reranking needs a distance"),
    (["--run", "RUN", "evaluation.metric=probabilty"], "unknown distance metric"),
    (["--run", "RUN", "--records", "nowhere"], "nowhere"),
])
def test_mistakes_in_testing_get_one_sentence(whole, capsys, arguments, words):
    arguments = [str(whole) if word == "RUN" else word for word in arguments]
    assert test_net.main(arguments) == 2
    message = capsys.readouterr().err
    assert words in message and message.count("\n") == 1
