"""The commands of the guides: their options are known, and their settings exist and fit."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from tfreid.backbones.base import Backbone
from tfreid.commands import main as commands
from tfreid.config import load_config
from tfreid.models.embedding import build_embedding_model

ROOT = Path(__file__).parents[1]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Names that stand for others, the shell's variables of several words, and a table's columns.
_NO_COMMAND = re.compile(r"\b(RECIPE|DATASET)\b|(^|\s)\$\w+|\.\.\.|\S {2,}[^#\s]")


class Parsed(BaseException):
    """A command line was parsed, and nothing is to be run."""


def commands_of(guide):
    """Returns the `tfreid` commands of a guide's blocks as lists of words."""
    found = []
    for block in re.findall(r"^```\w*\n(.*?)^```", guide.read_text(), re.DOTALL | re.MULTILINE):
        for line in re.sub(r" *\\\n\s*", " ", block).splitlines():
            if line.strip().startswith("tfreid ") and not _NO_COMMAND.search(line):
                words = shlex.split(re.sub(r"\$\w+", "0", line), comments=True)
                found.append(words[1:])
    return found


def values(words, option):
    return [after for word, after in zip(words, words[1:]) if word == option]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_commands_have_options_that_are_known(guide, monkeypatch):
    def only_parse(method):
        def parse(self, *args, **kwargs):
            method(self, *args, **kwargs)
            raise Parsed

        return parse

    for name in ("parse_args", "parse_intermixed_args"):
        method = getattr(argparse.ArgumentParser, name)
        monkeypatch.setattr(argparse.ArgumentParser, name, only_parse(method))
    for words in commands_of(guide):
        with pytest.raises(Parsed):
            commands.main(words)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_trainings_have_settings_that_fit_their_network(guide, monkeypatch):
    def built(*_args, **_settings):
        raise Parsed

    monkeypatch.setattr(Backbone, "__call__", built)
    for words in commands_of(guide):
        if words[0] != "train":
            continue
        overrides = [word for word in words if re.match(r"[a-z].*=", word)]
        config = load_config(*values(words, "--config"), overrides, values(words, "--variant"))
        if config.system != "csn":
            with pytest.raises(Parsed):
                build_embedding_model(config.model, 10)


def headings(guide):
    """Returns the names by which links lead to the headings of a guide."""
    found = re.findall(r"^#+ (.*)$", guide.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in found}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_links_lead_to_files_and_headings(guide):
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", guide.read_text()):
        path, _, heading = link.partition("#")
        target = guide.parent / path if path else guide
        assert target.exists(), link
        assert not heading or heading in headings(target), link


def test_every_picture_is_shown():
    text = "".join(guide.read_text() for guide in GUIDES)
    assert all(path.name in text for path in (ROOT / "docs" / "images").iterdir())
