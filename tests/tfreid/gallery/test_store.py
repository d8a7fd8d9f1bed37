"""Where a gallery is kept: what is written stays, once, and what is removed is gone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("pymilvus")

from tfrecords.errors import UserError  # noqa: E402
from tfreid.commands import benchmark  # noqa: E402
from tfreid.gallery.entries import EVERYWHERE, Where  # noqa: E402
from tfreid.gallery.store import Store, StoreError  # noqa: E402

HOSTILE = ["it's", 'a "quoted" key', "back\\slash", "naïve 名", "../../etc/passwd",
           '"; DROP TABLE people; --', "k' OR '1'='1", "%s {}"]


def rows(keys, **more):
    random = np.random.default_rng(0)
    return [{"key": key, "camera": "yard", "time": float(place), "track": "", "person": "",
             "image": "", "thumbnail": "cGljdHVyZQ==", "embedding": random.normal(size=4), **more}
            for place, key in enumerate(keys)]


def keys(store, where=EVERYWHERE):
    return sorted(row["key"] for row in store.rows(where))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A store that tests only read: ten entries of two cameras, two without a time."""
    store = Store(tmp_path_factory.mktemp("store") / "shared.db")
    store.create(4, "cosine")
    some = rows([f"key {place}" for place in range(10)])
    for place, row in enumerate(some):
        row.update(camera=("yard", "gate")[place % 2], track=f"t{place // 3}",
                   time=None if place > 7 else float(place))
    store.put(some)
    yield store, some
    store.close()


def test_a_search_orders_by_the_cosine(shared):
    store, some = shared
    query = np.array([1.0, -2.0, 0.5, 0.25])
    vectors = np.array([row["embedding"] for row in some])
    cosines = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    found = store.search(query, 5, EVERYWHERE)
    assert [hit["key"] for hit in found] == [f"key {place}" for place in np.argsort(-cosines)[:5]]
    np.testing.assert_allclose([hit["similarity"] for hit in found], np.sort(cosines)[::-1][:5],
                               atol=1e-6)


@pytest.mark.parametrize("where, places", [
    (Where(cameras=["gate"]), [1, 3, 5, 7, 9]),
    (Where(since=2, until=5), [2, 3, 4]),
    (Where(until=2), [0, 1]),  # an unknown time is not an early one
    (Where(since=6), [6, 7]),
    (Where(tracks=["t0", "t3"], cameras=["gate"]), [1, 9]),
    (Where(keys=["key 4", "no such key"]), [4]),
    (Where(people=["x"]), []),
], ids=str)
def test_conditions_choose_entries(shared, where, places):
    store, _ = shared
    expected = [f"key {place}" for place in places]
    assert keys(store, where) == expected
    assert sorted(hit["key"] for hit in store.search(np.ones(4), 10, where)) == expected


def test_an_unknown_time_is_none(shared):
    store, _ = shared
    assert [row["time"] for row in store.rows(Where(keys=["key 8", "key 3"]))].count(None) == 1


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "people.db")
    store.create(4, "euclidean")
    yield store
    store.close()


def test_texts_stay_texts(store):
    store.put([{**row, "camera": row["key"], "person": row["key"]} for row in rows(HOSTILE)])
    for text in HOSTILE:
        for where in (Where(keys=[text]), Where(cameras=[text]), Where(people=[text])):
            assert keys(store, where) == [text]
    store.delete([HOSTILE[-2]])
    assert keys(store) == sorted(set(HOSTILE) - {HOSTILE[-2]})


def test_entries_of_the_same_key_are_replaced(store):
    store.put(rows(["a", "b"]))
    store.put(rows(["b"], camera="gate"), replacing=True)
    assert store.count() == 2
    assert keys(store, Where(cameras=["gate"])) == ["b"]
    assert not store._redo.exists()


@pytest.fixture
def interrupted(store, monkeypatch):
    """A store in which milvus-lite took `b` away and was then killed, while replacing it."""
    store.put(rows(["a", "b"]))

    def take_away(name, some, **_):
        store._client.delete(name, ids=[row["id"] for row in some])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store._client, "upsert", take_away)
        with pytest.raises(KeyboardInterrupt):
            store.put(rows(["b"], camera="gate"), replacing=True)
    assert keys(store) == ["a"]
    return store


def test_rows_that_were_being_replaced_are_written_when_the_store_is_opened(interrupted):
    interrupted.close()
    again = Store(interrupted.uri)
    assert keys(again, Where(cameras=["gate"])) == ["b"] and not again._redo.exists()
    again.close()


def test_rows_that_were_being_replaced_are_not_overwritten(interrupted):
    interrupted.put(rows(["c"]), replacing=True)
    assert keys(interrupted) == ["a", "b", "c"]


def test_rows_that_were_being_replaced_do_not_come_back_after_a_removal(interrupted):
    interrupted.delete(["b"])
    interrupted.purge()
    assert keys(interrupted) == ["a"] and not interrupted._redo.exists()


def test_a_store_that_cannot_be_written_again_stays_open(store):
    store.put(rows(["a", "b"]))
    store.delete(["b"])
    with contextlib.closing(sqlite3.connect(store.uri)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM sqlite_master").fetchall()
        other.execute("SELECT count(*) FROM collection_meta").fetchall()
        with pytest.raises(StoreError, match="locked"):
            store.purge()
    assert keys(store) == ["a"]
    store.put(rows(["c"]))
    store.purge()
    assert keys(store) == ["a", "c"]


def test_milvus_lite_is_started_again_if_it_ends(store, monkeypatch):
    monkeypatch.setattr("tfreid.gallery.store._PATIENCE", 1)
    store.put(rows(["a"]))
    child = next(child for child in psutil.Process().children()
                 if store.uri in " ".join(child.cmdline()))
    child.kill()
    with pytest.raises(StoreError):
        keys(store)
    assert keys(store) == ["a"]


def test_removed_bytes_are_gone_from_the_disk(store):
    store.put(rows(["a", "b"], thumbnail="U0VDUkVU" * 50))
    store.set_notes({"mark": "SECRET OF A NOTE"})
    store.delete(["a", "b"])
    store.set_notes({"mark": None})
    store.purge()
    content = Path(store.uri).read_bytes()
    assert b"U0VDUkVU" not in content and b"SECRET OF A NOTE" not in content
    store.put(rows(["c"]))
    assert keys(store) == ["c"]


def test_notes_are_kept_by_their_keys(store):
    store.set_notes({"a/1": {"x": "ü"}, "a/2": [1], "b": 3})
    store.set_notes({"a/1": None, "b": 4})
    assert store.notes("a/") == {"a/2": [1]}
    assert store.note("b") == 4 and store.note("a/1") is None


def test_a_second_process_is_refused(store):
    program = f"from tfreid.gallery.store import Store; Store({store.uri!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "is open in another process" in done.stderr.splitlines()[-1]


def test_threads_take_turns(store):
    def write(thread):
        for number in range(5):
            store.put(rows([f"{thread} {number}"]))
            store.search(np.ones(4), 3, EVERYWHERE)

    threads = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.count() == 20


def test_what_was_confirmed_survives_a_kill(tmp_path):
    """Kills the process that adds, twice, and what it started with it."""
    program = """
import sys
import numpy as np
from tfreid.gallery.store import Store
store = Store(sys.argv[1])
if not store.exists:
    store.create(4, "cosine")
for number in range(int(sys.argv[2]), 100000):
    store.put([{"key": f"{number}-{part}", "camera": "", "time": None, "track": "", "person": "",
                "image": "", "thumbnail": "", "embedding": np.ones(4)} for part in range(5)])
    print(number, flush=True)
"""
    path, confirmed = tmp_path / "people.db", -1
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(path), str(confirmed + 1)], stdout=subprocess.PIPE,
            text=True, start_new_session=True)
        for line in process.stdout:
            if int(line) >= confirmed + 20:
                break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        confirmed = max([int(line), *map(int, process.stdout.read().split())])
        process.stdout.close()
        store = _opened(path)
        found = keys(store)
        store.close()
        assert len(found) == len(set(found))
        assert {f"{number}-{part}" for number in range(confirmed + 1)
                for part in range(5)} <= set(found)


def _opened(path):
    """Opens a store, as soon as the server of a killed process has ended."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return Store(path)
        except UserError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def test_a_server_is_a_url(tmp_path):
    from milvus_lite.server import Server

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    server = Server(str(tmp_path / "server.db"), address)
    assert server.start()
    try:
        store = Store(f"http://{address}", "lobby")
        store.create(4, "cosine")
        store.put(rows(["a", "b"]), replacing=True)
        store.delete(["a"])
        store.purge()
        assert keys(store) == ["b"]
        store.close()
        again = Store(f"http://{address}", "lobby")
        assert keys(again) == ["b"]
        other = Store(f"http://{address}", "other")
        assert not other.exists
        other.close()
        again.put(rows(["b"]))  # another writer may have written it
        assert keys(again) == ["b"] and again.count() == 1
        again.close()
    finally:
        server.stop()


@pytest.mark.parametrize("uri, words", [
    ("people", "a file NAME.db"),
    ("a name with spaces.db", "a file NAME.db"),
    ("x" * 40 + ".db", "a file NAME.db"),
    ("http://127.0.0.1:1", "check the address"),
])
def test_bad_addresses_are_named(uri, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words):
        Store(uri)


def test_files_that_are_no_gallery_are_named(tmp_path):
    (tmp_path / "text.db").write_text("no gallery, " * 1000)
    (tmp_path / "folder.db").mkdir()
    for name in ("text.db", "folder.db"):
        with pytest.raises(UserError, match=name):
            Store(tmp_path / name)
    assert (tmp_path / "text.db").read_text().startswith("no gallery")


def test_names_of_galleries_are_plain(tmp_path):
    with pytest.raises(UserError, match="letters, digits and underscores"):
        Store(tmp_path / "people.db", "a-b; drop")


def test_its_speed_is_measured(capsys):
    assert benchmark.main(["store", "--distractors", "1500", "--queries", "5",
                           "--dimensions", "16"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["entries"] == 1500 and found["recall_at_10"] == 1.0
    assert 100 < found["searched_entries"] < 200
    assert found["filtered_ms"]["p50"] <= found["filtered_ms"]["p99"]
