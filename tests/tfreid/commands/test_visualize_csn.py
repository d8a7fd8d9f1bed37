"""The command that draws what a CSN sees, with random weights on rendered people."""

from __future__ import annotations

from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from tfreid.commands import visualize_csn as visualize_csn_command
from tfreid.config import Config, DataConfig, save_config
from tfreid.records import Records
from tfreid.systems.csn import pictures as pair_pictures
from tfreid.systems.csn.network import build_csn
from tfreid.weights.files import save_weights


@pytest.fixture(scope="module")
def visualize():
    return visualize_csn_command.main


@pytest.fixture(scope="module")
def run(records, tmp_path_factory):
    """A run's folder with an untrained network."""
    keras.utils.set_random_seed(3)
    config = Config(name="tiny", system="csn", data=DataConfig(records=str(records)))
    config.model.height, config.model.width = 64, 28
    config.csn.levels = [3]
    folder = tmp_path_factory.mktemp("run")
    (folder / "checkpoints").mkdir()
    save_config(config, folder / "config.yaml")
    save_weights(build_csn(config), folder / "checkpoints" / "last.weights.h5")
    return folder


@pytest.fixture
def drawn(monkeypatch):
    """What would be drawn, in order: (details, names) or (results, query label)."""
    calls = []
    for name in ("draw_pair", "draw_ranked_pairs"):
        monkeypatch.setattr(pair_pictures, name,
                            lambda what, path, label, *rest: calls.append((what, label)))
    return calls


@pytest.mark.parametrize(("mode", "pictures"), [
    (["--pair", "FILES/a.jpg", "FILES/b.jpg", "--output", "new/pair.png"], ["new/pair.png"]),
    (["--pairs-from-records", "--gallery", "8", "--output", "new"],
     ["new/match.png", "new/non_match.png"]),
    (["--query", "QUERY", "--gallery", "8", "--top", "2", "--output", "new/ranked.png"],
     ["new/ranked.png"]),
])
def test_pictures(visualize, run, files, records, tmp_path, monkeypatch, capsys, mode, pictures):
    monkeypatch.chdir(tmp_path)
    path = Records(records)["query"].index.paths[2]
    mode = [word.replace("FILES", str(files)).replace("QUERY", path) for word in mode]
    assert visualize(["--run", str(run), *mode]) == 0
    printed = capsys.readouterr().out
    for name in pictures:
        picture = cv2.imread(name)
        assert name in printed and min(picture.shape[:2]) > 300 and picture.min() < 50


def test_two_files(visualize, run, files, drawn):
    assert visualize(["--run", str(run), "--pair", str(files / "a.jpg"), str(files / "b.jpg"),
                      "--output", "pair.png"]) == 0
    ((details, names),) = drawn
    assert names == ("a.jpg", "b.jpg") and list(details.levels) == [3]
    original = cv2.imread(str(files / "b.jpg"))[..., ::-1]
    resized = cv2.resize(original, (28, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(details.images[1].astype(float) - resized).mean() < 12
    assert np.abs(details.images[0].astype(float) - resized).mean() > 12


def test_recipe_and_weights_and_overrides(visualize, run, files, drawn):
    weights = run / "checkpoints" / "last.weights.h5"
    assert visualize(["--config", str(run / "config.yaml"), "--weights", str(weights), "--pair",
                      str(files / "a.jpg"), str(files / "a.jpg"), "--output",
                      "pair.png", "csn.score.epsilon=0.5"]) == 0
    ((details, _),) = drawn
    # An image is at distance 0 of itself: 0.2 / 0.5 beside the probability.
    assert details.score == pytest.approx(details.probability + 0.4, abs=1e-3)


def test_pairs_from_records(visualize, run, drawn):
    labels = set()
    for seed in ("4", "5"):
        drawn.clear()
        assert visualize(["--run", str(run), "--pairs-from-records", "--gallery", "8", "--output",
                          "pairs", "--seed", seed]) == 0
        (match, match_names), (wrong, wrong_names) = drawn
        assert match_names[0] == wrong_names[0]
        person, camera = match_names[0].split(", ")
        assert match_names[1].startswith(f"{person}, ") and camera not in match_names[1]
        assert not wrong_names[1].startswith(f"{person}, ")
        np.testing.assert_array_equal(match.images[0], wrong.images[0])
        assert np.any(match.images[1] != wrong.images[1])
        labels.add((match_names, wrong_names))
    assert len(labels) == 2


def test_ranked_gallery(visualize, run, records, drawn):
    arguments = ["--run", str(run), "--output", "ranked.png", "--top", "3", "--gallery", "9"]
    index = Records(records)["query"].index
    for query in ("5", Path(index.paths[5]).name):
        assert visualize([*arguments, "--query", query]) == 0
    for results, label in drawn:
        assert label == f"person {index.ids[5]}, camera {index.cameras[5]}"
        scores = [result.details.score for result in results]
        assert len(scores) == 3 and scores == sorted(scores, reverse=True)
        # The same seed draws the same gallery.
        assert [result.label for result in results] == [result.label for result in drawn[0][0]]
        for result in results:
            assert result.is_match == result.label.startswith(f"person {index.ids[5]},")
            assert result.label != label


def test_a_whole_gallery_holds_neither_junk_nor_the_querys_camera(visualize, run, records, drawn):
    query, gallery = (Records(records)[split].index for split in ("query", "gallery"))
    assert visualize(["--run", str(run), "--output", "ranked.png", "--gallery",
                      "999", "--top", "100", "--query", "0"]) == 0
    same = gallery.ids == query.ids[0]
    usable = (gallery.ids >= 0) & ~(same & (gallery.cameras == query.cameras[0]))
    ((results, _),) = drawn
    assert len(results) == usable.sum() < len(gallery)
    assert sum(result.is_match for result in results) == (usable & same).sum() > 0


def test_the_match_is_always_drawn(visualize, run, drawn):
    assert visualize(["--run", str(run), "--output", "ranked.png", "--gallery", "1", "--query",
                      "3"]) == 0
    (((result,), _),) = drawn
    assert result.is_match


@pytest.mark.parametrize(("arguments", "words"), [
    (["--pair", "FILES/none.jpg", "FILES/b.jpg"], "none.jpg cannot be read"),
    (["--pair", "FILES/a.jpg", "FILES"], "is a folder, not a file"),
    (["--pair", "FILES/a.jpg", "FILES/short.jpg"], "short.jpg: truncated"),
    (["--pair", "FILES/text.jpg", "FILES/a.jpg"], "text.jpg: neither JPEG, PNG"),
    (["--pair", "FILES/a.jpg", "FILES/b.jpg", "system=embedding"], "system: csn"),
    (["--pair", "FILES/a.jpg", "FILES/b.jpg", "csn.levels=[2,3]"], "do not fit the model"),
    (["--pair", "FILES/a.jpg", "FILES/b.jpg", "--weights", "no.weights.h5"], "does not exist"),
    (["--pair", "FILES/a.jpg", "FILES/b.jpg", "--config", "x.yaml"], "either --run"),
    (["--query", "99999"], "99999"),
    (["--query", "nobody.jpg"], "nobody.jpg matches 0"),
    (["--query", "0", "data.records=null"], "data.records is not set"),
    (["--query", "0", "data.records=nowhere"], "nowhere"),
    (["--pairs-from-records", "--gallery", "1"], "shows another person"),
])
def test_mistakes_are_one_sentence(visualize, run, files, capsys, tmp_path, arguments, words):
    arguments = [word.replace("FILES", str(files)) for word in arguments]
    assert visualize(["--run", str(run), "--output", str(tmp_path / "x"), *arguments]) == 2
    message = capsys.readouterr().err
    assert words in message and message.count("error:") == 1 and "Traceback" not in message


def test_a_recipe_needs_weights(visualize, run, capsys, tmp_path):
    assert visualize(["--config", str(run / "config.yaml"), "--query", "0", "--output",
                      str(tmp_path / "x")]) == 2
    assert "--weights" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [
    ["--run", "a", "--output", "b"],
    ["--run", "a", "--output", "b", "--pair", "one.jpg"],
    ["--run", "a", "--output", "b", "--query", "0", "--pairs-from-records"],
    ["--run", "a", "--output", "b", "--query", "0", "--top", "0"],
    ["--run", "a", "--query", "0"],
])
def test_wrong_usage_is_argparses_error(visualize, arguments):
    with pytest.raises(SystemExit) as caught:
        visualize(arguments)
    assert caught.value.code == 2
