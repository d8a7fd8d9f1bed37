"""The page in a browser: a person is looked for, found, marked and written to a table."""

from __future__ import annotations

import base64
import contextlib
import csv
import json
import re
import shutil

import pytest

from tfrecords.build import main as build
from tfreid.records import Records

# Neither is in the requirements: pip install playwright, apt install chromium.
sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync"]
MILLISECONDS = 15_000
# Keeps the texts of the forms that are sent; the protocol does not show those with files.
WATCH = """
  window.forms = [];
  const ask = window.fetch;
  window.fetch = (path, options = {}) => {
    if (path === "api/search") forms.push([...options.body].filter(
      ([, value]) => typeof value === "string"));
    return ask(path, options);
  };
"""
DROP = """([name, content]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
  for (const type of ["dragenter", "dragover", "drop"]) {
    const event = new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true });
    document.body.dispatchEvent(event);
  }
}"""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, gallery_service):
    """Returns a function that opens the page, which must raise no error of its own."""
    problems, contexts = [], []

    def note(message):
        if "Content Security Policy" in message.text:
            problems.append(message.text)

    def open_page(prepare=lambda page: None, state="start", **options):
        contexts.append(browser.new_context(reduced_motion="reduce", **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(MILLISECONDS)
        page.add_init_script(WATCH)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", note)
        prepare(page)
        page.goto(gallery_service.url)
        if state:
            page.wait_for_selector(f'[data-state="{state}"]:visible')
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


@pytest.fixture
def found(open_page, gallery_service):
    """Returns the page after a search by the query image."""
    page = open_page()
    with searching(page):
        drop(page, gallery_service.query)
    return page


def drop(page, path):
    page.evaluate(DROP, [path.name, base64.b64encode(path.read_bytes()).decode()])


def telling(limits=None, **changes):
    """Returns a preparation of a page, to which the service tells other facts of itself."""
    def change(route):
        told = route.fetch().json()
        route.fulfill(json={**told, **changes, "limits": {**told["limits"], **(limits or {})}})

    return lambda page: page.route("**/api/about", change)


@contextlib.contextmanager
def searching(page):
    """Waits for the results of the search that the body starts."""
    with page.expect_response(lambda response: response.url.endswith("/api/search")):
        yield
    page.wait_for_selector('#wall[aria-busy="false"]')


def keys_of(page):
    return [card.get_attribute("data-key") for card in page.locator(".card").all()]


def sent(page, field):
    """Returns the values of a text field of the last search."""
    return [value for name, value in page.evaluate("forms.at(-1)") if name == field]


def test_a_person_is_found_marked_and_becomes_records(found, gallery_service, tmp_path):
    page, keys = found, keys_of(found)
    assert gallery_service.person_of(keys[0]) == gallery_service.person
    camera = page.locator(".card .camera").first.inner_text()
    others = page.locator(f'#cameras input:not([value="{camera}"])')
    while others.and_(page.locator(":checked")).count():
        with searching(page):
            others.and_(page.locator(":checked")).first.uncheck()
    assert set(page.locator(".card .camera").all_inner_texts()) == {camera}
    with searching(page):
        page.click("#cameras-all")
    assert keys_of(page) == keys

    page.fill("#person-name", "red jacket")
    page.press("#person-name", "Tab")
    wrong = next(key for key in keys if gallery_service.person_of(key) != gallery_service.person)
    for key, kind in ((keys[0], "right"), (wrong, "wrong")):
        with page.expect_response("**/api/marks"), searching(page):
            page.click(f'.card[data-key="{key}"] .act.{kind}')
    with searching(page):
        page.click("#search")
    assert sent(page, "right") == [keys[0]] and sent(page, "wrong") == [wrong]
    assert gallery_service.person_of(keys_of(page)[0]) == gallery_service.person
    assert page.locator(".card.is-right").count() == page.locator(".card.is-wrong").count() == 1

    with page.expect_download() as download:
        page.click("#marks-download")
    assert download.value.suggested_filename == "marks.csv"
    with open(download.value.path(), newline="", encoding="utf-8") as table:
        names = {row["path"]: row["person_id"] for row in csv.DictReader(table)}
    assert names[keys[0]] == "red jacket"
    assert names.get(wrong) != "red jacket"
    assert build(["csv", "--root", str(gallery_service.folder), "--csv",
                  str(download.value.path()), "--output", str(tmp_path / "records")]) == 0
    assert Records(tmp_path / "records")["train"].identities == 2


def test_marks_of_a_name_come_back(found, open_page):
    key = keys_of(found)[0]
    found.fill("#person-name", "blue coat")
    found.press("#person-name", "Tab")
    with found.expect_response("**/api/marks"):
        found.click(f'.card[data-key="{key}"] .act.right')
    later = open_page()
    later.fill("#person-name", "blue coat")
    with searching(later):
        later.press("#person-name", "Tab")
    assert sent(later, "right") == [key]  # what is right is looked for
    with later.expect_response("**/api/marks"):
        later.click("#marks-right button")
    assert later.locator("#marks-right button").count() == 0


def test_the_wall_is_walked_and_judged_by_keys(found):
    page, keys = found, keys_of(found)
    page.keyboard.press("/")
    assert page.locator("#query-choose:focus").count() == 1
    page.locator(".card").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".card:focus").get_attribute("data-key") == keys[1]
    with searching(page):
        page.keyboard.press("w")
    assert "is-wrong" in page.locator(".card:focus").get_attribute("class")
    for letter, items in (("a", 2), ("s", 1)):
        chosen = page.locator(".card:focus").get_attribute("data-key")
        with searching(page):
            page.keyboard.press(letter)
        assert sent(page, "keys") == [chosen]
        assert page.locator(".query-item").count() == items
    page.keyboard.press("?")
    assert page.locator("#keys[open]").count() == 1


def test_a_box_of_an_image_is_searched_for(found):
    page = found
    page.click("text=Draw a box")
    area = page.locator("#box-stage").bounding_box()
    width, height = page.evaluate("""() => {
      const image = document.querySelector("#box-stage img");
      return [image.naturalWidth, image.naturalHeight];
    }""")
    scale = area["width"] / width

    def move(x, y):
        page.mouse.move(area["x"] + x * scale, area["y"] + y * scale)

    move(5, 8)
    page.mouse.down()
    move(10, 20)
    move(width - 6, height - 9)
    page.mouse.up()
    page.focus("#box-stage")
    page.keyboard.press("ArrowRight")  # moves the box by a pixel
    page.keyboard.press("Shift+ArrowDown")  # makes it higher by one
    with searching(page):
        page.click("#box-use")
    (box,), = map(json.loads, sent(page, "boxes"))
    assert box == pytest.approx([6, 8, width - 5, height - 8], abs=0.6)


def test_a_window_is_dragged_on_the_timeline(found):
    page = found
    assert page.locator(".mark").count() == page.locator(".card").count()
    key = keys_of(page)[0]
    page.locator(f'.mark[data-key="{key}"]').dispatch_event("pointerenter")
    assert page.locator(".card.pointed").get_attribute("data-key") == key
    area = page.locator(".plot").bounding_box()
    page.mouse.move(area["x"] + 40, area["y"] + 10)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] / 2, area["y"] + 10)
    with searching(page):
        page.mouse.up()
    (since,), (until,) = sent(page, "since"), sent(page, "until")
    assert float(since) < float(until)
    with searching(page):
        page.click("#times-clear")
    assert keys_of(page)[0] == key


def test_the_images_of_a_track_are_shown(found):
    page = found
    page.locator(".card").first.press("Enter")
    page.wait_for_selector("#inspect-track img")
    pressed = page.locator('#inspect-track [aria-pressed="true"]')
    assert pressed.get_attribute("data-key") == keys_of(page)[0]
    page.keyboard.press("Escape")
    assert page.locator(".card:focus").get_attribute("data-key") == keys_of(page)[0]


def test_a_failed_search_says_why_and_is_retried(found):
    page, keys = found, keys_of(found)
    sentence = "The gallery is locked by another process; stop that process."
    page.route("**/api/search", lambda route: route.fulfill(
        status=400, json={"error": sentence}), times=1)
    page.click("#search")
    page.wait_for_selector('[data-state="failed"]:visible')
    assert page.inner_text("#error-sentence") == sentence
    with searching(page):
        page.click("#retry")
    assert keys_of(page) == keys


def test_a_busy_service_is_asked_once_more(found):
    page, keys, answers = found, keys_of(found), []
    sentence = "A removal is being written; try again in a moment."
    page.on("response", lambda response: answers.append(response.status)
            if response.url.endswith("/api/search") else None)

    def refuse(route):
        route.fulfill(status=503, json={"error": sentence})

    page.route("**/api/search", refuse, times=1)
    with searching(page):
        page.click("#search")
    assert page.locator(".notice p").all_inner_texts() == [sentence]
    assert answers == [503, 200] and keys_of(page) == keys

    page.route("**/api/search", refuse)
    answers.clear()
    page.click("#search")
    page.wait_for_selector('[data-state="failed"]:visible')
    assert page.inner_text("#error-sentence") == sentence and answers == [503, 503]


def test_a_deleted_entry_is_in_the_marks_of_no_name(found):
    page, key = found, keys_of(found)[0]
    page.fill("#person-name", "green hat")
    page.press("#person-name", "Tab")
    with page.expect_response("**/api/marks"), searching(page):
        page.click(f'.card[data-key="{key}"] .act.right')
    assert page.locator("#person-names option").count() == 1
    page.locator(f'.card[data-key="{key}"]').press("Delete")
    with searching(page):
        page.click("#confirm-yes")
    assert page.locator("#person-names option").count() == 0


def test_what_somebody_else_removed_is_searched_for_no_more(found, gallery_service):
    page, chosen = found, []
    for action in ("add", "add", "right"):
        chosen.append(next(key for key in keys_of(page) if key not in chosen))
        with searching(page):
            page.locator(f'.card[data-key="{chosen[-1]}"] .act.{action}').dispatch_event("click")
    kept, *gone = chosen
    page.request.delete(f"{gallery_service.url}/api/entries", data={"keys": gone})
    page.click("#search")
    page.wait_for_selector("text=The gallery no longer has 2 images of the query or the marks")
    page.wait_for_selector('#wall[aria-busy="false"]')
    assert page.locator('[data-state="failed"]:visible').count() == 0
    assert sent(page, "keys") == [kept] and sent(page, "right") == []


def test_a_window_to_the_edges_of_the_timeline_is_open(found):
    page, keys = found, keys_of(found)
    area = page.locator(".plot").bounding_box()
    page.mouse.move(area["x"] + 1, area["y"] + 10)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] - 1, area["y"] + 10)
    with searching(page):
        page.mouse.up()
    assert sent(page, "since") == sent(page, "until") == []
    assert keys_of(page) == keys


def test_times_of_a_clock_are_in_utc(open_page, gallery_service):
    page = open_page(telling(clock=True), timezone_id="Asia/Kolkata")
    with searching(page):
        drop(page, gallery_service.query)
    with searching(page):
        page.fill("#since", "1970-01-01T00:00:30")
        page.press("#since", "Tab")
    assert sent(page, "since") == ["30"]
    shown = page.locator(".card .time, .tick text").all_text_contents()
    assert {text[-8:-3] for text in shown} <= {"00:00", "00:01"}
    assert page.input_value("#since") == "1970-01-01T00:00:30"
    page.click("#add-images")
    for name in ("since", "until", "enrol-time"):
        assert "UTC" in page.locator(f"label:has(#{name})").inner_text()


def test_numbers_that_the_service_does_not_count_are_not_shown(open_page):
    page = open_page(telling(tracks=None, people=None))
    assert page.inner_text("#gallery-counts") == "36 images · 2 cameras"


def test_a_token_is_asked_for_once(open_page, gallery_service):
    def guard(route):
        if route.request.headers.get("authorization") == "Bearer secret":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": "The token is missing or wrong."})

    page = open_page(lambda page: page.route("**/api/**", guard), state=None)
    page.fill("#token-value", "guess")
    page.press("#token-value", "Enter")
    page.wait_for_selector("text=The service did not accept this token.")
    page.fill("#token-value", "secret")
    page.press("#token-value", "Enter")
    page.wait_for_selector('[data-state="start"]:visible')
    with searching(page):
        drop(page, gallery_service.query)
    page.wait_for_selector('.card img[src^="blob:"]')


def test_names_are_texts(found):
    name = "<img src=x onerror=alert(1)>"

    def rename(route):
        response = route.fetch()
        results = [{**result, "camera": name, "person": name, "track": name}
                   for result in response.json()["results"]]
        route.fulfill(json={"results": results, "seconds": 0})

    found.route("**/api/search", rename)
    with searching(found):
        found.click("#search")
    assert found.locator(".card .camera").first.inner_text() == name
    assert found.locator("img[src=x]").count() == 0


def test_what_the_service_would_refuse_is_not_sent(open_page, tmp_path):
    page = open_page()
    limit = page.evaluate("fetch('api/about').then(answer => answer.json())")["limits"]
    large, text = tmp_path / "large.jpg", tmp_path / "notes.txt"
    large.write_bytes(b"0" * (limit["upload_bytes"] + 1))
    text.write_text("notes")
    page.set_input_files("#query-files", [large, text])
    notice = page.locator(".notice p").inner_text()
    assert "large.jpg has" in notice and "notes.txt is not an image." in notice
    assert page.locator(".query-item").count() == 0


def test_images_of_a_query_share_the_pixels_of_a_request(open_page, gallery_service):
    page = open_page(telling({"pixels": 3000}))  # of images of 2048
    with searching(page):
        drop(page, gallery_service.query)
    drop(page, gallery_service.query)
    page.wait_for_selector("text=query.jpg has 32 x 64 pixels; the images of a request may have")
    assert page.locator(".query-item").count() == 1


def test_images_are_added_by_requests_that_keep_to_the_pixels(open_page, gallery_service):
    page, posts = open_page(telling({"pixels": 5000})), []
    page.on("request", lambda request: posts.append(request.url) if request.method == "POST"
            else None)
    page.click("#add-images")
    page.set_input_files("#enrol-files", [path for path in gallery_service.people][:3])
    page.fill("#enrol-camera", "roof")
    page.click("#enrol-send")
    page.wait_for_selector("text=3 images were added")
    assert posts == [f"{gallery_service.url}/api/entries"] * 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_only_down(open_page, gallery_service, scheme):
    page = open_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    with searching(page):
        drop(page, gallery_service.query)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (int(re.findall(r"\d+", ground)[0]) > 128) == (scheme == "light")
