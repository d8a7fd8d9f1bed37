"""Shards of embeddings: against the model, gone on with, with bad images, and ranked again."""

from __future__ import annotations

import csv
import json
import shutil
import sys

import numpy as np
import pytest

from tfreid.commands.embed_images import main
from tfreid.commands.export import main as export
from tfreid.commands.test import main as evaluate
from tfreid.evaluation.features import FeatureExtractor
from tfreid.records import Records
from tfreid.serving import embedding_files
from tfreid.serving.stored_embeddings import StoredEmbeddings

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def model(untrained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "export"
    assert export(["--run", str(untrained[0]), "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def embedded(model, records, tmp_path_factory):
    """The embeddings of all records, in shards that hold images of two splits."""
    folder = tmp_path_factory.mktemp("embedded") / "new"
    assert main(["--model", str(model), "--input", str(records), "--output", str(folder),
                 "--images-per-shard", "20", "--batch-size", "7"]) == 0
    return folder


def rows_of(folder):
    shards = sorted(folder.glob("embeddings-*.parquet"))
    return [row for shard in shards for row in parquet.read_table(shard).to_pylist()]


def test_rows_have_the_models_features_and_what_is_known(embedded, untrained, records):
    _, network, config = untrained
    opened, rows = Records(records), rows_of(embedded)
    extract = FeatureExtractor(network, config, opened)
    expected = np.concatenate([extract(split, progress=False) for split in opened.splits])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose([row["embedding"] for row in rows], expected, atol=1e-5)
    index = opened["query"].index
    queries = [row for row in rows if row["split"] == "query"]
    assert [row["path"] for row in queries] == list(index.paths)
    assert [row["key"] for row in queries] == [f"query/{path}" for path in index.paths]
    assert [row["person_id"] for row in queries] == list(map(str, index.ids))
    assert [row["camera_id"] for row in queries] == list(map(str, index.cameras))
    assert {row["time"] for row in rows} == {None}


def test_goes_on_with_the_missing_shards(embedded, model, records, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(embedded, folder)
    first, lost, *others = sorted(folder.glob("embeddings-*"))
    (folder / f".tmp-elsewhere-1-{lost.name}").write_bytes(lost.read_bytes()[:100])
    lost.unlink()
    written = {path: path.stat().st_mtime_ns for path in (first, *others)}
    assert main(["--model", str(model), "--input", str(records), "--output", str(folder),
                 "--images-per-shard", "20", "--batch-size", "7"]) == 0
    assert rows_of(folder) == rows_of(embedded)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert "(3 were there)" in capsys.readouterr().out


def test_bad_images_get_a_table_and_lose_nothing_else(model, files, tmp_path, monkeypatch):
    monkeypatch.chdir(files)
    table = tmp_path / "images.csv"
    table.write_text("Path;time;camera_id\n" + "".join(
        f"{files / name};12:0{place};gate\n" for place, name in enumerate(
            ("a.jpg", "short.jpg", "missing.jpg", "b.jpg", "text.jpg"))))
    folder = tmp_path / "out"
    arguments = ["--model", str(model), "--input", str(table), "--output", str(folder),
                 "--images-per-shard", "2", "--dtype", "float16"]
    for _ in range(2):
        assert main(arguments) == 0
        rows = rows_of(folder)
        assert [(row["path"], row["time"], row["camera_id"], row["person_id"]) for row in rows] == [
            (str(files / "a.jpg"), "12:00", "gate", None),
            (str(files / "b.jpg"), "12:03", "gate", None)]
        with open(folder / "refused.csv", newline="") as stream:
            refused = list(csv.DictReader(stream))
        assert [row["key"] for row in refused] == [
            str(files / name) for name in ("short.jpg", "missing.jpg", "text.jpg")]
        assert all(row["reason"] for row in refused)
    assert main(["--model", str(model), "--input", "*.jpg", "--output", str(tmp_path / "all")]) == 0
    np.testing.assert_allclose(
        [row["embedding"] for row in rows_of(tmp_path / "all")],
        [row["embedding"] for row in rows], atol=1e-3)


def test_finds_the_images_that_the_model_refuses():
    class Client:
        calls = 0

        def extract(self, files):
            self.calls += 1
            if b"bad" in files:
                raise embedding_files.RefusedImages("some")
            return {"embedding": np.array([[len(file)] for file in files], np.float32)}

    client = Client()
    found = embedding_files.embed_readable(client, [b"1"] * 5 + [b"bad"] + [b"22"] * 10)
    assert [None if row is None else float(row[0]) for row in found] == (
        [1.0] * 5 + [None] + [2.0] * 10)
    assert client.calls <= 9


def test_ranking_embeddings_gives_the_models_figures(embedded, untrained, records, tmp_path):
    settings = ["evaluation.reranking=true", "evaluation.reranking_k1=4",
                "evaluation.expansion=true"]
    assert evaluate(["--run", str(untrained[0]), "--output", str(tmp_path / "model"),
                     "--ranked-queries", "0", *settings]) == 0
    assert evaluate(["--features", str(embedded), "--records", str(records), "--output",
                     str(tmp_path / "features"), "--ranked-queries", "1", *settings]) == 0
    expected, found = (json.loads((tmp_path / name / "results.json").read_text())
                       for name in ("model", "features"))
    assert found["name"] == "new" and "mean_ap" in found["expanded_reranked"]
    for result in (expected, found):
        del result["name"], result["weights"]
    assert found == expected
    assert (tmp_path / "features" / "ranked_lists.png").exists()


def test_some_rows_are_read_in_the_order_that_is_wanted(embedded, records):
    stored, opened = StoredEmbeddings(embedded, Records(records)), Records(records)
    whole, wanted = stored("gallery", progress=False), np.array([5, 0, 3])
    assert len(whole) == len(opened["gallery"])
    np.testing.assert_array_equal(stored("gallery", wanted, progress=False), whole[wanted])


def broken(embedded, folder, how):
    shutil.copytree(embedded, folder)
    shard = sorted(folder.glob("embeddings-*"))[-1]
    if how == "missing":
        shard.unlink()
    elif how == "short":
        shard.write_bytes(shard.read_bytes()[:200])
    elif how == "plan":
        (folder / "embeddings.json").write_text("{}")
    else:
        import pyarrow

        table = parquet.read_table(shard)
        values = pyarrow.array(np.ones(2 * len(table), np.float32))
        column = pyarrow.FixedSizeListArray.from_arrays(values, 2)
        if how == "size":
            table = table.drop(["embedding"]).append_column("embedding", column)
        parquet.write_table(table.slice(0, 3) if how == "rows" else table, shard)


@pytest.mark.parametrize(("how", "words"), [
    ("missing", "lacks embeddings-00003-of-00004.parquet"), ("short", "is no whole shard"),
    ("size", "has embeddings of 2 numbers"), ("rows", "has no embedding of"),
    ("plan", "embeddings.json is broken")])
def test_broken_embeddings_are_one_sentence(embedded, records, tmp_path, capsys, how, words):
    broken(embedded, tmp_path / "broken", how)
    assert evaluate(["--features", str(tmp_path / "broken"), "--records", str(records),
                     "--output", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ") and words in message


@pytest.mark.parametrize(("arguments", "words"), [
    (["--input", "nowhere/*.jpg"], "no file fits the pattern"),
    (["--input", "nowhere.csv"], "nowhere.csv"),
    (["--input", "FILES", "--splits", "query"], "splits are those of records"),
    (["--input", "FILES/text.csv"], "the column path"),
    (["--input", "FILES/wide.csv"], "row 3"),
    (["--input", "FILES", "--beam-options=--x"], "--runner beam"),
    (["--input", "FILES", "--model", "nowhere"], "no SavedModel"),
    (["--input", "FILES/a.jpg", "--output", "EMBEDDED"], "embeddings of other images and keys"),
])
def test_mistakes_are_one_sentence(model, embedded, files, tmp_path, capsys, arguments, words):
    (files / "text.csv").write_text("a,b\n1,2\n")
    (files / "wide.csv").write_text("path\na.jpg\nb.jpg,2\n")
    places = {"FILES": str(files), "EMBEDDED": str(embedded)}
    for name, place in places.items():
        arguments = [word.replace(name, place) for word in arguments]
    assert main(["--model", str(model), "--output", str(tmp_path / "out"), "--images-per-shard",
                 "20", *arguments]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ") and words in message


def test_says_that_pyarrow_is_missing(model, files, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["--model", str(model), "--input", str(files), "--output",
                 str(tmp_path / "out")]) == 2
    assert "tfreid[parquet]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
