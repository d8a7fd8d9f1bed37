"""Folders of people: which folders are people, cameras or splits, and the images in them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tfrecords.errors import UserError
from tfrecords.scan import list_folders, list_images, name_some

_CAMERA = re.compile(r"(?:c|cam|camera|view)s?[ _.-]*0*(\d{1,9})|(?:cam|camera)[ _.-]*([a-z])",
                     re.IGNORECASE)
_CAMERA_IN_NAME = re.compile(r"_c\d")
# A folder of the layout -> its builder.
_BUILDERS = {
    "bounding_box_train": "market1501", "bounding_box_test": "market1501", "bbox_train": "mars",
    "mask_train_v2": "msmt17", "cam_a": "viper", "campus": "cuhk01",
    "images_detected": "cuhk03", "images_labeled": "cuhk03", "cuhk03_release": "cuhk03",
}
_LISTS = {"list_train.txt": "msmt17"}
# What folders of splits are called, without plurals and separators.
_TRAIN, _QUERY, _GALLERY = ("trainall", "trainval", "train", "training"), ("query", "probe"), (
    "gallery",)
_OTHER_SPLITS = ("val", "valid", "validation", "test", "testing", "multiquery", "distractor",
                 "boundingboxtrain", "boundingboxtest", "bboxtrain", "bboxtest", "gtbbox",
                 "gtquery", "masktrainv2", "masktestv2")
_JUNK = "-1"
# Searches paths in a process of its own, because a pattern such as ^(a+)+$ may take years.
_SEARCH = """\
import json, re, sys
pattern, paths = json.load(sys.stdin)
try:
    regex = re.compile(pattern)
    if regex.groups != 1:
        answer = f"must have one group for the camera number, but has {regex.groups}"
    else:
        answer = [match and match.group(1) for match in map(regex.search, paths)]
except Exception as error:
    answer = f"is not a regular expression ({str(error) or type(error).__name__})"
json.dump(answer, sys.stdout)
"""
_SEARCH_SECONDS, _PATHS_PER_SECOND = 10, 10_000


class FolderImage(NamedTuple):
    """An image of a person: its path relative to the root, and its camera, None if unknown."""

    path: str
    camera: str | None


def find_splits(root: Path) -> dict[str, str]:
    """Returns the folders of train, query and gallery; an empty dict if none are called so.

    Raises:
        UserError: If the root has the layout of a published dataset, folders of other splits, or
            cameras where people are expected.
    """
    folders = list_folders(root)
    known = {builder for name, builder in _BUILDERS.items() if name in folders}
    known |= {builder for name, builder in _LISTS.items() if (root / name).is_file()}
    if known:
        builder = " or ".join(sorted(known))
        also = " (dukemtmc if it is DukeMTMC-reID)" if builder == "market1501" else ""
        raise UserError(f"{root} is laid out as the builder {builder} expects, not one folder per "
                        f"person: run `tfreid build {builder} --root {root}`{also}.")
    by_key = {_key(name): name for name in folders}
    splits = {split: next((by_key[key] for key in keys if key in by_key), None)
              for split, keys in (("train", _TRAIN), ("query", _QUERY), ("gallery", _GALLERY))}
    called = [name for name in folders
              if _key(name) in (*_TRAIN, *_QUERY, *_GALLERY, *_OTHER_SPLITS)]
    if called and None in splits.values():
        raise UserError(
            f"{root} holds folders called like splits ({name_some(called)}) where one folder per "
            "person is expected: arrange them as train/PERSON, query/PERSON and gallery/PERSON, "
            "put all people's folders into one folder to draw the splits, or write a table for "
            "`tfreid build csv`.")
    cameras = [name for name in folders if _CAMERA.fullmatch(name)]
    if cameras and not called:
        raise UserError(f"{root} holds folders called like cameras ({name_some(cameras)}) where "
                        "one folder per person is expected: arrange them as PERSON/CAMERA, write a "
                        "table for `tfreid build csv`, or rename the folders if they are people.")
    return splits if called else {}


class PeopleFolders:
    """Reads folders of people, and counts what it passes over.

    Args:
        root: The folder that paths are relative to.
        camera_pattern: Regular expression whose one group is the camera number.

    Attributes:
        dropped: Number of files and folders left out for each reason.
    """

    def __init__(self, root: Path, camera_pattern: str | None):
        self._root, self._pattern = root, camera_pattern
        self.dropped: Counter[str] = Counter()
        self._passed_over: list[str] = []
        self._stray: list[str] = []
        self._hidden_cameras: set[str] = set()

    def read(self, folder: str = "") -> dict[str, list[FolderImage]]:
        """Returns the images of each person whose folder is in a folder of the root.

        Raises:
            UserError: If there are none, or a file's camera is not found.
        """
        place, above = self._root / folder, f"{folder}/" if folder else ""
        stray, _ = list_images(place)
        self._stray += [above + name for name in stray]
        people = {}
        for person in list_folders(place):
            images = self._list(f"{above}{person}")
            if person == _JUNK:
                self.dropped["junk"] += len(images)
            elif images:
                people[person] = images
        if not people and stray:
            raise UserError(
                f"{place} holds {len(stray)} images and no folders of people: if their names are "
                "like 0002_c1s1_000451_03.jpg, call the folders bounding_box_train, query and "
                "bounding_box_test and run `tfreid build market1501`; otherwise make one folder "
                "per person, or write a table for `tfreid build csv`.")
        if not people:
            raise UserError(f"{place} holds no folders with JPEG or PNG files: --root must name a "
                            "folder that has one folder per person.")
        return self._with_cameras(people) if self._pattern else people

    def pass_over(self, folders: Iterable[str]) -> None:
        """Counts folders that are not read."""
        self._passed_over += folders

    def finish(self) -> list[str]:
        """Completes `dropped` and returns the warnings."""
        warnings = []
        if self._passed_over:
            self.dropped["passed_over_folders"] = len(self._passed_over)
            warnings.append(f"{self._root}: {len(self._passed_over)} folders are passed over, "
                            f"because they hold no image of a person: "
                            f"{name_some(self._passed_over)}")
        if self._stray:
            self.dropped["image_without_person"] = len(self._stray)
            warnings.append(f"{self._root}: {len(self._stray)} images lie in no person's folder "
                            f"and are left out: {name_some(self._stray)}")
        if len(self._hidden_cameras) > 1:
            warnings.append(
                f"{self._root}: file names seem to tell the camera ("
                f"{name_some(sorted(self._hidden_cameras))}), which is unknown without "
                "--camera-pattern '_c(\\d+)': matches in the query's own camera count")
        return warnings

    def _list(self, person: str) -> list[FolderImage]:
        """Returns the images in a person's folder and in the cameras' folders inside it."""
        names, others = list_images(self._root / person)
        images = [FolderImage(f"{person}/{name}", None) for name in names]
        inner = list_folders(self._root / person)
        for name in inner:
            camera = _CAMERA.fullmatch(name)
            found, more = list_images(self._root / person / name)
            others += more
            self._passed_over += [f"{person}/{name}/{deeper}"
                                  for deeper in list_folders(self._root / person / name)]
            if not found:
                self._passed_over.append(f"{person}/{name}")
            elif not camera and not self._pattern:
                raise UserError(
                    f"{self._root / person / name} holds {len(found)} images but is not called "
                    "like a camera: call the folders inside people's folders cam1, cam2 ..., find "
                    "the camera number in their names with --camera-pattern, such as '^(\\d+)/', "
                    "or move the images up; if they are people, --root must name the folder above "
                    "them.")
            images += [FolderImage(f"{person}/{name}/{file}",
                                   camera and (camera[1] or name.casefold())) for file in found]
        if not images and not inner:
            self._passed_over.append(person)
        self.dropped["not_an_image"] += others
        self._hidden_cameras.update(
            match[0] for image in images if image.camera is None and not self._pattern
            for match in _CAMERA_IN_NAME.finditer(image.path.rpartition("/")[2]))
        return images

    def _with_cameras(
        self, people: dict[str, list[FolderImage]]
    ) -> dict[str, list[FolderImage]]:
        """Finds the cameras by the pattern."""
        paths = [image.path for images in people.values() for image in images]
        # Below the person's folder.
        starts = [len(person) + f"/{image.path}".index(f"/{person}/") + 1
                  for person, images in people.items() for image in images]
        cameras = dict(zip(paths, _search(self._pattern, [
            path[start:] for path, start in zip(paths, starts)])))
        strangers = [path for path, camera in cameras.items() if camera is None
                     or not (camera.isascii() and camera.isdecimal() and len(camera) <= 18)]
        if strangers:
            raise UserError(f"--camera-pattern finds no camera number in {len(strangers)} file "
                            f"names ({name_some(strangers)}): fix the pattern or rename the files.")
        return {person: [FolderImage(image.path, str(int(cameras[image.path])))
                         for image in images] for person, images in people.items()}


def _search(pattern: str, paths: list[str]) -> list[str | None]:
    """Returns the group that a pattern finds in each path, or None.

    Raises:
        UserError: If the pattern is invalid, or takes too long.
    """
    seconds = _SEARCH_SECONDS + len(paths) // _PATHS_PER_SECOND
    try:
        done = subprocess.run([sys.executable, "-I", "-S", "-c", _SEARCH], check=True,
                              input=json.dumps([pattern, paths]), capture_output=True, text=True,
                              timeout=seconds)
        found = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise UserError(f"--camera-pattern {pattern!r} takes more than {seconds} seconds for "
                        f"{len(paths)} files: repeats inside repeats, such as (a+)+, can take "
                        "years; write it without them.") from None
    if isinstance(found, str):
        raise UserError(f"--camera-pattern {pattern!r} {found}.")
    return found


def _key(name: str) -> str:
    """Returns the name of a split without capitals, separators and plural."""
    plain = re.sub(r"[\s_.-]", "", name.casefold())
    return re.sub(r"ies$", "y", plain) if plain.endswith("ies") else plain.rstrip("s")
