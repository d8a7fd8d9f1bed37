"""Versions of an export: written whole, one writer at a time, refused where damaged."""

from __future__ import annotations

import errno
import os
import shutil

import pytest
import tensorflow as tf

from tfrecords.errors import UserError
from tfrecords.writing import sole_writer
from tfreid.commands import query
from tfreid.records import Records
from tfreid.serving import saved_model
from tfreid.serving.client import SavedModelClient
from tfreid.serving.saved_model import CHECKSUMS_NAME, parity_images, write_version

GRAPH, VALUES = "saved_model.pb", "variables/variables.data-00000-of-00001"


class Lengths(tf.Module):
    """Embeds a file by its length."""

    def __init__(self):
        super().__init__()
        self.scale = tf.Variable(tf.range(100.0))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def embed(self, image_bytes):
        lengths = tf.cast(tf.strings.length(image_bytes), tf.float32)
        tf.debugging.assert_positive(lengths)
        return {"embedding": lengths[:, None] * self.scale}


def write(output, finish=lambda folder: None):
    model = Lengths()
    return write_version(model, {"serving_default": model.embed}, output, finish)


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return write(tmp_path_factory.mktemp("export"))


@pytest.fixture
def copied(version, tmp_path):
    return shutil.copytree(version, tmp_path / "1")


def empty(path):
    path.write_bytes(b"")


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def remove(path):
    path.unlink()


def make_folder(path):
    path.unlink()
    path.mkdir()


def test_a_whole_version_is_read_also_without_checksums(copied):
    assert SavedModelClient(copied).extract([b"abc"])["embedding"][0, 2] == 6
    (copied / CHECKSUMS_NAME).unlink()
    assert SavedModelClient(copied.parent).extract([b"abc"])["embedding"][0, 2] == 6
    assert SavedModelClient(copied).extract([])["embedding"].shape == (0, 100)


DAMAGES = [
    (empty, GRAPH), (cut, GRAPH), (make_folder, GRAPH),
    (empty, VALUES), (cut, VALUES), (flip, VALUES), (remove, VALUES),
    (remove, "variables/variables.index"), (flip, "variables/variables.index"),
]


@pytest.mark.parametrize(("damage", "file", "checked"), [
    *((*damage, True) for damage in DAMAGES), *((*damage, False) for damage in DAMAGES),
    # TensorFlow does not notice every flipped bit of a graph.
    (flip, GRAPH, True),
])
def test_damage_is_one_sentence(copied, damage, file, checked, capsys):
    if not checked:
        (copied / CHECKSUMS_NAME).unlink()
    damage(copied / file)
    with pytest.raises(UserError, match="is not the file that was exported" if checked else
                       "is not a whole SavedModel") as raised:
        SavedModelClient(copied)
    assert str(copied / file if checked else copied) in str(raised.value)
    image = copied / "image.jpg"
    image.write_bytes(b"")
    assert query.main(["--model", str(copied), str(image)]) == 2
    assert capsys.readouterr().err == f"error: {raised.value}\n"


def test_models_of_others_are_named(version):
    with pytest.raises(UserError, match="no signature 'verify', only serving_default"):
        SavedModelClient(version).verify([b"a"], [b"b"])


def test_leftovers_go_and_a_second_export_is_refused(tmp_path):
    (tmp_path / ".unfinished-3" / "variables").mkdir(parents=True)
    with sole_writer(tmp_path, "exporting"), pytest.raises(UserError, match="being written by"):
        write(tmp_path)
    assert (tmp_path / ".unfinished-3").exists()
    assert write(tmp_path).name == "1"
    assert os.listdir(tmp_path) == ["1"]
    with pytest.raises(UserError, match="is a file; name a folder"):
        write(tmp_path / "1" / GRAPH)


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, monkeypatch):
    def fail(served, path, signatures):
        raise tf.errors.ResourceExhaustedError(
            None, None, f"{{{{function_node __wrapped__SaveV2}}}} {path}/variables/part.tempstate; "
            f"{os.strerror(errno.ENOSPC)} [Op:SaveV2]")

    monkeypatch.setattr(saved_model.tf.saved_model, "save", fail)
    with pytest.raises(OSError) as raised:
        write(tmp_path)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path / "1"))
    assert os.listdir(tmp_path) == []


def test_an_export_is_checked_with_images_that_it_would_serve(records):
    opened = Records(records)
    index = opened["gallery"].index
    pixels = index.heights.astype(int) * index.widths
    split, positions = parity_images(opened, int(pixels.min()))
    assert split.name == "gallery" and 0 < len(positions) <= 8
    assert (pixels[positions] == pixels.min()).all()
    with pytest.raises(UserError, match="more than export.max_pixels=1 pixels"):
        parity_images(opened, 1)


def test_images_that_older_builders_stored_with_a_tag_check_no_export(records, tag_orientation):
    opened = Records(records)
    split = opened["gallery"]
    files = [split.encoded[place] for place in range(len(split))]
    turned = [tag_orientation(file, 6) for file in files]
    split.encoded = [*turned[:3], *files[3:]]
    assert parity_images(opened, 10**6)[1].tolist() == list(range(3, 11))
    split.encoded = turned
    with pytest.raises(UserError, match="build the records again"):
        parity_images(opened, 10**6)
