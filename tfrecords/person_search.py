"""Person Search (CUHK-SYSU): boxes of people in scenes; every query has its own gallery."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np

from tfrecords.datasets import Dataset
from tfrecords.layout import Counts, compare_with_protocol, find_root, refuse_problems
from tfrecords.person_search_annotations import (
    Person,
    Query,
    Sighting,
    read_queries,
    read_scenes,
    read_training,
)
from tfrecords.scan import ImageEntry, Scan, list_images, name_some
from tfrecords.scenes import Box, SceneSource, box_path, clip_box

LAYOUT = """\
ROOT/                 the folder that holds Image and annotation
    Image/SSM/        s1.jpg ...: 18,184 scenes
    annotation/       Images.mat: all boxes of every scene
        test/train_test/    Train.mat, TestG50.mat, TestG100.mat, TestG500.mat ...
Protocol: train 15,080 boxes of 5,532 identities in 11,206 scenes; 2,900 queries, one an identity,
in the other 6,978 scenes. Each query ranks the boxes of the scenes that TestG100.mat (or another,
by --gallery-size) lists for it; split gallery holds the boxes of all these scenes once, and
query_galleries.npz says which are whose. Boxes are those of the annotation, not a detector's; boxes
of nobody who is queried are distractors (person 0). A person's number is that of its name: p123.
There are no cameras. Boxes are cut out of the scenes and stored as PNG, without loss."""
DISTRACTOR = 0
GALLERY_SIZES = (50, 100, 500, 1000, 2000, 4000)
_IMAGES = "Image/SSM"
_ANNOTATION = "annotation"
_LISTS = f"{_ANNOTATION}/test/train_test"
_PROTOCOL = {"train": Counts(15080, 5532), "query": Counts(2900, 2900)}
_EMPTY, _REPEATED = "empty_box", "repeated_box"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds Person Search's own flag."""
    parser.add_argument(
        "--gallery-size", type=int, choices=GALLERY_SIZES,
        help="number of scenes in which a query is searched, as listed in TestGNUMBER.mat; papers "
             "report 100; larger galleries are harder, and reading one takes 3 MB of memory per "
             "scene, 13 GB for 4000 (default: %(default)s)")


def scan_person_search(root: str | os.PathLike, *, gallery_size: int = 100) -> Scan:
    """Lists the boxes of CUHK-SYSU (Xiao et al., "Joint Detection and Identification ...", 2017).

    A query's own scene is not in its gallery. Boxes that extend beyond their scene are clipped;
    boxes outside it and repeated boxes of a scene are dropped.

    Args:
        root: The folder that holds `Image` and `annotation`.
        gallery_size: Number of scenes in the release's list of galleries to use.

    Raises:
        UserError: If a folder or file is missing or damaged, or entries contradict Images.mat or
            name missing scenes.
    """
    if gallery_size not in GALLERY_SIZES:
        raise ValueError(f"`gallery_size` must be one of {GALLERY_SIZES}. Received: "
                         f"{gallery_size!r}")
    root = find_root(root, [_IMAGES, _LISTS], "CUHK-SYSU")
    scenes = _Scenes(root, read_scenes(root / _ANNOTATION / "Images.mat"))
    people_file = root / _LISTS / "Train.mat"
    people = read_training(people_file)
    refuse_problems(people_file, list(_training_problems(people, scenes)))
    queries_file = root / _LISTS / f"TestG{gallery_size}.mat"
    queries = read_queries(queries_file)
    refuse_problems(queries_file, list(_query_problems(queries, scenes)))
    warnings: list[str] = []
    gallery, places = _list_gallery(scenes, queries, _owners(
        queries_file.name, ((query.id, seen) for query in queries
                            for seen in (query.own, *query.sightings)), warnings))
    galleries = [_positions(query, scenes, places) for query in queries]
    refuse_problems(queries_file, [f"query {number}: no box is in its gallery"
                                   for number, found in enumerate(galleries, start=1)
                                   if not len(found)])
    splits = {
        "train": _list_training(scenes, _owners(
            people_file.name, ((person.id, seen) for person in people
                               for seen in person.sightings), warnings)),
        "query": [scenes.entry(query.own, query.id) for query in queries],
        "gallery": gallery,
    }
    return Scan(
        root,
        splits,
        dict(+scenes.dropped),
        {"gallery_size": gallery_size},
        warnings + compare_with_protocol("Person Search", splits, _PROTOCOL),
        DISTRACTOR,
        SceneSource(str(root)),
        query_galleries=galleries,
    )


class _Scenes:
    """The scenes of a release.

    Attributes:
        boxes: The annotated boxes of each scene.
        order: Number of each scene in the annotation.
        there: Names of the image files.
        dropped: Number of boxes left out for each reason.
    """

    def __init__(self, root: Path, boxes: dict[str, list[Box]]):
        self.boxes = boxes
        self.order = {scene: number for number, scene in enumerate(boxes)}
        self.there = set(list_images(root / _IMAGES)[0])
        self.dropped: Counter[str] = Counter()
        self._source = SceneSource(str(root))
        self._sizes: dict[str, tuple[int, int] | None] = {}

    def entry(self, sighting: Sighting, person: int) -> ImageEntry:
        """Returns the record's entry of a person's box."""
        return ImageEntry(box_path(f"{_IMAGES}/{sighting.scene}", sighting.box), person)

    def is_empty(self, sighting: Sighting) -> bool:
        """Returns whether a box lies outside its scene; broken scenes are left to the writer."""
        scene, box = sighting
        if scene not in self._sizes:
            self._sizes[scene] = self._source.scene_size(f"{_IMAGES}/{scene}")
        size = self._sizes[scene]
        return min(box[2:]) <= 0 or (size is not None and clip_box(box, *size) is None)

    def problem(self, scene: str) -> str | None:
        """Describes why a scene cannot be used, or returns None."""
        if scene not in self.boxes:
            return f"scene {scene} is not in Images.mat"
        return None if scene in self.there else f"scene {scene} is not in {_IMAGES}"

    def problem_of(self, sighting: Sighting) -> str | None:
        """Describes why a person's box cannot be used, or returns None."""
        problem = self.problem(sighting.scene)
        if problem is None and sighting.box not in self.boxes[sighting.scene]:
            return f"box {sighting.box} is not in scene {sighting.scene} of Images.mat"
        return problem


def _training_problems(people: Iterable[Person], scenes: _Scenes) -> Iterator[str]:
    for person in people:
        for sighting in person.sightings:
            problem = scenes.problem_of(sighting)
            if problem:
                yield f"person p{person.id}: {problem}"


def _query_problems(queries: Iterable[Query], scenes: _Scenes) -> Iterator[str]:
    usable = scenes.boxes.keys() & scenes.there
    for number, query in enumerate(queries, start=1):
        problems = [scenes.problem(scene) for scene in dict.fromkeys(query.gallery)
                    if scene not in usable]
        problems += [scenes.problem_of(seen) for seen in (query.own, *query.sightings)]
        if not any(problems) and scenes.is_empty(query.own):
            problems = [f"its box {query.own.box} lies outside scene {query.own.scene}"]
        yield from (f"query {number} (p{query.id}): {problem}"
                    for problem in dict.fromkeys(problems) if problem)


def _owners(
    file: str, sightings: Iterable[tuple[int, Sighting]], warnings: list[str]
) -> dict[Sighting, int]:
    """Maps boxes to person ids; of two identities in one box the first wins, with a warning."""
    owners: dict[Sighting, int] = {}
    contested = []
    for person, sighting in sightings:
        owner = owners.setdefault(sighting, person)
        if owner != person:
            contested.append(f"p{owner} and p{person} in {sighting.scene}")
    if contested:
        warnings.append(f"{file} gives {len(contested)} boxes two identities, of which the first "
                        f"is used: {name_some(contested)}")
    return owners


def _list_training(scenes: _Scenes, owners: dict[Sighting, int]) -> list[ImageEntry]:
    """Lists the boxes scene by scene, so that each scene is decoded once."""
    kept = [sighting for sighting in owners if not scenes.is_empty(sighting)]
    scenes.dropped[_EMPTY] += len(owners) - len(kept)
    kept.sort(key=lambda sighting: scenes.order[sighting.scene])
    return [scenes.entry(sighting, owners[sighting]) for sighting in kept]


def _list_gallery(
    scenes: _Scenes, queries: Collection[Query], owners: dict[Sighting, int]
) -> tuple[list[ImageEntry], dict[str, range]]:
    """Lists the boxes of all searched scenes, and each scene's range of positions."""
    entries: list[ImageEntry] = []
    places: dict[str, range] = {}
    searched = {scene for query in queries for scene in query.gallery if scene != query.own.scene}
    for scene in sorted(searched, key=scenes.order.__getitem__):
        start = len(entries)
        sightings = [Sighting(scene, box) for box in dict.fromkeys(scenes.boxes[scene])]
        kept = [sighting for sighting in sightings if not scenes.is_empty(sighting)]
        entries += [scenes.entry(sighting, owners.get(sighting, DISTRACTOR)) for sighting in kept]
        places[scene] = range(start, len(entries))
        scenes.dropped[_EMPTY] += len(sightings) - len(kept)
        scenes.dropped[_REPEATED] += len(scenes.boxes[scene]) - len(sightings)
    return entries, places


def _positions(query: Query, scenes: _Scenes, places: dict[str, range]) -> np.ndarray:
    """Returns the positions of a query's gallery, int64 and increasing."""
    searched = sorted(set(query.gallery) - {query.own.scene}, key=scenes.order.__getitem__)
    positions = [np.arange(places[scene].start, places[scene].stop) for scene in searched]
    return np.concatenate([np.zeros(0, np.int64), *positions])


DATASET = Dataset(
    scan_person_search,
    "Person Search (CUHK-SYSU), boxes cut out of scenes, a gallery for each query",
    LAYOUT,
    add_options,
)
