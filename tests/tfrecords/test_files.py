import json
import os

import pytest

from tfrecords.errors import UserError
from tfrecords.files import read_json, read_text

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("text, message", [
    ('{"a": 1e999}', "1e999 is not finite"),
    ('{"a": NaN}', "NaN is not finite"),
    ('{"a": -Infinity}', "-Infinity is not finite"),
    ('{"a": ' + "9" * 6000 + "}", r"the number 9{20}\.\.\. is out of range"),
    ('{"a": ' + DEEP + "}", "nested too deeply"),
    ('{"a": -9223372036854775808}', "is out of range"),
    ('{"a": 1}}', "is broken"),
    ("[]", "does not hold a JSON object"),
    ('{"a": "\0"}', "NUL bytes at character 7"),
    ("", "is broken"),
])
def test_refuses_broken_json(tmp_path, text, message):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_json(path, "make it again")
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).endswith("; make it again.")


def test_reads_json_of_ordinary_numbers(tmp_path):
    content = {"a": [1, 2.5, -1e-300, 2 ** 63 - 1], "b": {"c": None}}
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert read_json(tmp_path / "a.json", "") == content


def test_refuses_what_is_no_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"ab\xff")
    with pytest.raises(UserError, match=r"not UTF-8 text \(byte 2\)"):
        read_text(path, "save it as UTF-8")
    path.write_bytes(b"\xef\xbb\xbfab")
    assert read_text(path, "") == "ab"
    with pytest.raises(UserError, match="is larger than"):
        read_text(path, "", max_bytes=4)


def test_refuses_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, message in [
            (tmp_path, "is a folder"), (tmp_path / "pipe", "a pipe or device"),
            ("/dev/zero", "a pipe or device"), (tmp_path / "loop", "symbolic links"),
            (tmp_path / "none", "No such file"), (f"{tmp_path}/a\0b", "not a file name"),
            (tmp_path / ("a" * 300), "too long")]:
        with pytest.raises(UserError, match=message):
            read_text(path, "name a file")
