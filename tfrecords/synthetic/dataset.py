"""Writes a rendered dataset in the folders and file names of Market-1501."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import cv2
from tqdm import tqdm

from tfrecords.errors import UserError
from tfrecords.files import read_json
from tfrecords.pool import run_jobs
from tfrecords.synthetic.camera import camera_of
from tfrecords.synthetic.crop import DISTRACTOR, JUNK, STYLES, render_crop
from tfrecords.synthetic.streams import Stream, generator
from tfrecords.writing import write_json, write_whole

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
MANIFEST = "synthetic.json"
_UNFINISHED = "synthetic.unfinished.json"
# Increase it with every change of pixels, so that no folder mixes the images of two renderers.
_RENDERER = 1
_CHUNK = 64
_VARIED_QUALITY = 92
MOST_PEOPLE, MOST_CAMERAS = 1_000_000, 9  # of training, as many of testing; c1-c9 in a file name
_LARGEST = {"cameras": MOST_CAMERAS, "images_per_camera": 1000, "seed": 2**32 - 1}
_SMALLEST = {"train_identities": 1, "test_identities": 1, "cameras": 2, "images_per_camera": 2,
             "cameras_per_identity": 2}


@dataclasses.dataclass(frozen=True)
class SyntheticOptions:
    """What to render.

    Attributes:
        train_identities: Number of people in `bounding_box_train`.
        test_identities: Number of other people, in `query` and `bounding_box_test`.
        cameras: 2 to 9.
        images_per_camera: Crops of an identity by each camera that sees it, at least 2; the first
            crop of a test identity is a query and the others are gallery.
        cameras_per_identity: Number of cameras that see an identity, at least 2.
        distractors: Number of gallery images of people who match no query (identity 0000).
        junk: Number of gallery images of background and parts of bodies (identity -1).
        seed: Seed of people and cameras. The test identities do not depend on `train_identities`.
        style: One of `STYLES`: see `render_crop`.
    """

    train_identities: int = 150
    test_identities: int = 50
    cameras: int = 6
    images_per_camera: int = 3
    cameras_per_identity: int = 4
    distractors: int = 60
    junk: int = 30
    seed: int = 0
    style: str = "plain"


@dataclasses.dataclass(frozen=True)
class _Job:
    folder: str
    identity: int
    camera: int
    index: int


def render_dataset(root: Path, options: SyntheticOptions, workers: int = 1,
                   progress: bool = True) -> dict[str, int]:
    """Renders a dataset into `root`, or finishes one that was interrupted.

    Every image depends only on the seed, its identity, its camera and its index, so the number of
    workers changes nothing and a resumed dataset equals an uninterrupted one.

    Args:
        root: A folder that is absent, empty, or was rendered with the same options.
        options: What to render.
        workers: Number of processes; 1 renders in this one. With more a script must call
            under `if __name__ == "__main__"`.
        progress: Whether to show a progress bar.

    Returns:
        The number of images in each folder.

    Raises:
        UserError: An option is out of range, `root` holds something else, or a process died.
    """
    _check_options(options, workers)
    root = Path(root)
    _claim(root, options)
    jobs = list(_jobs(options))
    names = {(job.folder, _file_name(options.seed, job)) for job in jobs}
    present = _present(root, names)
    missing = [job for job in jobs
               if (job.folder, _file_name(options.seed, job)) not in present]
    with tqdm(total=len(jobs), initial=len(jobs) - len(missing), desc="rendering", unit="img",
              disable=not progress) as bar:
        chunks = [missing[start:start + _CHUNK] for start in range(0, len(missing), _CHUNK)]
        render = functools.partial(_render_chunk, root=root, seed=options.seed,
                                   style=options.style)
        with closing(run_jobs(render, chunks, workers, bar.update)) as rendered:
            for _ in rendered:
                pass
    counts = {folder: sum(job.folder == folder for job in jobs)
              for folder in (TRAIN, QUERY, GALLERY)}
    write_json(root / MANIFEST, {**_signature(options), "images": counts})
    (root / _UNFINISHED).unlink(missing_ok=True)
    return counts


def _check_options(options: SyntheticOptions, workers: int) -> None:
    if options.style not in STYLES:
        raise UserError(f"style must be one of {', '.join(STYLES)}, not {options.style!r}.")
    for field in dataclasses.fields(options):
        if field.name == "style":
            continue
        value = getattr(options, field.name)
        low, high = _SMALLEST.get(field.name, 0), _LARGEST.get(field.name, MOST_PEOPLE)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise UserError(f"{field.name} must be a whole number from {low} to {high}, "
                            f"not {value!r}.")
    if options.cameras_per_identity > options.cameras:
        raise UserError(f"cameras_per_identity ({options.cameras_per_identity}) must not exceed "
                        f"cameras ({options.cameras}).")
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise UserError(f"workers must be a whole number of at least 1, not {workers!r}.")


def _signature(options: SyntheticOptions) -> dict:
    return {"renderer": _RENDERER, "options": _stored(options)}


def _stored(options: SyntheticOptions) -> dict:
    """Returns the options that a manifest names: folders are older than the style."""
    stored = dataclasses.asdict(options)
    if options.style == SyntheticOptions.style:
        del stored["style"]
    return stored


def _claim(root: Path, options: SyntheticOptions) -> None:
    """Creates the folders; refuses a root made by other options or another program."""
    if root.exists() and not root.is_dir():
        raise UserError(f"{root} is a file; name a folder for the rendered images.")
    marker = next((root / name for name in (MANIFEST, _UNFINISHED) if (root / name).exists()), None)
    if marker is not None:
        _compare(marker, options)
    elif root.is_dir() and any(root.iterdir()):
        raise UserError(f"{root} is not empty and holds no {MANIFEST}; name an empty folder.")
    try:
        for folder in (TRAIN, QUERY, GALLERY):
            (root / folder).mkdir(parents=True, exist_ok=True)
        if marker is None:
            write_json(root / _UNFINISHED, _signature(options))
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"{error.filename} cannot be made ({error.strerror}); name a folder that "
                        "can be written.") from None


def _compare(marker: Path, options: SyntheticOptions) -> None:
    try:
        stored = read_json(marker, "remove its folder or name another one")
        made_with, renderer = stored["options"], stored["renderer"]
        made_with = {"style": SyntheticOptions.style, **made_with}
        wanted = dataclasses.asdict(options)
        different = [f"{name} {made_with.get(name)!r} instead of {value!r}"
                     for name, value in wanted.items() if made_with.get(name) != value]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{marker} is broken (not the options of a rendered dataset); remove "
                        "its folder or name another one.") from None
    if renderer != _RENDERER:
        different.append(f"renderer version {renderer!r} instead of {_RENDERER}")
    if different:
        raise UserError(f"{marker.parent} was rendered with {', '.join(different)}; name another "
                        "folder or the same options.")


def _jobs(options: SyntheticOptions) -> Iterator[_Job]:
    people = options.test_identities + options.train_identities
    for identity in range(1, people + 1):
        tested = identity <= options.test_identities
        for camera in _route(options, identity):
            for index in range(options.images_per_camera):
                folder = (QUERY if index == 0 else GALLERY) if tested else TRAIN
                yield _Job(folder, identity, camera, index)
    for identity, count in ((DISTRACTOR, options.distractors), (JUNK, options.junk)):
        for index in range(count):
            yield _Job(GALLERY, identity, index % options.cameras + 1, index)


def _route(options: SyntheticOptions, identity: int) -> list[int]:
    """Returns the cameras that see the identity, in ascending order."""
    rng = generator(options.seed, Stream.ROUTE, identity, options.cameras)
    return sorted(int(camera) + 1
                  for camera in rng.permutation(options.cameras)[:options.cameras_per_identity])


def _file_name(seed: int, job: _Job) -> str:
    track, step = (0, job.index) if job.identity > 0 else (job.index, 0)
    sequence, frame = _appearance(seed, job.identity, job.camera, track)
    # Distractors and junk carry their index as the frame, or their names would collide.
    frame = frame + 25 * step if job.identity > 0 else job.index
    person = "-1" if job.identity == JUNK else f"{job.identity:04d}"
    return f"{person}_c{job.camera}s{sequence}_{frame:06d}_{job.index % 5:02d}.jpg"


@functools.lru_cache(maxsize=4096)
def _appearance(seed: int, identity: int, camera: int, track: int) -> tuple[int, int]:
    """Returns the sequence and the first frame of one walk past one camera."""
    rng = generator(seed, Stream.ROUTE, identity + 1, camera, track + 1)
    return int(rng.integers(1, 7)), int(rng.integers(100, 90_000))


def _present(root: Path, names: set[tuple[str, str]]) -> set[tuple[str, str]]:
    found = {(folder, path.name) for folder in (TRAIN, QUERY, GALLERY)
             for path in (root / folder).glob("*.jpg")}
    strays = sorted(found - names)
    if strays:
        raise UserError(f"{root / strays[0][0] / strays[0][1]} does not belong to this dataset; "
                        "remove it or name another folder.")
    return found


def _render_chunk(jobs: Sequence[_Job], advance: Callable[[int], object], *, root: Path,
                  seed: int, style: str) -> None:
    for job in jobs:
        crop = render_crop(seed, job.identity, job.camera, job.index, style)
        # A varied crop was compressed before, by its camera.
        quality = camera_of(seed, job.camera).quality if style == "plain" else _VARIED_QUALITY
        _, encoded = cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        write_whole(root / job.folder / _file_name(seed, job), encoded.tobytes())
        advance(1)


