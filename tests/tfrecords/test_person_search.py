"""Person Search: nested MATLAB structures in, boxes cut out of scenes and their galleries out."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from tfrecords.build import main
from tfrecords.errors import UserError
from tfrecords.manifest import read_manifest
from tfrecords.person_search import scan_person_search
from tfrecords.query_galleries import read_query_galleries
from tfreid.records import Records, decode_image

HEIGHT, WIDTH = 40, 60
# Scene -> boxes x, y, width, height. The last box of s4 is listed twice, s5 has one without width
# and one outside of it, and the first of s6 reaches out of it on every side but the right.
BOXES = {
    "s1.jpg": [(1, 2, 10, 20), (30, 5, 12, 24)],
    "s2.jpg": [(3, 4, 11, 21)],
    "s3.jpg": [(5, 6, 10, 22), (20, 6, 9, 18), (40, 6, 8, 16)],
    "s4.jpg": [(2, 2, 10, 20), (25, 3, 13, 26), (25, 3, 13, 26)],
    "s5.jpg": [(7, 8, 0, 20), (60, 3, 5, 5), (8, 8, 12, 20)],
    "s6.jpg": [(-4, -3, 14, 60), (30, 9, 11, 20)],
    "s7.jpg": [(9, 9, 10, 20)],
}
# Persons of training, of which p12 is in one scene twice.
TRAIN = {"p7": [("s1.jpg", 0), ("s2.jpg", 0)], "p12": [("s1.jpg", 1), ("s7.jpg", 0)]}
# Person, own scene and box, and gallery: scene and the person's box in it, None where absent.
QUERIES = [
    ("p20", ("s3.jpg", 0), [("s4.jpg", 0), ("s6.jpg", 0), ("s5.jpg", None)]),
    ("p3", ("s4.jpg", 1), [("s3.jpg", 1), ("s5.jpg", None), ("s4.jpg", 1)]),
]


def _struct(**fields) -> np.ndarray:
    """A MATLAB structure, 1 x 1."""
    return _structs([fields])


def _structs(rows, names=()) -> np.ndarray:
    """A structure array, 1 x n, of dicts."""
    names = list(rows[0]) if rows else list(names)
    array = np.zeros((1, len(rows)), [(name, object) for name in names])
    for position, row in enumerate(rows):
        for name, value in row.items():
            array[name][0, position] = value
    return array


def _cells(values) -> np.ndarray:
    """A cell array, n x 1."""
    array = np.empty((len(values), 1), object)
    for position, value in enumerate(values):
        array[position, 0] = value
    return array


def _box(scene, number) -> np.ndarray:
    # The release has empty arrays where the person is absent.
    return np.zeros((1, 0)) if number is None else np.int32([BOXES[scene][number]])


def _appearances(found) -> np.ndarray:
    return _structs([{"imname": scene, "idlocate": _box(scene, number), "ishard": 0}
                     for scene, number in found], ("imname", "idlocate", "ishard"))


def _images(boxes) -> np.ndarray:
    return _structs([
        {"imname": scene, "nAppear": len(found),
         "box": _structs([{"idlocate": np.int32([box]), "ishard": 0} for box in found])}
        for scene, found in boxes.items()])


def _queries(queries) -> np.ndarray:
    return _structs([
        {"Query": _struct(imname=own[0], idlocate=_box(*own), ishard=0, idname=name),
         "Gallery": _appearances(gallery)} for name, own, gallery in queries])


def _people(people) -> np.ndarray:
    return _cells([_struct(idname=name, nAppear=len(found), scene=_appearances(found))
                   for name, found in people.items()])


@pytest.fixture
def root(tmp_path):
    """The release in miniature: scenes of noise, and lists of galleries of 50 and 100 scenes."""
    root = tmp_path / "CUHK-SYSU"
    (root / "Image/SSM").mkdir(parents=True)
    for seed, scene in enumerate(BOXES):
        pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        cv2.imwrite(str(root / "Image/SSM" / scene), pixels)
    lists = root / "annotation/test/train_test"
    lists.mkdir(parents=True)
    savemat(root / "annotation/Images.mat", {"Img": _images(BOXES)})
    savemat(root / "annotation/pool.mat", {"pool": _cells(["s3.jpg", "s4.jpg", "s5.jpg"])})
    savemat(lists / "Train.mat", {"Train": _people(TRAIN)})
    savemat(lists / "TestG100.mat", {"TestG100": _queries(QUERIES)})
    savemat(lists / "TestG50.mat", {"TestG50": _queries(
        [(name, own, gallery[:1]) for name, own, gallery in QUERIES])})
    return root


def _path(scene, number) -> str:
    return f"Image/SSM/{scene}/{'_'.join(map(str, BOXES[scene][number]))}.png"


def test_the_splits_hold_the_boxes_of_the_lists(root):
    scan = scan_person_search(root)
    # Training goes by scenes, so that each is decoded once.
    assert [(entry.path, entry.person_id) for entry in scan.splits["train"]] == [
        (_path("s1.jpg", 0), 7), (_path("s1.jpg", 1), 12), (_path("s2.jpg", 0), 7),
        (_path("s7.jpg", 0), 12)]
    assert [(entry.path, entry.person_id) for entry in scan.splits["query"]] == [
        (_path("s3.jpg", 0), 20), (_path("s4.jpg", 1), 3)]
    # A query's own box is its person's in other galleries too.
    assert [(entry.path, entry.person_id) for entry in scan.splits["gallery"]] == [
        (_path("s3.jpg", 0), 20), (_path("s3.jpg", 1), 3), (_path("s3.jpg", 2), 0),
        (_path("s4.jpg", 0), 20), (_path("s4.jpg", 1), 3), (_path("s5.jpg", 2), 0),
        (_path("s6.jpg", 0), 20), (_path("s6.jpg", 1), 0)]
    assert {entry.camera_id for entries in scan.splits.values() for entry in entries} == {-1}
    assert scan.dropped == {"empty_box": 2, "repeated_box": 1}
    [warning] = scan.warnings
    assert "train has 4 images of 2 identities, not 15,080 of 5,532" in warning


def test_every_query_has_its_own_gallery(root):
    galleries = scan_person_search(root).query_galleries
    # p20: s4, s5 and s6; p3: s3 and s5, and not its own scene s4, which the list names.
    assert [found.tolist() for found in galleries] == [[3, 4, 5, 6, 7], [0, 1, 2, 5]]
    smaller = scan_person_search(root, gallery_size=50)
    assert [found.tolist() for found in smaller.query_galleries] == [[3, 4], [0, 1, 2]]
    assert len(smaller.splits["gallery"]) == 5
    assert smaller.options == {"gallery_size": 50}


def test_the_records_hold_the_pixels_of_the_boxes(root, build_dataset, capsys):
    output, manifest = build_dataset("person_search", root)
    assert {name: (split.images, split.identities, split.cameras, split.distractors)
            for name, split in manifest.splits.items()} == {
        "train": (4, 2, 0, 0), "query": (2, 2, 0, 0), "gallery": (8, 2, 0, 3)}
    assert manifest.options == {"gallery_size": 100, "shards": 2}
    assert "each query ranks a gallery of its own: query_galleries.npz" in capsys.readouterr().out
    for split in manifest.splits:
        index = Records(output)[split].index
        for path, data in zip(index.paths, Records(output)[split].encoded):
            _, _, scene, name = path.split("/")
            x, y, width, height = map(int, name[:-4].split("_"))
            pixels = cv2.imread(str(root / "Image/SSM" / scene))[:, :, ::-1]
            expected = pixels[max(y, 0) : y + height, max(x, 0) : x + width]
            np.testing.assert_array_equal(decode_image(data).numpy(), expected, err_msg=path)
            if x < 0:
                assert expected.shape == (HEIGHT, 10, 3)
    galleries = read_query_galleries(output, manifest)
    query, gallery = Records(output)["query"].index, Records(output)["gallery"].index
    for positions, path, person in zip(galleries, query.paths, query.ids):
        assert positions.dtype == np.int64
        scenes = {path.split("/")[2] for path in gallery.paths[positions]}
        assert path.split("/")[2] not in scenes
        assert person in gallery.ids[positions]


def test_a_corrupt_scene_moves_the_positions(root, build_dataset, capsys):
    scene = root / "Image/SSM/s4.jpg"
    scene.write_bytes(scene.read_bytes()[:-30])
    output = root.parent / "records"
    assert main(["person_search", "--root", str(root), "--output", str(output), "--workers",
                 "1"]) == 2
    assert f"{_path('s4.jpg', 0)} (truncated)" in capsys.readouterr().err
    output, manifest = build_dataset("person_search", root, "--shards", "4", "--skip-corrupt")
    assert manifest.dropped == {"empty_box": 2, "repeated_box": 1, "corrupt": 3}
    # The second query is of s4; the first loses its two boxes.
    [positions] = read_query_galleries(output, manifest)
    assert positions.tolist() == [3, 4, 5]
    paths = Records(output)["gallery"].index.paths[positions]
    assert paths.tolist() == [_path("s5.jpg", 2), _path("s6.jpg", 0), _path("s6.jpg", 1)]


def test_a_scene_without_a_header_is_the_writers_matter(root):
    (root / "Image/SSM/s5.jpg").write_bytes(b"no image")
    scan = scan_person_search(root)
    assert [entry.path for entry in scan.splits["gallery"]][5:7] == [
        _path("s5.jpg", 1), _path("s5.jpg", 2)]


def test_a_query_must_keep_a_gallery(root, tmp_path, capsys):
    for scene in ("s3.jpg", "s5.jpg"):
        (root / "Image/SSM" / scene).write_bytes(b"")
    assert main(["person_search", "--root", str(root), "--output", str(tmp_path / "out"),
                 "--workers", "1", "--skip-corrupt"]) == 2
    assert f"every gallery image of query {_path('s4.jpg', 1)} in" in capsys.readouterr().err
    assert not (tmp_path / "out/manifest.json").exists()


def test_scenes_are_decoded_once_for_boxes_in_a_row(root, monkeypatch):
    scan, decoded = scan_person_search(root), []
    original = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *args: decoded.append(0) or original(*args))
    with scan.source.open() as read:
        for entry in scan.splits["gallery"]:
            read(entry.path)
    assert len(scan.splits["gallery"]) == 8 and len(decoded) == 4


def test_another_size_of_gallery_is_another_build(root, build_dataset, capsys):
    output, manifest = build_dataset("person_search", root)
    assert main(["person_search", "--root", str(root), "--output", str(output), "--shards", "2",
                 "--gallery-size", "50"]) == 2
    assert "with another gallery_size" in capsys.readouterr().err
    assert read_manifest(output) == manifest
    with pytest.raises(ValueError, match="`gallery_size` must be one of .* Received: 99"):
        scan_person_search(root, gallery_size=99)


def _write_test(root, *queries):
    savemat(root / "annotation/test/train_test/TestG100.mat", {"TestG100": _queries(queries)})


def _write_train(root, **people):
    savemat(root / "annotation/test/train_test/Train.mat", {"Train": _people(people)})


def _write_images(root, change):
    boxes = {scene: list(found) for scene, found in BOXES.items()}
    change(boxes)
    savemat(root / "annotation/Images.mat", {"Img": _images(boxes)})


@pytest.mark.parametrize(("damage", "message"), [
    (lambda root: (root / "Image/SSM/s6.jpg").unlink(),
     r"TestG100.mat: 1 problem: query 1 \(p20\): scene s6.jpg is not in Image/SSM\."),
    (lambda root: _write_images(root, lambda boxes: boxes.pop("s3.jpg")),
     r"TestG100.mat: 2 problems: query 1 \(p20\): scene s3.jpg is not in Images.mat; "
     r"query 2 \(p3\): scene s3.jpg is not in Images.mat"),
    (lambda root: _write_images(root, lambda boxes: boxes["s4.jpg"].pop(0)),
     r"query 1 \(p20\): box \(2, 2, 10, 20\) is not in scene s4.jpg of Images.mat"),
    (lambda root: _write_images(root, lambda boxes: boxes["s2.jpg"].__setitem__(0, (1, 1, 2, 2))),
     r"Train.mat: 1 problem: person p7: box \(3, 4, 11, 21\) is not in scene s2.jpg"),
    (lambda root: (root / "Image/SSM/s2.jpg").unlink(),
     "Train.mat: 1 problem: person p7: scene s2.jpg is not in Image/SSM"),
    (lambda root: _write_test(root, ("p20", ("s5.jpg", 1), [("s3.jpg", None)])),
     r"query 1 \(p20\): its box \(60, 3, 5, 5\) lies outside scene s5.jpg"),
    (lambda root: _write_test(root, ("p20", ("s3.jpg", 0), [("s3.jpg", 0)])),
     "TestG100.mat: 1 problem: query 1: no box is in its gallery"),
    (lambda root: _write_test(root, ("p20", ("s3.jpg", None), [("s4.jpg", None)])),
     "entry 1 of TestG100: the query has no box"),
    (lambda root: _write_test(root, ("0", ("s3.jpg", 0), [("s4.jpg", None)])),
     "entry 1 of TestG100: '0' is not a person's name like p123"),
    (lambda root: _write_train(root, p0=[("s1.jpg", 0)]),
     "Train.mat: 1 problem: entry 1 of Train: 'p0' is not a person's name"),
    (lambda root: savemat(root / "annotation/Images.mat", {"Img": _structs(
        [{"imname": "s1.jpg", "box": _struct(idlocate=np.ones((1, 3)))}])}),
     "Images.mat: 1 problem: entry 1 of Img: a box of 3 numbers instead of 4"),
    (lambda root: savemat(root / "annotation/Images.mat", {"Img": _struct(imname="s1.jpg")}),
     "entry 1 of Img: no field of name box"),
    (lambda root: savemat(root / "annotation/Images.mat", {"Img": np.ones((1, 12))}),
     "12 problems: entry 1 of Img: a structure is expected; .*; and 2 more"),
    (lambda root: savemat(root / "annotation/Images.mat", {"Img": np.zeros((0, 1))}),
     "Img is empty: take the file from the dataset's release"),
    (lambda root: savemat(root / "annotation/Images.mat", {"Image": 1}),
     "Images.mat holds no variable Img"),
    (lambda root: (root / "annotation/test/train_test/TestG100.mat").unlink(),
     "TestG100.mat is missing"),
])
def test_broken_releases_are_one_sentence(root, tmp_path, capsys, damage, message):
    damage(root)
    assert main(["person_search", "--root", str(root), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert re.search(message, error), error
    assert not (tmp_path / "out").exists()


def test_the_first_of_two_persons_keeps_a_box(root):
    _write_train(root, p7=TRAIN["p7"], p12=TRAIN["p12"], p9=[("s2.jpg", 0)])
    scan = scan_person_search(root)
    assert scan.warnings[0] == ("Train.mat gives 1 boxes two identities, of which the first "
                                "is used: p7 and p9 in s2.jpg")
    assert [entry.person_id for entry in scan.splits["train"]] == [7, 12, 7, 12]


def test_a_single_entry_and_looser_nesting_are_read(root):
    """MATLAB gives 1 x 1 arrays where there is one of a thing, and cells may hold cells."""
    savemat(root / "annotation/test/train_test/Train.mat", {"Train": _cells([_cells([
        _struct(idname=_cells(["p7"]), nAppear=1, scene=_cells([_appearances([("s1.jpg", 0)])]))
    ])])})
    _write_test(root, QUERIES[0])
    scan = scan_person_search(root)
    assert [(entry.path, entry.person_id) for entry in scan.splits["train"]] == [
        (_path("s1.jpg", 0), 7)]
    assert [found.tolist() for found in scan.query_galleries] == [[0, 1, 2, 3, 4]]


def test_the_root_holds_images_and_annotation(root):
    assert len(scan_person_search(root.parent).splits["query"]) == 2
    with pytest.raises(UserError, match="holds no folder Image/SSM and no annotation/test/train"):
        scan_person_search(root / "Image")
