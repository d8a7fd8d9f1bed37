"""A gallery: images added once, searched, numbered, marked, removed."""

from __future__ import annotations

import base64
import csv
import io
import shutil

import cv2
import numpy as np
import pytest

pytest.importorskip("pymilvus")

from tfrecords.build import main as build  # noqa: E402
from tfrecords.errors import UserError  # noqa: E402
from tfreid.evaluation.thresholds import Threshold  # noqa: E402
from tfreid.gallery import embedder, queries, reranking  # noqa: E402
from tfreid.gallery.embedder import Limits, thumbnail  # noqa: E402
from tfreid.gallery.entries import Entry, Where, parse_time, show_time  # noqa: E402
from tfreid.gallery.gallery import Gallery  # noqa: E402
from tfreid.gallery.marks import Mark, find_marks, marks_table, set_marks  # noqa: E402
from tfreid.gallery.numbering import number_people  # noqa: E402
from tfreid.gallery.queries import Query, nearest_of_tracks, query_vector  # noqa: E402
from tfreid.gallery.store import Store, StoreError  # noqa: E402
from tfreid.serving import load_export  # noqa: E402
from tfreid.serving.formats.images import load_image  # noqa: E402
from tfreid.serving.image_lists import list_images  # noqa: E402

# Between images of one person, and of different ones, there is a wide gap.
LIMITS = Limits(0.01, 0.11)
COMMON = dict(minkowski_p=3.0, feature="neck", normalized=True, chosen_by="",
              true_positive_rate=None, false_positive_rate=None, dataset="", split=None,
              weights=None, fingerprint="")


@pytest.fixture(scope="module")
def gallery(filled, model, tmp_path_factory):
    """The gallery of all crops, which tests only read."""
    path = tmp_path_factory.mktemp("read") / "people.db"
    shutil.copy(filled, path)
    with Gallery(str(path), str(model), limits=LIMITS) as opened:
        yield opened


@pytest.fixture
def own(filled, model, tmp_path):
    """A gallery of all crops that a test may change."""
    shutil.copy(filled, tmp_path / "people.db")
    with Gallery(str(tmp_path / "people.db"), str(model), limits=LIMITS) as opened:
        yield opened


def people(matches, crops):
    return [crops.people[match.entry.key] for match in matches]


def test_the_right_person_is_first_in_every_camera(gallery, crops):
    found = gallery.search(Query([crops.query.read_bytes()]), count=3)
    assert people(found, crops)[:2] == [crops.person] * 2
    assert {match.entry.camera for match in found[:2]} == {"entrance", "yard"}
    assert [match.verdict for match in found] == ["same", "same", "unsure"]
    assert [match.entries for match in found] == [3, 3, 3]
    assert found[0].entry.track == f"{found[0].entry.camera}-{crops.person}"
    assert found[0].entry.person == ""  # crop-people's table repeats the track there


def test_distances_are_those_of_the_model(gallery, model, crops):
    found = gallery.search(Query([crops.query.read_bytes()]), count=40, by_track=False)
    assert len(found) == 36
    files = [match.entry.key for match in found]
    vectors = load_export(str(model)).embed([str(crops.query), *files]).astype(float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose([match.distance for match in found], 1 - vectors[1:] @ vectors[0],
                               atol=1e-5)
    assert found == sorted(found, key=lambda match: match.distance)


def test_filters_narrow_a_search(gallery, crops):
    query = Query([crops.query.read_bytes()])
    yard = gallery.search(query, Where(cameras=["yard"], until=68.0), by_track=False)
    assert {match.entry.camera for match in yard} == {"yard"}
    assert max(match.entry.time for match in yard) < 68
    assert crops.person not in people(yard, crops)  # seen from second 70 on


def test_more_entries_are_fetched_until_there_are_enough_tracks(gallery, crops, monkeypatch):
    monkeypatch.setattr("tfreid.gallery.gallery._HITS_A_TRACK", 2)
    found = gallery.search(Query([crops.query.read_bytes()]), count=12)
    assert len({match.entry.track for match in found}) == 12


def test_entries_are_queries_too(gallery, crops):
    key = str(crops.table.parent / "yard" / "4_1.jpg")
    found = gallery.search(Query(keys=[key]), count=2)
    assert found[0].entry.key == key and found[0].distance == pytest.approx(0, abs=1e-6)
    assert people(found, crops) == ["4", "4"]


def test_marks_move_the_query(gallery, crops):
    folder = crops.table.parent
    image = [cv2.imread(str(folder / "yard" / "1_0.jpg"))[..., ::-1]]
    right = [str(folder / "yard" / f"3_{number}.jpg") for number in range(3)]
    wrong = [str(folder / camera / "1_0.jpg") for camera in ("yard", "entrance")]
    def distance(person, query):
        return next(match.distance for match in gallery.search(query, count=12)
                    if crops.people[match.entry.key] == person)

    plain, moved = Query(image), Query(image, right=right, wrong=wrong)
    assert distance("1", moved) > distance("1", plain)
    assert distance("3", moved) < distance("3", plain)


def test_the_vector_of_a_query_is_rocchios():
    one, other = np.array([[2.0, 0.0]]), np.array([[0.0, 1.0]])
    none = np.empty((0, 2))
    # q + 0.75 r - 0.15 w = (1, 0.5) + 0.75 (2, 0) - 0.15 (0, 1) = (2.5, 0.35)
    moved = query_vector(one, other, one, other, normalize=False)
    np.testing.assert_allclose(moved, np.array([2.5, 0.35]) / 1.6, rtol=1e-6)
    unit = query_vector(one, other, none, none, normalize=True)
    np.testing.assert_allclose(unit, np.array([1, 0.5]) / np.hypot(1, 0.5), rtol=1e-6)
    np.testing.assert_allclose(query_vector(none, none, other, none, False), other[0])


def test_each_track_is_found_once():
    hits = [{"key": "a", "track": "1"}, {"key": "b", "track": ""}, {"key": "c", "track": "1"},
            {"key": "d", "track": ""}, {"key": "e", "track": "2"}]
    assert [hit["key"] for hit in nearest_of_tracks(hits, 9)] == ["a", "b", "d", "e"]
    assert [hit["key"] for hit in nearest_of_tracks(hits, 2)] == ["a", "b"]
    assert queries.track_of(hits[1]) == "b"


def test_k_reciprocal_reranking_keeps_the_person_first(gallery, crops):
    query = Query([crops.query.read_bytes()])
    found = gallery.search(query, rerank="k_reciprocal", count=12)
    assert people(found, crops)[:2] == [crops.person] * 2
    tracks = {match.entry.track for match in gallery.search(query, count=12)}
    assert {match.entry.track for match in found} == tracks and len(found) == 12


class Brightness:
    """A model of pairs that scores images higher the nearer their brightness is."""

    compares, extracted = True, 0

    def extract_images(self, images):
        self.extracted += len(images)
        return {"mean": images.mean((1, 2, 3), dtype=float)[:, np.newaxis]}

    def compare_all(self, queries, gallery):
        return {"score": -np.abs(queries["mean"] - gallery["mean"].T)}


def test_a_pair_model_reranks_stored_pictures(filled, model, crops, tmp_path, monkeypatch):
    client = Brightness()
    monkeypatch.setattr(reranking, "load_export", lambda _: client)
    shutil.copy(filled, tmp_path / "people.db")
    with Gallery(str(tmp_path / "people.db"), str(model), pair_model="any") as opened:
        query = Query([crops.query.read_bytes()])
        found = opened.search(query, rerank="pair", count=36, by_track=False)
        means = [load_image(opened.picture(match.entry.key), 10**6).mean() for match in found]
        query_mean = load_image(crops.query, 10**6).mean()
        assert (np.diff(np.abs(np.array(means) - query_mean)) >= 0).all()
        assert len(found) == 36 and client.extracted == 37
        opened.search(query, rerank="pair", by_track=False)
        assert client.extracted == 38  # stored pictures are extracted once


def test_a_model_of_pairs_must_compare(filled, model):
    with pytest.raises(UserError, match="embeds images and does not compare"):
        Gallery(str(filled), str(model), pair_model=str(model))


def test_images_are_added_once_and_changed_ones_again(own, crops, tmp_path):
    folder = tmp_path / "crops"
    shutil.copytree(crops.table.parent, folder)
    images = list_images([str(folder / "crops.csv")])
    assert own.add(images) == (36, 0, [])  # other paths are other images
    shutil.copy(folder / "yard" / "0_0.jpg", folder / "yard" / "5_0.jpg")
    (folder / "yard" / "4_0.jpg").write_bytes(b"no image")
    added = own.add(images)
    assert added[:2] == (1, 34)
    assert [key for key, _ in added.refused] == [str(folder / "yard" / "4_0.jpg")]
    assert own.store.count() == 72
    changed = own.search(Query(keys=[str(folder / "yard" / "5_0.jpg")]), count=3, by_track=False)
    assert {match.entry.key[-7:] for match in changed} >= {"5_0.jpg", "0_0.jpg"}


def test_people_keep_one_number_over_all_cameras(own, crops):
    assert number_people(own, threshold=0.05) == {"tracks": 12, "people": 6}
    numbers = {}
    for entry in own.entries():
        numbers.setdefault(crops.people[entry.key], set()).add(entry.person)
    assert sorted(map(sorted, numbers.values())) == [[str(number)] for number in range(1, 7)]
    key = next(iter(crops.people))
    assert own.picture(key)  # what the numbers are written over stays
    assert own.search(Query(keys=[key]), count=1)[0].entry.key == key
    # A name that was given by hand stays, also with another threshold.
    assert number_people(own, threshold=1e-9)["people"] == 6


def test_numbering_needs_a_threshold(filled, model, tmp_path):
    shutil.copy(filled, tmp_path / "people.db")
    with Gallery(str(tmp_path / "people.db"), str(model)) as opened, pytest.raises(
            UserError, match="no calibrated threshold"):
        number_people(opened)


def test_marks_become_records(own, crops, tmp_path):
    folder = crops.table.parent
    first, second = (str(folder / "entrance" / f"{person}_0.jpg") for person in (2, 3))
    set_marks(own.store, "red jacket", {first: True, second: False})
    set_marks(own.store, "blue jacket", {second: True, first: False})
    set_marks(own.store, "nobody", {first: True})
    set_marks(own.store, "nobody", {first: None})
    assert find_marks(own.store) == [
        Mark("blue jacket", first, False), Mark("blue jacket", second, True),
        Mark("red jacket", first, True), Mark("red jacket", second, False)]
    table = marks_table(own)
    rows = list(csv.DictReader(io.StringIO(table.decode())))
    assert [(row["path"][-7:], row["person_id"]) for row in rows] == [
        *((f"2_{number}.jpg", "red jacket") for number in range(3)),
        *((f"3_{number}.jpg", "blue jacket") for number in range(3))]
    assert {row["tracklet_id"] for row in rows} == {"entrance-2", "entrance-3"}
    (tmp_path / "marks.csv").write_bytes(table)
    assert build(["csv", "--root", str(folder), "--csv", str(tmp_path / "marks.csv"),
                  "--output", str(tmp_path / "records")]) == 0


def test_a_track_with_wrong_marks_only_is_a_person_of_its_own(own, crops):
    folder = crops.table.parent
    set_marks(own.store, "red jacket", {str(folder / "yard" / "2_0.jpg"): True,
                                        str(folder / "yard" / "5_1.jpg"): False})
    rows = csv.DictReader(io.StringIO(marks_table(own).decode()))
    assert {(row["tracklet_id"], row["person_id"]) for row in rows} == {
        ("yard-2", "red jacket"), ("yard-5", "yard-5")}


def test_removal_takes_pictures_embeddings_and_marks_from_the_disk(own, crops):
    keys = [key for key, person in crops.people.items() if person == "2"]
    picture = base64.b64encode(own.picture(keys[0]))
    set_marks(own.store, "red jacket", {keys[0]: True})
    assert own.remove(Where(keys=keys)) == 6
    assert find_marks(own.store) == []
    assert own.store.count() == 30 and own.store.note("removal") is None
    with open(own.store.uri, "rb") as stream:
        content = stream.read()
    assert picture[-400:-300] not in content and b"red jacket" not in content
    assert b"entrance/2_" not in content
    with pytest.raises(UserError, match="no entry"):
        own.picture(keys[0])


@pytest.mark.parametrize("step", ["delete", "purge"])
def test_a_removal_that_was_killed_is_ended_when_the_gallery_is_opened(own, monkeypatch, step):
    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(own.store, step, die)
    with pytest.raises(KeyboardInterrupt):
        own.remove(Where(tracks=["yard-2"]))
    own.close()
    with Gallery(own.store.uri) as again:
        assert again.store.count() == 33 and again.store.note("removal") is None
    with open(own.store.uri, "rb") as stream:
        content = stream.read()
    assert b"yard/2_0" not in content and b"yard-2" not in content


def test_a_removal_without_space_on_the_disk_is_told_and_ended_later(own, model, monkeypatch):
    def full():
        raise StoreError("database or disk is full")

    monkeypatch.setattr(own.store, "purge", full)
    with pytest.raises(StoreError, match="full"):
        own.remove(Where(tracks=["yard-2"]))
    assert own.store.count() == 33
    own.close()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "purge", lambda _: full())
        with pytest.warns(UserWarning, match="not finished"), Gallery(own.store.uri) as again:
            assert again.store.count() == 33
    with Gallery(own.store.uri) as again:
        assert again.store.note("removal") is None


def test_removal_needs_a_condition(own):
    with pytest.raises(UserError, match="say what to remove"):
        own.remove(Where())


def test_another_models_gallery_is_refused(filled, model, tmp_path, monkeypatch):
    shutil.copy(filled, tmp_path / "people.db")
    shutil.copytree(model, tmp_path / "copy")
    Gallery(str(tmp_path / "people.db"), str(tmp_path / "copy")).close()  # the same model
    with monkeypatch.context() as patch:
        patch.setattr(embedder, "model_fingerprint", lambda _: "other weights")
        with pytest.raises(UserError, match="another model"):
            Gallery(str(tmp_path / "people.db"), str(model))
    monkeypatch.setattr(embedder, "exported_thresholds", lambda _: {"euclidean": Threshold(
        0.4, metric="euclidean", **COMMON)})
    with pytest.raises(UserError, match="another model .*cosine distance"):
        Gallery(str(tmp_path / "people.db"), str(model))


def test_tracks_of_two_cameras_are_two(own, crops, tmp_path):
    for camera in "ab":
        shutil.copy(crops.query, tmp_path / f"{camera}.jpg")
    (tmp_path / "tracks.csv").write_text(
        "path,camera_id,tracklet_id\na.jpg,a,1\nb.jpg,b,1\n")
    own.add(list_images([str(tmp_path / "tracks.csv")]))
    tracks = {entry.track for entry in own.entries(Where(cameras=["a", "b"]))}
    assert tracks == {"a-1", "b-1"}


@pytest.mark.parametrize("query, words", [
    (Query(), "nothing to search for"),
    (Query(wrong=["x"]), "nothing to search for"),
    (Query(keys=["no such key"]), "no entry 'no such key'"),
    (Query([b"no image"]), "give a whole JPEG"),
])
def test_bad_queries_are_named(gallery, query, words):
    with pytest.raises(UserError, match=words):
        gallery.search(query)


def test_an_empty_gallery_finds_nobody(model, crops, tmp_path):
    with Gallery(str(tmp_path / "empty.db"), str(model)) as opened:
        assert opened.search(Query([crops.query.read_bytes()])) == []
        assert opened.summary()["entries"] == 0 and list(opened.entries()) == []
        assert number_people(opened, 0.1) == {"tracks": 0, "people": 0}
        assert opened.remove(Where(people=["x"])) == 0


def test_two_thresholds_come_from_the_calibration():
    point = {"threshold": 0.2, "true_positive_rate": 0.5, "false_positive_rate": 0.001}
    full = Threshold(0.4, "cosine", measured={"at_false_positive_rates": {"0.001": point}},
                     **COMMON)
    assert embedder._limits(full) == Limits(0.2, 0.4)
    assert embedder._limits(Threshold(0.4, "cosine", **COMMON)) == Limits(0.4, 0.4)
    assert full.distance_at("0.001") == 0.2 and full.distance_at("0.01") == 0.4
    assert [Limits(0.2, 0.4).verdict(x) for x in (0.2, 0.3, 0.41)] == ["same", "unsure", "unknown"]


def test_thumbnails_are_small_and_not_enlarged():
    for shape, expected in (((400, 100), (192, 48)), ((60, 30), (60, 30)), ((50, 900), (50, 100))):
        image = np.zeros((*shape, 3), np.uint8)
        data = np.frombuffer(base64.b64decode(thumbnail(image)), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape[:2] == expected


@pytest.mark.parametrize("text, seconds, shown", [
    ("12.5", 12.5, "0:12.5"), ("754", 754, "12:34.0"),
    ("2026-05-01T08:30:00", 1777624200, "2026-05-01 08:30:00"),
    ("2026-05-01T08:30:00+02:00", 1777617000, "2026-05-01 06:30:00"),
])
def test_times(text, seconds, shown):
    assert parse_time(text) == seconds and show_time(seconds) == shown


def test_bad_entries_are_named():
    for text in ("yesterday", "nan", "1e999", "1777624200000"):
        with pytest.raises(UserError, match="is not a time"):
            parse_time(text)
    for entry, words in ((Entry(""), "no key"), (Entry("k" * 2000), "more than 1024 bytes"),
                         (Entry("a\nb"), "control characters"), (Entry("\udcff"), "not UTF-8"),
                         (Entry("k", camera="c" * 300), "camera"),
                         (Entry("k", person="=1+1"), "a formula"),
                         (Entry("k", time=float("inf")), "not a time")):
        with pytest.raises(UserError, match=words):
            entry.check()
