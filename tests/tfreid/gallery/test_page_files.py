"""The files of the page: whole, and free of what the service's content security policy refuses."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import tfreid.gallery

PAGE = Path(tfreid.gallery.__file__).parent / "page"
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in PAGE.glob("*.js")}
HTML = (PAGE / "index.html").read_text(encoding="utf-8")
CSS = (PAGE / "page.css").read_text(encoding="utf-8")


class _Tags(HTMLParser):
    """Collects (tag, attributes) and the text inside scripts and styles."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.inline, self._open = [], "", None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data):
        if self._open in ("script", "style"):
            self.inline += data.strip()


@pytest.fixture(scope="module")
def document():
    return _Tags(HTML)


def test_nothing_is_inline(document):
    assert document.inline == ""
    for tag, attributes in document.tags:
        assert tag != "style"
        assert not [name for name in attributes if name == "style" or name.startswith("on")]


def test_nothing_is_loaded_from_elsewhere(document):
    loaded = {attributes[name] for tag, attributes in document.tags
              for name in ("src", "href") if name in attributes and tag != "a"}
    files = {link for link in loaded if not link.startswith(("#", "data:"))}
    assert files == {"page.css", "page.js"}
    assert "url(" not in CSS and "@import" not in CSS
    addresses = {address for script in SCRIPTS.values()
                 for address in re.findall(r"https?://[^\"'`\s]*", script)}
    assert addresses == {"http://www.w3.org/2000/svg"}  # a namespace, which nothing loads


def test_texts_are_never_parsed_as_html():
    unsafe = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|"
                        r"\beval\b|new Function|srcdoc|setHTMLUnsafe")
    assert not [name for name, script in SCRIPTS.items() if unsafe.search(script)]


def test_every_script_is_reached_from_the_page():
    imports = {name: set(re.findall(r'from "\./([\w.]+)"', script))
               for name, script in SCRIPTS.items()}
    reached, left = set(), {"page.js"}
    while left:
        name = left.pop()
        reached.add(name)
        left |= imports[name] - reached
    assert reached == set(SCRIPTS)


def test_every_element_that_a_script_asks_for_is_in_the_document(document):
    ids = [attributes["id"] for _, attributes in document.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    asked = {name for script in SCRIPTS.values()
             for name in re.findall(r'byId\("([\w-]+)"\)', script)}
    assert asked <= set(ids)
    labelled = {attributes[name] for _, attributes in document.tags
                for name in ("for", "list", "aria-labelledby", "aria-describedby")
                if name in attributes}
    assert labelled <= set(ids)


def test_every_symbol_is_drawn(document):
    drawn = {attributes["id"] for tag, attributes in document.tags if tag == "symbol"}
    used = {attributes["href"][1:] for tag, attributes in document.tags if tag == "use"}
    used |= {f"i-{name}" for script in SCRIPTS.values()
             for name in re.findall(r'icon\("([\w-]+)"\)', script)}
    assert used and used <= drawn
