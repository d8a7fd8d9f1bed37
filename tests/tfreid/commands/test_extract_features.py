"""The file of features against those of the evaluation."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tfreid.commands.extract_features import main
from tfreid.evaluation.features import FeatureExtractor
from tfreid.records import Records


def test_records_give_the_evaluations_features(untrained, records, tmp_path):
    folder, model, config = untrained
    path = tmp_path / "new" / "features.npz"
    assert main(["--run", str(folder), "--records", str(records), "--splits", "query", "gallery",
                 "--batch-size", "7", "--output", str(path), "export.normalize=false"]) == 0
    found, opened = np.load(path), Records(records)
    extract = FeatureExtractor(model, config, opened)
    np.testing.assert_allclose(
        found["features"], np.concatenate([extract(split) for split in ("query", "gallery")]),
        atol=1e-4)
    indices = [opened[split].index for split in ("query", "gallery")]
    for name, field in (("paths", "paths"), ("person_ids", "ids"), ("camera_ids", "cameras")):
        np.testing.assert_array_equal(
            found[name], np.concatenate([getattr(index, field) for index in indices]))
    assert found["splits"].tolist() == sum(
        ([split] * len(opened[split]) for split in ("query", "gallery")), [])


def test_files_and_folders_have_unknown_people(untrained, files, tmp_path):
    folder, _, _ = untrained
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (images / name).write_bytes((files / name).read_bytes())
    assert main(["--run", str(folder), "--output", str(tmp_path / "f.npz"), str(files / "b.jpg"),
                 str(images)]) == 0
    found = np.load(tmp_path / "f.npz")
    assert found["paths"].tolist() == [
        str(path) for path in (files / "b.jpg", images / "a.jpg", images / "b.jpg")]
    np.testing.assert_allclose(found["features"][0], found["features"][2], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found["features"], axis=1), 1.0, rtol=1e-5)
    assert set(found["person_ids"]) == set(found["camera_ids"]) == {-1}


@pytest.mark.parametrize(("arguments", "words"), [
    (["FILES/a.jpg", "FILES/short.jpg"], "short.jpg"),
    (["FILES/a.jpg", "--output", "features.csv"], "must end in .npz or .parquet"),
    (["FILES/a.jpg", "--output", "features.parquet"], "needs pyarrow"),
    ([], "give either --records DIR or image files"),
    (["FILES/a.jpg", "--splits", "query"], "those of --records"),
    (["--records", "nowhere"], "nowhere"),
    (["FILES/a.jpg", "--url", "http://localhost"], "give one of --model DIR"),
])
def test_mistakes_are_one_sentence(arguments, words, untrained, files, tmp_path, monkeypatch,
                                   capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    arguments = [word.replace("FILES", str(files)) for word in arguments]
    output = ["--output", str(tmp_path / "features.npz")]
    assert main(["--run", str(untrained[0]), *output, *arguments]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ") and words in message
    assert not list(tmp_path.iterdir())
