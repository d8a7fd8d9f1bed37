"""Image files in batches, and the nearest of a gallery, against one comparison of everything."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.serving import image_files
from tfreid.serving.image_files import ORDER, collect, extract_files, find_image_files, find_nearest
from tfreid.serving.interface import RefusedImages


class Lengths:
    """A client whose feature is the length of a file; it refuses files of one length."""

    def __init__(self, refused=None):
        self.batches, self.refused = [], refused

    def extract(self, images):
        self.batches.append(len(images))
        lengths = np.array([[len(image)] for image in images], np.float32)
        if self.refused in lengths:
            raise RefusedImages("no")
        return {"embedding": lengths}


@pytest.fixture
def folder(tmp_path):
    for name, side in (("b.png", 9), ("sub/a.JPG", 5), (".hidden.png", 7), ("a.png", 3)):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        suffix = path.suffix.lower()
        noise = np.random.default_rng(side).integers(0, 255, (side, side, 3)).astype(np.uint8)
        path.write_bytes(cv2.imencode(suffix, noise)[1].tobytes())
    (tmp_path / "images" / "text.txt").write_text("")
    return tmp_path / "images"


def compare(queries, gallery):
    distance = np.abs(queries["embedding"] - gallery["embedding"].T)
    return {ORDER: distance, "distance": distance, "twice": 2 * distance}


def test_folders_are_searched_to_the_bottom(folder, tmp_path):
    files = find_image_files([folder / "b.png", folder])
    assert [str(path.relative_to(folder)) for path in files] == [
        "b.png", "a.png", "b.png", "sub/a.JPG"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no image file"):
        find_image_files([tmp_path / "empty"])
    with pytest.raises(UserError, match=r"nowhere\.jpg does not exist"):
        find_image_files([tmp_path / "nowhere.jpg"])


def test_files_go_in_batches(folder):
    files, client = find_image_files([folder]), Lengths()
    features = collect(extract_files(client, files, 2, "files"), len(files))
    assert client.batches == [2, 1]
    assert features["embedding"][:, 0].tolist() == [path.stat().st_size for path in files]


def test_the_file_that_cannot_be_decoded_is_named(folder):
    files = find_image_files([folder])
    with pytest.raises(UserError, match=r"b\.png: the model cannot decode it"):
        list(extract_files(Lengths(files[1].stat().st_size), files, 3, "files"))
    (folder / "b.png").write_text("no image")
    with pytest.raises(UserError, match=r"b\.png: neither JPEG, PNG"):
        list(extract_files(Lengths(), files, 3, "files"))


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_the_nearest_do_not_depend_on_batches(batch, monkeypatch):
    monkeypatch.setattr(image_files, "_MOST_PAIRS", 4)
    random = np.random.default_rng(1)
    # Few values, so that many are equally near.
    queries, gallery = (random.integers(0, 5, (n, 1)).astype(np.float32) for n in (6, 17))
    blocks = ((slice(start, min(start + batch, 17)), {"embedding": gallery[start : start + batch]})
              for start in range(0, 17, batch))
    found = find_nearest({"embedding": queries}, blocks, compare, 5)
    distances = np.abs(queries - gallery.T)
    expected = np.argsort(distances, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(found.indices, expected)
    np.testing.assert_array_equal(found.figures["twice"],
                                  2 * np.take_along_axis(distances, expected, axis=1))
    assert set(found.figures) == {"distance", "twice"}


def test_images_do_not_find_themselves():
    embeddings = {"embedding": np.array([[0.0], [0.0], [0.0], [4.0]])}
    found = find_nearest(embeddings, [(slice(0, 4), embeddings)], compare, 3).without_self(2)
    assert found.indices.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]
    assert found.figures["distance"].tolist() == [[0, 0], [0, 0], [0, 0], [4, 4]]
    found = find_nearest(embeddings, [(slice(0, 4), embeddings)], compare, 9).without_self(8)
    assert found.indices.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
