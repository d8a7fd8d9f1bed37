"""Remote paths behave as local ones: on `ram://`, TensorFlow's file system in memory."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from tfrecords.errors import UserError
from tfrecords.files import file_checksum, read_json, regular_file
from tfrecords.storage import RemotePath, as_path, copy_tree, local_file, remove_tree
from tfrecords.writing import sole_writer, whole_file, write_json, write_whole


@pytest.fixture(params=["local", "ram"])
def folder(request, tmp_path):
    """A folder with `a.txt` and `below/b.bin`, on this machine and remote."""
    folder = tmp_path if request.param == "local" else as_path(f"ram://{uuid.uuid4().hex}/x")
    write_whole(folder / "a.txt", b"one")
    write_whole(folder / "below" / "b.bin", b"two")
    return folder


def test_files_and_folders(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "below"]
    assert [path.name for path in folder.glob("*.txt")] == ["a.txt"]
    assert sorted(path.name for path in folder.rglob("*")) == ["a.txt", "b.bin", "below"]
    assert list((folder / "none").glob("*")) == []
    file, below = folder / "a.txt", folder / "below"
    assert file.exists() and file.is_file() and not file.is_dir()
    assert below.exists() and below.is_dir() and not below.is_file()
    assert not (folder / "none").exists()
    assert file.stat().st_size == 3 and file.read_bytes() == b"one"
    with file.open("rb") as stream:
        stream.seek(1)
        assert stream.read(1) == b"n"
    (below / "b.bin").replace(folder / "a.txt")
    assert file.read_bytes() == b"two" and not (below / "b.bin").exists()
    file.unlink()
    file.unlink(missing_ok=True)
    for use in (file.unlink, file.read_bytes, file.stat):
        with pytest.raises(FileNotFoundError) as error:
            use()
        assert str(error.value.filename) == str(file)


def test_names(folder):
    path = folder / "below" / "b.bin"
    assert (path.name, path.stem, path.suffix) == ("b.bin", "b", ".bin")
    assert path.parent == folder / "below" and path.parent.parent == folder
    assert path.with_name("c") == folder / "below" / "c"
    assert path.with_suffix(".x") == folder / "below" / "b.x"
    assert path.relative_to(folder).as_posix() == "below/b.bin"
    assert path.absolute() == path and as_path(str(path)) == path
    assert sorted([path, folder / "a.txt"]) == [folder / "a.txt", path]
    assert len({path, as_path(str(path))}) == 1


def test_files_appear_whole(folder):
    with pytest.raises(RuntimeError), whole_file(folder / "a.txt") as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert (folder / "a.txt").read_bytes() == b"one"
    with whole_file(folder / "new" / "c.png") as temporary:
        assert isinstance(temporary, Path) and temporary.suffix == ".png"
        temporary.write_bytes(b"all")
    assert [path.name for path in (folder / "new").iterdir()] == ["c.png"]


def test_reading_in_bounds(folder):
    write_json(folder / "c.json", {"a": 1})
    assert read_json(folder / "c.json", "mend it") == {"a": 1}
    assert file_checksum(folder / "a.txt") == file_checksum(str(folder / "a.txt"))
    for name, words in (("below", "is a folder"), ("none", "cannot be read")):
        with pytest.raises(UserError, match=f"{words}.*; mend it"):
            regular_file(folder / name, "mend it")


def test_copies_and_removes(folder, tmp_path):
    for target in (tmp_path / "copy", folder / "copy"):
        copy_tree(folder, target, last="a.txt")
        assert (target / "below" / "b.bin").read_bytes() == b"two"
        remove_tree(target)
        assert not (target / "a.txt").exists()
    with local_file(folder / "a.txt") as local:
        assert json.loads(f'"{local.read_text()}"') == "one"
    assert (folder / "a.txt").exists()


def test_a_url_has_no_lock(folder):
    with sole_writer(folder, "training"):
        write_whole(folder / "a.txt", b"three")
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "below"]


def test_a_bucket_is_its_own_folder():
    assert str(RemotePath("gs://bucket").parent) == "gs://bucket"
    assert str(RemotePath("gs://bucket/a//b/")) == "gs://bucket/a/b"
    assert str(RemotePath("hdfs:///user") / "a") == "hdfs:///user/a"


def test_an_unknown_scheme_is_one_sentence():
    with pytest.raises(UserError, match="foo://a/b: TensorFlow has no file system"):
        as_path("foo://a/b").exists()
