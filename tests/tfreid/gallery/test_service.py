"""The gallery over HTTP: what it answers, whom it refuses, and what no request can do."""

from __future__ import annotations

import csv
import io
import json
import shutil
import socket
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("pymilvus")
pytest.importorskip("fastapi")
testclient = pytest.importorskip("fastapi.testclient")
httpx = pytest.importorskip("httpx")

from tfreid.gallery import guard, service  # noqa: E402
from tfreid.gallery.embedder import Limits  # noqa: E402
from tfreid.gallery.gallery import Gallery  # noqa: E402
from tfreid.gallery.store import StoreError  # noqa: E402

HERE = "http://127.0.0.1:8765"
TOKEN = "not a secret"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def opened(filled, model, tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "people.db"
    shutil.copy(filled, path)
    with Gallery(str(path), str(model), limits=Limits(0.01, 0.11)) as gallery:
        yield gallery


@pytest.fixture(scope="module")
def client(opened):
    return testclient.TestClient(service.make_app(opened), HERE, raise_server_exceptions=False)


def search(client, crops, **fields):
    files = [("images", ("query.jpg", crops.query.read_bytes()))]
    return client.post("/api/search", files=files, data=fields)


def sentence(response, status):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error.count("\n") == 0 and "Traceback" not in error
    return error


def test_it_tells_what_it_holds(client):
    about = client.get("/api/about").json()
    assert (about["entries"], about["tracks"], about["cameras"]) == (36, 12, ["entrance", "yard"])
    assert (about["first"], about["last"], about["clock"]) == (0, 87, False)
    assert about["thresholds"] == {"same": 0.01, "unsure": 0.11}
    assert about["rerank"] == ["k_reciprocal"]


def test_it_finds_the_person(client, crops):
    found = search(client, crops, limit=3).json()["results"]
    assert [crops.people[one["key"]] for one in found][:2] == [crops.person] * 2
    assert [one["verdict"] for one in found] == ["same", "same", "unsure"]
    assert set(found[0]) == {"key", "camera", "time", "track", "person", "distance", "verdict",
                             "entries"}


def test_filters_marks_and_orders_are_fields(client, crops):
    found = search(client, crops, cameras=["yard"], since=60, until=80, group="none",
                   rerank="k_reciprocal").json()["results"]
    assert {one["camera"] for one in found} == {"yard"}
    assert all(60 <= one["time"] < 80 for one in found)
    key = found[0]["key"]
    marked = search(client, crops, right=[key], wrong=[found[-1]["key"]]).json()["results"]
    assert marked[0]["key"] != found[-1]["key"]
    assert client.post("/api/search", data={"keys": [key]}).json()["results"][0]["key"] == key


def test_a_box_is_cut_out_of_a_frame(client, crops):
    import cv2
    import numpy as np

    frame = np.full((200, 300, 3), 60, np.uint8)
    frame[40:104, 150:182] = cv2.imread(str(crops.query))
    file = ("images", ("frame.png", cv2.imencode(".png", frame)[1].tobytes()))
    found = client.post("/api/search", files=[file], data={"boxes": "[[150, 40, 182, 104]]"})
    assert crops.people[found.json()["results"][0]["key"]] == crops.person
    for boxes in ("[[400, 0, 500, 9]]", "[]", "nonsense", "[[1, 2, 3]]", '[["a", 1, 2, 3]]',
                  "[" * 3000, "[[0, 0, 1e999, 5]]", "[[NaN, 0, 9, 9]]", "{}", "7"):
        assert "box" in sentence(client.post("/api/search", files=[file], data={"boxes": boxes}),
                                 400)


def test_pictures_and_entries_of_a_track(client):
    entries = client.get("/api/entries", params={"track": "yard-4"}).json()["entries"]
    assert len(entries) == 3 and {entry["camera"] for entry in entries} == {"yard"}
    picture = client.get("/api/thumbnail", params={"key": entries[0]["key"]})
    assert picture.headers["content-type"] == "image/jpeg" and picture.content[:2] == b"\xff\xd8"


def test_enrolled_images_are_found_and_removed(client, crops):
    files = [("images", ("../../x.jpg", crops.query.read_bytes()))]
    data = {"camera": "desk", "person": "Anna", "time": 5}
    keys = client.post("/api/entries", files=files, data=data).json()["keys"]
    assert keys[0].startswith("enrolled/") and ".." not in keys[0]
    assert client.post("/api/entries", files=files, data=data).json()["keys"] == keys
    assert client.get("/api/about").json()["entries"] == 37
    first = search(client, crops).json()["results"][0]
    assert (first["key"], first["person"], first["distance"]) == (keys[0], "Anna", pytest.approx(
        0, abs=1e-5))
    assert client.request("DELETE", "/api/entries", json={"person": "Anna"}).json() == {
        "removed": 1}
    assert client.get("/api/about").json()["entries"] == 36
    sentence(client.get("/api/thumbnail", params={"key": keys[0]}), 404)


def test_other_formats_are_enrolled_too(client, crops):
    import cv2

    webp = cv2.imencode(".webp", cv2.imread(str(crops.query)))[1].tobytes()
    keys = client.post("/api/entries", files=[("images", webp)], data={"camera": "a"}).json()[
        "keys"]
    removed = client.request("DELETE", "/api/entries", json={"keys": keys})
    assert removed.json() == {"removed": 1}


def test_images_of_a_request_share_the_pixels(client, crops, monkeypatch):
    monkeypatch.setattr(service, "MOST_PIXELS", 5000)  # an image has 2,048
    files = [("images", crops.query.read_bytes())]
    assert client.post("/api/search", files=files * 2).status_code == 200
    sentence(client.post("/api/search", files=files * 3), 415)


def test_marks_of_removed_entries_do_not_stop_a_search(client, crops):
    found = search(client, crops, right=["removed since"], wrong=["this too"])
    assert crops.people[found.json()["results"][0]["key"]] == crops.person
    sentence(client.post("/api/search", data={"right": ["removed since"]}), 404)


def test_a_burst_of_changes_is_answered(gallery_service):
    def remove(number):
        return httpx.request("DELETE", f"{gallery_service.url}/api/entries", timeout=60,
                             json={"track": f"no-{number}"}).status_code

    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(remove, range(50)))
    assert set(statuses) <= {200, 503} and statuses.count(200) > 10
    assert httpx.get(f"{gallery_service.url}/api/marks", timeout=60).status_code == 200


def test_searches_go_on_during_a_removal(gallery_service):
    def search(number):
        return httpx.post(f"{gallery_service.url}/api/search", timeout=60, files={
            "images": gallery_service.query.read_bytes()}).status_code

    with ThreadPoolExecutor(5) as pool:
        searches = [pool.submit(search, number) for number in range(20)]
        removed = httpx.request("DELETE", f"{gallery_service.url}/api/entries", timeout=60,
                                json={"track": "yard-1"})
        assert removed.json() == {"removed": 3}
        assert {one.result() for one in searches} == {200}


def test_a_broken_store_is_503_and_its_path_stays_here(client, opened, monkeypatch):
    def broken(*_, **__):
        raise StoreError("/secret/path: Milvus refused")

    monkeypatch.setattr(opened.store, "rows", broken)
    assert "path" not in sentence(client.get("/api/entries"), 503)


def test_marks_are_kept_and_become_a_table(client, crops):
    keys = [key for key, person in crops.people.items() if person in "23"]
    marks = [{"key": keys[0], "right": True}, {"key": keys[-1], "right": False}]
    given = {"person": "red", "marks": marks}
    assert client.post("/api/marks", json=given).json() == {"kept": 2}
    assert client.get("/api/marks").json()["marks"] == sorted(
        ({"person": "red", **mark} for mark in marks), key=lambda mark: mark["key"])
    table = client.get("/api/marks.csv")
    assert "marks.csv" in table.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert {row["person_id"] for row in rows} == {"red", "yard-3"} and len(rows) == 6


def test_people_are_numbered(client):
    assert client.post("/api/identify", json={"threshold": 0.05}).json() == {
        "tracks": 12, "people": 6}
    assert client.get("/api/about").json()["people"] == 6
    assert "threshold" in sentence(client.post("/api/identify", json={"threshold": -1}), 400)


def png(width, height):
    """Returns a PNG that declares a size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks)


@pytest.mark.parametrize("data", [b"", b"no image", png(20_000, 20_000), b"\xff\xd8\xff\xe0" * 9],
                         ids=["empty", "text", "20000x20000", "broken"])
def test_what_is_no_image_is_refused(client, data):
    files = [("images", ("x.jpg", data))]
    sentence(client.post("/api/search", files=files), 415)
    sentence(client.post("/api/entries", files=files, data={"camera": "a"}), 415)


def test_a_bad_image_among_good_ones_adds_nothing(client, crops):
    files = [("images", ("a.jpg", crops.query.read_bytes())), ("images", ("b.jpg", b"text"))]
    sentence(client.post("/api/entries", files=files, data={"camera": "a"}), 415)
    assert client.get("/api/about").json()["entries"] == 36


@pytest.mark.parametrize("call, status, words", [
    (lambda client: client.post("/api/search"), 400, "nothing to search for"),
    (lambda client: client.post("/api/search", data={"keys": ["../../etc/passwd"]}), 404, "entry"),
    (lambda client: client.post("/api/search", data={"keys": ["x"], "limit": 10**9}), 400, "limit"),
    (lambda client: client.post("/api/search", data={"keys": ["x"], "rerank": "magic"}), 400,
     "re-rank"),
    (lambda client: client.post("/api/search", data={"keys": ["x"] * 501}), 400, "keys"),
    (lambda client: client.post("/api/search", data={"keys": ["x"], "since": "soon"}), 400,
     "since"),
    (lambda client: client.post("/api/search", files=[("images", b"x")] * 17), 413, "17 images"),
    (lambda client: client.post("/api/entries", files=[("images", b"x")]), 400, "camera"),
    (lambda client: client.request("DELETE", "/api/entries", json={}), 400, "what to remove"),
    (lambda client: client.request("DELETE", "/api/entries", content="{", headers={
        "content-type": "application/json"}), 400, "JSON"),
    (lambda client: client.get("/api/thumbnail?key=..%2F..%2Fetc%2Fpasswd"), 404, "no entry"),
    (lambda client: client.get("/api/nothing"), 404, "Not Found"),
    (lambda client: client.get("/..%2f..%2fservice.py"), 404, "Not Found"),
    (lambda client: client.get("/%2e%2e/service.py"), 404, "Not Found"),
    (lambda client: client.post("/api/marks", json={"person": "", "marks": []}), 400, "person"),
    (lambda client: client.post("/api/marks", json={"person": "a\n", "marks": []}), 400, "control"),
    (lambda client: client.post("/api/marks", json={"person": "=1+1", "marks": []}), 400,
     "formula"),
    (lambda client: client.post("/api/marks", json={"person": "a", "marks": [
        {"key": "unknown", "right": True}]}), 404, "no entry"),
    (lambda client: client.post("/api/marks", content=b'{"person": "a", "marks": [{"key": '
                                b'"\\ud800", "right": true}]}', headers=JSON), 404, "no entry"),
    (lambda client: client.request("DELETE", "/api/entries", json={"person": ""}), 400, "person"),
    (lambda client: client.post("/api/identify", content=b'{"threshold": 1e999}', headers=JSON),
     400, "threshold"),
    (lambda client: client.post("/api/entries", files=[("images", b"x")], data={
        "camera": "a", "time": "inf"}), 400, "time"),
])
def test_bad_requests_get_a_sentence_and_a_status(client, call, status, words):
    assert words in sentence(call(client), status)


def test_large_requests_are_refused(client):
    files = [("images", bytes(guard.MOST_BYTES + 1))]
    assert "10 MB" in sentence(client.post("/api/search", files=files), 413)

    unannounced = (bytes(2**20) for _ in range(11))  # without a Content-Length
    assert "10 MB" in sentence(client.post("/api/search", content=unannounced), 413)


def test_other_pages_and_names_are_refused(client):
    page = {"origin": "http://elsewhere.example"}
    assert "another page" in sentence(client.get("/api/about", headers=page), 403)
    for headers in ({"origin": "http://["}, {"sec-fetch-site": "cross-site"}):
        assert "another page" in sentence(client.get("/api/about", headers=headers), 403)
    assert client.get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 200  # a link
    led = {"host": "elsewhere.example:8765"}
    assert "not called that" in sentence(client.get("/api/about", headers=led), 403)
    assert client.get("/api/about", headers={"origin": HERE}).status_code == 200


def test_a_token_lets_in(opened):
    closed = testclient.TestClient(service.make_app(opened, TOKEN), "http://cameras.example")
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN},
                    {"authorization": "Bearer not a secreté".encode("latin-1")}):
        assert "token" in sentence(closed.get("/api/about", headers=headers), 401)
    assert closed.get("/").status_code == 200  # the page asks for it
    right = {"authorization": f"Bearer {TOKEN}"}
    assert closed.get("/api/about", headers=right).status_code == 200
    sentence(closed.get("/api/openapi.json"), 401)


def test_the_page_may_load_nothing_from_elsewhere(client):
    page = client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "://" not in page.text.replace("http://www.w3.org/2000/svg", "")


def test_failures_do_not_leak(client, opened, monkeypatch):
    monkeypatch.setattr(opened, "summary", lambda: 1 / 0)
    fresh = testclient.TestClient(service.make_app(opened), HERE, raise_server_exceptions=False)
    assert sentence(fresh.get("/api/about"), 500) == "the service failed; its log says why."


def test_every_route_is_documented(client):
    routes = client.get("/api/openapi.json").json()["paths"]
    assert set(routes) == {"/api/about", "/api/search", "/api/thumbnail", "/api/entries",
                           "/api/identify", "/api/marks", "/api/marks.csv"}
    assert all(call["description"] for path in routes.values() for call in path.values())


def test_a_slow_request_is_ended(gallery_service, monkeypatch):
    monkeypatch.setattr(guard, "_PATIENCE", 0.3)
    host, port = gallery_service.url[7:].split(":")
    with socket.create_connection((host, int(port)), timeout=20) as slow:
        slow.sendall(f"POST /api/marks HTTP/1.1\r\nHost: {host}:{port}\r\n"
                     "Content-Length: 100\r\nContent-Type: application/json\r\n\r\n{".encode())
        answer = b"".join(iter(lambda: slow.recv(65536), b"")).decode()
    assert answer.startswith("HTTP/1.1 408")
    assert "did not arrive" in json.loads(answer.rpartition("\r\n\r\n")[2])["error"]
