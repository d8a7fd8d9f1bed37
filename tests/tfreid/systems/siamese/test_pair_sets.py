"""Pairs to be judged: drawn from splits, listed in a table."""

from __future__ import annotations

import pytest

from tfrecords.errors import UserError
from tfrecords.records import build_records
from tfrecords.scan import ImageEntry, Scan
from tfreid.config import Config, DataConfig, EvaluationConfig, PairDataConfig
from tfreid.records import Records
from tfreid.systems.siamese.pair_sets import pairs_of_splits, read_pairs_file


def config(pairs=40, apart="cameras"):
    # How training pairs differ does not matter.
    return Config(data=DataConfig(pairs=PairDataConfig(apart="images")),
                  evaluation=EvaluationConfig(verification_pairs=pairs, verification_apart=apart))


@pytest.fixture(scope="module")
def known(records):
    """Path -> (identity, camera, file) of the query and gallery images."""
    found = {}
    for split in ("query", "gallery"):
        index = Records(records)[split].index
        files = Records(records)[split].encoded
        for row in zip(index.paths, index.ids, index.cameras, files):
            found[row[0]] = row[1:]
    return found


def test_pairs_of_query_and_gallery(records, known):
    pairs = pairs_of_splits(config(400), Records(records), ["query", "gallery"])
    assert pairs.matches.sum() == 200 == len(pairs) - 200
    assert pairs.description == "pairs of the query and gallery images of synthetic"
    assert len(set(pairs.names)) == len(pairs.names) == len(pairs.encoded)
    for name, file in zip(pairs.names, pairs.encoded):
        assert known[name][2] == file
    distractors = 0
    for first, second, match in zip(pairs.first, pairs.second, pairs.matches):
        (one, camera, _), (other, second_camera, _) = (
            known[pairs.names[place]] for place in (first, second))
        distractors += one == 0 or other == 0
        assert match == (one == other and one > 0)
        assert not match or camera != second_camera
    # The three distractors are others, also to each other.
    assert distractors > 0


def test_one_split_and_the_number_of_pairs(records, known):
    pairs = pairs_of_splits(config(7), Records(records), ["gallery"])
    assert len(pairs) == 7 and pairs.matches.sum() == 4
    assert all("bounding_box_test" in name for name in pairs.names)
    again = pairs_of_splits(config(7), Records(records), ["gallery"])
    assert again.names == pairs.names and (again.first == pairs.first).all()


def test_queries_that_are_in_the_gallery_too_count_once(tmp_path, records, known):
    """MARS's --queries-in-gallery; an image would else be a match of itself."""
    entries = [ImageEntry(f"{number}.jpg", number // 4, 1 + number % 2) for number in range(12)]
    for entry, (_, _, file) in zip(entries, known.values()):
        (tmp_path / entry.path).write_bytes(file)
    scan = Scan(tmp_path, {"query": entries[::2], "gallery": entries})
    build_records(scan, "both", tmp_path / "records", shards=1)
    pairs = pairs_of_splits(config(200, "images"), Records(tmp_path / "records"),
                            ["query", "gallery"])
    assert not (pairs.first == pairs.second).any() and len(pairs.names) == 12


def test_pairs_of_training_images_say_so(records):
    pairs = pairs_of_splits(config(4), Records(records), ["train"])
    assert "may have been trained on" in pairs.description


def test_a_missing_split(records):
    with pytest.raises(UserError, match="has no split 'val'"):
        pairs_of_splits(config(), Records(records), ["val"])


@pytest.fixture
def table(tmp_path, known):
    files = iter(known.values())
    (tmp_path / "crops").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "crops" / f"{name}.jpg").write_bytes(next(files)[2])

    def write(text):
        path = tmp_path / "pairs.csv"
        path.write_text(text)
        return path

    return write


def test_pairs_of_a_table(table):
    path = table("first,second,same\ncrops/b.jpg,crops/a.jpg,1\ncrops/a.jpg,crops/c.jpg,no\n"
                 "crops/b.jpg,crops/a.jpg, TRUE\n")
    pairs = read_pairs_file(path)
    assert pairs.names == ["crops/a.jpg", "crops/b.jpg", "crops/c.jpg"]
    assert pairs.first.tolist() == [1, 0, 1] and pairs.second.tolist() == [0, 2, 0]
    assert pairs.matches.tolist() == [True, False, True]
    assert pairs.encoded[2] == (path.parent / "crops/c.jpg").read_bytes()


@pytest.mark.parametrize(("text", "words"), [
    ("left,right,same\n", "first line must be first,second,same"),
    ("", "first line must be"),
    ("first,second,same\n", "has no pairs"),
    ("first,second,same\ncrops/a.jpg,crops/b.jpg,maybe\ncrops/a.jpg,crops/b.jpg\n",
     "2 problems: line 2: it needs two images and 1 or 0; line 3: it needs"),
    ("first,second,same\ncrops/a.jpg,crops/b.jpg,1,2\n", "line 2: it needs two images"),
    ("first,second,same\ncrops/a.jpg,nowhere.jpg,1\n", "nowhere.jpg cannot be read"),
    ("first,second,same\ncrops/a.jpg,pairs.csv,0\n", "pairs.csv: .*give a whole JPEG, PNG"),
    ("first,second,same\ncrops/a.jpg,crops/b.jpg,1\n", "needs positive pairs .* and negative"),
])
def test_mistakes_in_a_table_are_one_sentence(table, text, words):
    with pytest.raises(UserError, match=words) as caught:
        read_pairs_file(table(text))
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="none.csv: cannot be read"):
        read_pairs_file(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a CSV table in UTF-8"):
        read_pairs_file(tmp_path / "bytes.csv")
