"""What a wheel of tfreid requires and holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_running_needs_no_tool_for_tests():
    block = re.search(r"^dependencies = \[\n(.*?)^\]", PROJECT, re.M | re.S).group(1)
    names = set(re.findall(r'^ *"([\w-]+)', block, re.M))
    assert {"tensorflow", "keras", "numpy"} <= names
    assert not names & {"pytest", "pytest-xdist", "ruff", "setuptools", "pyarrow"}


def test_the_command_is_in_it():
    assert 'tfreid = "tfreid.commands.main:main"' in PROJECT
    assert 'include = ["tfreid*", "tfrecords*"]' in PROJECT


@pytest.mark.parametrize("package", ["config", "gallery", "weights"])
def test_files_of_other_kinds_are_in_it(package):
    pattern = re.search(rf'^"tfreid.{package}" = \["(.*)"\]', PROJECT, re.M).group(1)
    folder = ROOT / "tfreid" / package
    kept = set(folder.glob(pattern))
    assert kept and kept == {path for path in folder.rglob("*")
                             if path.is_file() and path.suffix not in (".py", ".pyc")}
