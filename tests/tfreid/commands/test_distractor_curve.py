"""The distractor curve's command line, from rendered images to table, JSON and picture."""

from __future__ import annotations

import json
import shutil

import cv2
import keras
import numpy as np
import pytest

from tfrecords.market1501_500k import scan_market1501_500k
from tfrecords.records import build_records
from tfreid.commands import distractor_curve as distractor_curve_command
from tfreid.commands.embed_images import main as embed_images
from tfreid.commands.export import main as export
from tfreid.config import Config, DataConfig, ModelConfig, save_config
from tfreid.evaluation.features import FeatureExtractor
from tfreid.evaluation.ranking import evaluate_ranking
from tfreid.models.embedding import build_embedding_model
from tfreid.records import Records
from tfreid.weights.files import save_weights

ADDED = 12


@pytest.fixture(scope="module")
def curve():
    return distractor_curve_command.main


@pytest.fixture(scope="module")
def world(records, tiny_backbone, tmp_path_factory):
    """A folder with records with added distractors, and a run with an untrained network."""
    folder = tmp_path_factory.mktemp("world")
    images = records.parent / "images"
    (folder / "images").mkdir()
    # Training people: nobody who is queried.
    for number, path in enumerate(sorted((images / "bounding_box_train").iterdir())[:ADDED]):
        shutil.copy(path, folder / "images" / f"{number}.jpg")
    scan = scan_market1501_500k(images, distractors=folder / "images")
    build_records(scan, "market1501_500k", folder / "records", shards=2)
    keras.utils.set_random_seed(3)
    config = Config(
        name="tiny",
        model=ModelConfig(backbone=tiny_backbone, height=32, width=16, num_identities=8),
        data=DataConfig(records=str(folder / "records"), eval_batch_size=16),
    )
    model = build_embedding_model(config.model)
    (folder / "run" / "checkpoints").mkdir(parents=True)
    save_config(config, folder / "run" / "config.yaml")
    save_weights(model, folder / "run" / "checkpoints" / "last.weights.h5")
    query, gallery = (Records(folder / "records")[split].index for split in ("query", "gallery"))
    extract = FeatureExtractor(model, config, Records(folder / "records"))
    sides = (extract("query", progress=False), query.ids, query.cameras,
             extract("gallery", progress=False), gallery.ids, gallery.cameras)
    return folder, sides


def expected(sides, count, seed=0, **settings):
    """Figures of `evaluate_ranking` on the gallery without the distractors that are not chosen."""
    base = len(sides[3]) - ADDED
    places = np.random.default_rng(seed).permutation(ADDED)
    kept = np.append(np.arange(base), base + np.flatnonzero(places < count))
    return evaluate_ranking(*sides[:3], *(side[kept] for side in sides[3:]), **settings).as_dict()


def without_network(monkeypatch, sides, stop=False):
    """Makes the extraction yield known features, last ones first, and perhaps stop half-way."""

    def blocks(self, split):
        features = sides[0 if split == "query" else 3]
        for positions in np.array_split(np.arange(len(features))[::-1], 2):
            yield positions, features[positions]
            if stop:
                raise KeyboardInterrupt

    monkeypatch.setattr(FeatureExtractor, "blocks", blocks)


def test_the_curve_of_a_run(curve, world, capsys, tmp_path):
    folder, sides = world
    assert curve(["--run", str(folder / "run"), "--output", str(tmp_path / "out")]) == 0
    content = json.loads((tmp_path / "out" / "distractor_curve.json").read_text())
    assert (content["name"], content["seed"], content["added_distractors"]) == ("tiny", 0, ADDED)
    assert content["base_gallery"] == len(sides[3]) - ADDED
    assert content["protocol"] == "market1501_500k, single query"
    assert [point.pop("distractors") for point in content["curve"]] == [0, 2, 4, 7, 9, 12]
    for count, point in zip((0, 2, 4, 7, 9, 12), content["curve"]):
        found = expected(sides, count)
        assert point["mean_ap"] == pytest.approx(found["mean_ap"], abs=1e-6)
        assert point["cmc"] == pytest.approx(found["cmc"])
        assert point["num_gallery"] == found["num_gallery"]
    scores = [point["mean_ap"] for point in content["curve"]]
    assert scores == sorted(scores, reverse=True) and scores[-1] < scores[0]
    printed = capsys.readouterr().out
    for words in ("added distractors", "rank-1", "mAP", "mINP", f"{100 * scores[-1]:.2f} %",
                  "cosine", "distractor_curve.json", "distractor_curve.png"):
        assert words in printed
    # The features are gone.
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "distractor_curve.json", "distractor_curve.png"]
    assert cv2.imread(str(tmp_path / "out" / "distractor_curve.png")) is not None


def test_reads_embeddings_without_the_network(curve, world, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    folder, sides = world
    assert export(["--run", str(folder / "run"), "--output", str(tmp_path / "model")]) == 0
    assert embed_images(["--model", str(tmp_path / "model"), "--input", str(folder / "records"),
                         "--images-per-shard", "30", "--output", str(tmp_path / "embedded")]) == 0
    monkeypatch.setattr(FeatureExtractor, "blocks", None)
    assert curve(["--run", str(folder / "run"), "--features", str(tmp_path / "embedded"),
                  "--counts", "0", "5", "--output", str(tmp_path / "out")]) == 0
    content = json.loads((tmp_path / "out" / "distractor_curve.json").read_text())
    for count, point in zip((0, 5), content["curve"]):
        assert point["mean_ap"] == pytest.approx(expected(sides, count)["mean_ap"], abs=1e-6)
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_features_are_kept_and_of_one_model(curve, world, capsys, tmp_path, monkeypatch):
    folder, sides = world
    without_network(monkeypatch, sides)
    common = ["--config", str(folder / "run" / "config.yaml"), "--weights",
              str(folder / "run" / "checkpoints" / "last.weights.h5"), "--features",
              str(tmp_path / "features")]
    assert curve([*common, "--output", str(tmp_path / "first"), "--records",
                  str(folder / "records"), "--seed", "4", "--counts", "5", "0",
                  "evaluation.metric=euclidean", "evaluation.max_rank=7"]) == 0
    content = json.loads((tmp_path / "first" / "distractor_curve.json").read_text())
    assert [point["distractors"] for point in content["curve"]] == [0, 5]
    assert content["curve"][1]["mean_ap"] == pytest.approx(
        expected(sides, 5, seed=4, metric="euclidean")["mean_ap"], abs=1e-6)
    assert len(content["curve"][1]["cmc"]) == 7
    for place, split in ((0, "query"), (3, "gallery")):
        np.testing.assert_array_equal(np.load(tmp_path / "features" / f"{split}.npy"),
                                      sides[place])
    # Another time the network does not run.
    monkeypatch.setattr(FeatureExtractor, "blocks", None)
    assert curve([*common, "--output", str(tmp_path / "second"), "--compare",
                  str(tmp_path / "first"), "data.eval_batch_size=8"]) == 0
    capsys.readouterr()
    assert curve([*common, "--output", str(tmp_path / "third"), "model.height=48"]) == 2
    message = capsys.readouterr().err
    assert "gallery.json" in message or "query.json" in message
    assert "from other settings" in message and message.count("\n") == 1
    np.savez(tmp_path / "several.npz", features=np.zeros((3, 2)))
    for damaged in (b"\x93NUMPY", b"", (tmp_path / "several.npz").read_bytes()):
        (tmp_path / "features" / "gallery.npy").write_bytes(damaged)
        assert curve([*common, "--output", str(tmp_path / "third")]) == 2
        message = capsys.readouterr().err
        assert "gallery.npy is missing or broken; delete" in message and message.count("\n") == 1
    (tmp_path / "features" / "query.json").write_text("[]")
    assert curve([*common, "--output", str(tmp_path / "third")]) == 2
    assert "from other weights and settings and records" in capsys.readouterr().err


def test_interrupted_extraction_leaves_nothing_that_looks_whole(
        curve, world, tmp_path, monkeypatch):
    folder, sides = world
    features = tmp_path / "features"
    common = ["--run", str(folder / "run"), "--features", str(features), "--output",
              str(tmp_path / "out")]
    without_network(monkeypatch, sides, stop=True)
    assert curve(common) == 130
    assert list(features.iterdir()) == []
    without_network(monkeypatch, sides)
    assert curve(common) == 0
    np.testing.assert_array_equal(np.load(features / "gallery.npy"), sides[3])


def test_other_records_say_where_distractors_begin(
        curve, world, records, tmp_path, capsys, monkeypatch):
    folder, sides = world
    without_network(monkeypatch, sides)
    common = ["--run", str(folder / "run"), "--output", str(tmp_path / "out"), "--records"]
    assert curve([*common, str(records)]) == 2
    assert "holds no added distractors" in capsys.readouterr().err
    gallery = Records(records)["gallery"].index
    for base, words in ((1, "not all images behind the first 1 are distractors"),
                        (len(gallery), f"not {len(gallery)}")):
        assert curve([*common, str(records), "--base", str(base)]) == 2
        message = capsys.readouterr().err
        assert words in message and message.count("\n") == 1
    # The last two of the added ones only: the other ten count as part of the gallery.
    assert curve([*common, str(folder / "records"), "--base", str(len(gallery) + ADDED - 2),
                  "--counts", "1"]) == 0
    content = json.loads((tmp_path / "out" / "distractor_curve.json").read_text())
    assert content["added_distractors"] == 2 and len(content["curve"]) == 1


def test_galleries_without_room_for_distractors(
        curve, world, records, tmp_path, capsys, monkeypatch):
    folder, sides = world
    without_network(monkeypatch, sides)
    images = records.parent / "images"
    for name in ("own", "tracked"):
        scan = scan_market1501_500k(images, distractors=folder / "images")
        query, gallery = scan.splits["query"], scan.splits["gallery"]
        if name == "own":
            scan.query_galleries = [np.arange(len(gallery)) for _ in query]
        scan.splits["query"] = [entry._replace(tracklet_id=place if name == "tracked" else None)
                                for place, entry in enumerate(query)]
        build_records(scan, "other", tmp_path / name, shards=1)
    common = ["--run", str(folder / "run"), "--output", str(tmp_path / "out"), "--records"]
    for name, words in (("own", "ranks its own gallery"), ("tracked", "has tracklets")):
        assert curve([*common, str(tmp_path / name)]) == 2
        message = capsys.readouterr().err
        assert words in message and message.count("\n") == 1
    assert curve([*common, str(tmp_path / "tracked"), "evaluation.tracklet_pooling=none"]) == 0


def write_curve(folder, name, scores=(0.5, 0.25)):
    folder.mkdir()
    points = [{"distractors": 10 * place, "mean_ap": score, "rank_1": score}
              for place, score in enumerate(scores)]
    (folder / "distractor_curve.json").write_text(json.dumps({"name": name, "curve": points}))
    return folder


def test_saved_curves_are_drawn_alone(curve, tmp_path, capsys, monkeypatch):
    from tfreid.systems import distractors

    drawn = {}
    monkeypatch.setattr(distractors, "draw_distractor_curves",
                        lambda curves, path: drawn.update(curves))
    first, second = write_curve(tmp_path / "a", "one"), write_curve(tmp_path / "b", "one")
    third = write_curve(tmp_path / "c", "other", (0.75, 0.5, 0.0))
    assert curve(["--compare", str(first), str(second / "distractor_curve.json"), str(third),
                  "--output", str(tmp_path / "all")]) == 0
    assert list(drawn) == [f"one ({first / 'distractor_curve.json'})",
                           f"one ({second / 'distractor_curve.json'})", "other"]
    assert drawn["other"].counts.tolist() == [0, 10, 20]
    assert drawn["other"].mean_ap.tolist() == [0.75, 0.5, 0.0]
    assert capsys.readouterr().out == f"wrote {tmp_path / 'all' / 'distractor_curve.png'}\n"
    assert curve(["--compare", str(first), str(first), "--output", str(tmp_path / "all")]) == 2
    assert "is named twice" in capsys.readouterr().err


@pytest.mark.parametrize("content", [
    "{", "[]", '{"name": "a"}', '{"name": "a", "curve": []}',
    '{"name": "a", "curve": [{"distractors": 0, "mean_ap": 2, "rank_1": 0.5}]}',
    '{"name": "a", "curve": [{"distractors": 0, "mean_ap": "x", "rank_1": 0.5}]}',
])
def test_broken_curves(curve, tmp_path, capsys, content):
    (tmp_path / "broken.json").write_text(content)
    assert curve(["--compare", str(tmp_path / "broken.json"), "--output", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "broken.json is broken" in message and message.count("\n") == 1


@pytest.mark.parametrize(("arguments", "words"), [
    (["--run", "RUN", "--counts", "0", "13"], "there are 12 distractors"),
    (["--run", "RUN", "--counts", "-1"], "received -1"),
    (["--run", "RUN", "--counts", "many"], "--counts must be whole numbers, not many"),
    (["--run", "RUN", "evaluation.metric=cosin"], "did you mean 'cosine'"),
    (["--run", "RUN", "evaluation.protocol=single_shot"], "evaluation.protocol=full"),
    (["--run", "RUN", "data.records=null"], "data.records is not set"),
    (["--run", "RUN", "--weights", "no.weights.h5"], "does not exist"),
    (["--run", "nowhere"], "no run there"),
    ([], "give either --run RUN"),
    (["--compare", "nowhere.json"], "nowhere.json: no distractor curve there"),
])
def test_mistakes_are_one_sentence(curve, world, tmp_path, capsys, arguments, words):
    arguments = [str(world[0] / "run") if word == "RUN" else word for word in arguments]
    assert curve([*arguments, "--output", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert words in message and message.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--output", "x", "--base", "0"]])
def test_wrong_usage_is_argparses_error(curve, arguments):
    with pytest.raises(SystemExit) as caught:
        curve(arguments)
    assert caught.value.code == 2
