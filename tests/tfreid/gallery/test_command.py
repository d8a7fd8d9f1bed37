"""`tfreid gallery` from end to end: added, found, numbered, listed, removed, and refused."""

from __future__ import annotations

import csv
import shutil

import cv2
import pytest

pytest.importorskip("pymilvus")

from tfreid.commands.gallery import main  # noqa: E402

LIMITS = ["--same", "0.01", "--unsure", "0.11"]


@pytest.fixture(scope="module")
def store(filled, tmp_path_factory):
    """Options of a gallery that tests only read."""
    path = tmp_path_factory.mktemp("command") / "people.db"
    shutil.copy(filled, path)
    return ["--gallery", str(path)]


@pytest.fixture
def own(filled, tmp_path):
    shutil.copy(filled, tmp_path / "people.db")
    return ["--gallery", str(tmp_path / "people.db")]


def refused(arguments, capsys):
    """Returns the one sentence with which a call is refused."""
    assert main(arguments) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("error: ") and "\n" not in message
    return message


def test_a_person_is_searched_and_drawn(store, model, crops, tmp_path, capsys):
    assert main(["search", str(crops.query), *store, "--model", str(model), *LIMITS, "--camera",
                 "yard", "--top", "2", "--picture", str(tmp_path / "found.png")]) == 0
    printed = capsys.readouterr().out
    first, second = [line for line in printed.splitlines() if "yard/" in line]
    assert f"yard/{crops.person}_" in first and " same " in first and "1:1" in first
    assert "(track yard-2, 3 images)" in first and " unsure " in second
    assert cv2.imread(str(tmp_path / "found.png")).shape[0] > 100


def test_a_search_without_thresholds_says_so(store, model, crops, capsys):
    assert main(["search", "--key", next(iter(crops.people)), *store, "--model", str(model),
                 "--every-image"]) == 0
    assert "no calibrated threshold" in capsys.readouterr().out


def test_people_are_numbered_and_scored(own, model, crops, tmp_path, capsys):
    truth = tmp_path / "tracks.csv"
    truth.write_text("camera,track,person\n" + "".join(
        f"{camera},{camera}-{person},{person}\n" for camera in ("entrance", "yard")
        for person in range(6)))
    assert main(["identify", *own, "--model", str(model), "--threshold", "0.05",
                 "--truth", str(truth)]) == 0
    printed = capsys.readouterr().out
    assert "12 tracks are 6 people" in printed
    assert "of 36 images of 6 people: IDF1 1.000" in printed and "100% of the people" in printed
    assert main(["export", *own, "--output", str(tmp_path / "all.csv"), "--camera", "yard"]) == 0
    with open(tmp_path / "all.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 18 and {row["person_id"] for row in rows} == set("123456")
    assert main(["stats", *own]) == 0
    assert "people   6" in capsys.readouterr().out


def test_what_is_old_is_removed(own, capsys):
    assert main(["remove", *own, "--older-than", "60"]) == 0
    assert "removed 18 images" in capsys.readouterr().out
    assert main(["remove", *own, "--track", "yard-1", "--track", "yard-2"]) == 0
    assert "removed 6 images" in capsys.readouterr().out


def test_images_that_are_there_are_not_added_again(own, model, crops, tmp_path, capsys):
    (tmp_path / "text.jpg").write_text("no image")
    assert main(["add", str(crops.table), *own, "--model", str(model)]) == 0
    assert "added 0 images, 36 were there" in capsys.readouterr().out
    assert main(["add", str(crops.query), str(tmp_path / "text.jpg"), *own,
                 "--model", str(model)]) == 0
    printed = capsys.readouterr().out
    assert "added 1 images" in printed and f"left out {tmp_path / 'text.jpg'}" in printed


@pytest.mark.parametrize("arguments, words", [
    (["search", "missing.jpg"], "missing.jpg does not exist"),
    (["search"], "nothing to search for"),
    (["search", "--key", "unknown"], "no entry 'unknown'"),
    (["search", "--key", "x", "--same", "0.2"], "both --same and --unsure"),
    (["search", "--key", "x", "--same", "0.2", "--unsure", "0.1"], "the smaller distance first"),
    (["search", "--key", "x", "--since", "noon"], "'noon' is not a time"),
    (["search", "--key", "x", "--rerank", "pair"], "`pair` needs a model of pairs"),
    (["add", "missing"], "missing does not exist"),
    (["identify"], "no calibrated threshold"),
    (["identify", "--threshold", "0.1", "--truth", "no.csv"], "no.csv"),
    (["serve", "--host", "0.0.0.0"], "lets other machines in"),
    (["serve", "--token-file", "no-token"], "no-token"),
    (["serve", "--host", "192.0.2.1", "--token-file", __file__], "cannot be opened"),
], ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "")
def test_bad_input_gets_one_sentence(store, model, capsys, arguments, words):
    assert words in refused([*arguments, *store, "--model", str(model)], capsys)


def test_a_missing_model_or_gallery_is_named(store, tmp_path, capsys):
    assert "no-model" in refused(["search", "--key", "x", *store, "--model", "no-model"], capsys)
    assert "what to remove" in refused(["remove", *store], capsys)
    assert "NAME.db" in refused(["stats", "--gallery", str(tmp_path / "people")], capsys)


def test_without_milvus_it_says_what_to_install(store, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pymilvus", None)
    assert "pip install 'tfreid[gallery]'" in refused(["stats", *store], capsys)
