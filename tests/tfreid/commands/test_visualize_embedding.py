"""The command that draws what an embedding looks at, with random weights on rendered people."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tfreid.commands import visualize_embedding as visualize_embedding_command
from tfreid.evaluation.distances import pairwise_distances
from tfreid.evaluation.features import FeatureExtractor
from tfreid.records import Records, open_records
from tfreid.systems.embedding import pictures as embedding_pictures

DRAWN = ("draw_matching_regions", "draw_attention", "draw_ranked_lists")


@pytest.fixture(scope="module")
def visualize():
    return visualize_embedding_command.main


@pytest.fixture(scope="module")
def run(untrained):
    """A run's folder with an untrained network, and the features of query and gallery."""
    folder, model, config = untrained
    extract = FeatureExtractor(model, config, open_records(config.data))
    return folder, [extract(split, progress=False) for split in ("query", "gallery")]


@pytest.fixture
def drawn(monkeypatch):
    """What would be drawn, in order: the arguments."""
    calls = []
    for name in DRAWN:
        monkeypatch.setattr(embedding_pictures, name,
                            lambda *arguments, **named: calls.append(
                                (*arguments, *named.values())))
    return calls


def of_one_person(names):
    return len({name.split(",")[0] for name in names}) == 1


@pytest.mark.parametrize(("mode", "count"), [
    (["--pair", "FILES/a.jpg", "FILES/b.jpg", "--dimensions", "3"], 1),
    (["--attention", "FILES/a.jpg", "FILES/b.jpg", "--accumulate", "4"], 1),
    (["--pairs-from-records", "1"], 2),
    (["--attention-from-records", "2", "--images", "3"], 1),
    (["--ranked", "3", "--worst"], 1),
])
def test_pictures(visualize, run, files, tmp_path, capsys, mode, count):
    mode = [word.replace("FILES", str(files)) for word in mode]
    assert visualize(["--run", str(run[0]), "--output", str(tmp_path / "new" / "x"), *mode]) == 0
    written = [line[6:] for line in capsys.readouterr().out.splitlines() if line[:6] == "wrote "]
    assert len(written) == count
    for name in written:
        picture = cv2.imread(name)
        assert min(picture.shape[:2]) > 300 and picture.min() < 50


def test_a_pair_of_files(visualize, run, files, drawn):
    assert visualize(["--run", str(run[0]), "--pair", str(files / "a.jpg"), str(files / "b.jpg"),
                      "--dimensions", "2", "--output", "pair.png"]) == 0
    ((pair, path, names),) = drawn
    assert names == ("a.jpg", "b.jpg") and path == "pair.png"
    # The raw images are drawn, and compared as the evaluation compares them.
    np.testing.assert_array_equal(pair.images[1], cv2.imread(str(files / "b.jpg"))[..., ::-1])
    first, second = run[1][0][:2] / np.linalg.norm(run[1][0][:2], axis=1, keepdims=True)
    assert pair.similarity == pytest.approx(first @ second, abs=1e-4)
    order = np.argsort(-first * second)[:2]
    assert [found.number for found in pair.dimensions] == order.tolist()
    assert pair.dimensions[0].contribution == pytest.approx((first * second)[order[0]], abs=1e-4)
    assert all(cam.shape == (16, 8) for found in pair.dimensions for cam in found.cams)


def test_pairs_are_nearest(visualize, run, records, drawn):
    query, gallery = (Records(records)[split].index for split in ("query", "gallery"))
    distances = pairwise_distances(*run[1], "euclidean")
    chosen = set()
    for seed in ("4", "5"):
        drawn.clear()
        assert visualize(["--run", str(run[0]), "--pairs-from-records", "2", "--output", "pairs",
                          "--seed", seed, "evaluation.metric=euclidean"]) == 0
        assert len(drawn) == 4
        for pair, path, names, _ in drawn:
            position = int(path.name.split("_")[1])
            same = gallery.ids == query.ids[position]
            counts = (gallery.ids >= 0) & ~(same & (gallery.cameras == query.cameras[position]))
            is_match = not path.name.endswith("_non_match.png")
            candidates = np.flatnonzero(counts & (same if is_match else ~same))
            nearest = candidates[np.argmin(distances[position, candidates])]
            encoded = Records(records)["gallery"].encoded[nearest]
            image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
            np.testing.assert_array_equal(pair.images[1], image)
            assert of_one_person(names) == is_match
            chosen.add(position)
    assert len(chosen) > 2


def test_attention_of_persons(visualize, run, records, drawn):
    assert visualize(["--run", str(run[0]), "--attention-from-records", "3", "--images", "2",
                      "--accumulate", "5", "--output", "a.png"]) == 0
    ((rows, _, dimensions),) = drawn
    assert dimensions == 5 and len({row.label for row in rows}) == 3
    persons = {f"person {person}" for person in Records(records)["query"].index.ids}
    for row in rows:
        assert row.label in persons
        # Each person was seen by three cameras: two images are by two of them.
        assert len({shown.label for shown in row.images}) == 2
    assert any(shown.cam.any() for row in rows for shown in row.images)


def test_overrides_may_follow_the_files(visualize, run, files, drawn):
    assert visualize(["--run", str(run[0]), "--output", "a.png", "--attention",
                      str(files / "b.jpg"), str(files / "a.jpg"),
                      "evaluation.feature=embedding"]) == 0
    (((row,), _, dimensions),) = drawn
    # The tiny network has no more dimensions than this.
    assert [shown.label for shown in row.images] == ["b.jpg", "a.jpg"] and dimensions == 8


def test_ranked_lists(visualize, run, records, drawn):
    shown = {}
    for mode in ([], ["--worst"]):
        assert visualize(["--run", str(run[0]), "--ranked", "99", "--output", "r.png", *mode]) == 0
    for (rows, _, remark), name in zip(drawn, ("spread", "worst")):
        assert remark == ""  # no images chose these weights
        shown[name] = [row.average_precision for row in rows]
    query, gallery = (Records(records)[split].index for split in ("query", "gallery"))
    assert len(shown["spread"]) == len(query)
    assert shown["worst"] == sorted(shown["spread"]) != shown["spread"]
    for place, row in enumerate(drawn[0][0]):
        relevant = (gallery.ids == query.ids[place]) & (gallery.cameras != query.cameras[place])
        assert row.relevant == relevant.sum() > 0
        # With a relevant image in each of the first places, and only then, the precision is 1.
        first = [result.is_match for result in row.results[: row.relevant]]
        assert (row.average_precision == 1.0) == all(first)
    worst = drawn[1][0][0]
    position = shown["spread"].index(shown["worst"][0])
    encoded = Records(records)["query"].encoded[position]
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(worst.query, image)


@pytest.mark.parametrize(("arguments", "words"), [
    (["--pair", "FILES/none.jpg", "FILES/b.jpg"], "none.jpg cannot be read"),
    (["--attention", "FILES/a.jpg", "FILES/short.jpg"], "short.jpg: truncated"),
    (["--attention", "FILES/text.jpg"], "text.jpg: neither JPEG, PNG"),
    (["--attention", "data.verify=size"], "--attention names no file"),
    (["--attention", "FILES/a.jpg", "system=csn"], "tfreid visualize-csn"),
    (["--attention", "FILES/a.jpg", "model.neck=false"], "do not fit the model"),
    (["--ranked", "2", "--weights", "no.weights.h5"], "does not exist"),
    (["--ranked", "2", "--config", "x.yaml"], "either --run"),
    (["--ranked", "2", "data.records=null"], "data.records is not set"),
    (["--attention-from-records", "2", "data.records=nowhere"], "nowhere"),
    (["--pairs-from-records", "2", "evaluation.metric=nearness"], "nearness"),
    (["--pairs-from-records", "2", "--worst"], "--ranked"),
])
def test_mistakes_are_one_sentence(visualize, run, files, capsys, tmp_path, arguments, words):
    arguments = [word.replace("FILES", str(files)) for word in arguments]
    assert visualize(["--run", str(run[0]), "--output", str(tmp_path / "x"), *arguments]) == 2
    message = capsys.readouterr().err
    assert words in message and message.count("error:") == 1 and "Traceback" not in message


def test_a_recipe_needs_weights(visualize, run, capsys):
    assert visualize(["--config", str(run[0] / "config.yaml"), "--ranked", "2", "--output",
                      "x"]) == 2
    assert "--weights" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [
    [], ["--ranked", "0"], ["--ranked", "2", "--attention", "a.jpg"], ["--pair", "a.jpg"],
    ["--pair", "a.jpg", "b.jpg", "--dimensions", "0"],
])
def test_wrong_usage_is_argparses_error(visualize, arguments):
    with pytest.raises(SystemExit) as caught:
        visualize(["--run", "a", "--output", "b", *arguments])
    assert caught.value.code == 2
