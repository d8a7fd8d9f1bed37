"""Embeddings of many images as Parquet shards, each of which appears when it is whole."""

from __future__ import annotations

import csv
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfrecords.errors import UserError
from tfrecords.files import file_checksum
from tfrecords.storage import as_path, local_file
from tfrecords.writing import whole_file, write_or_compare
from tfreid.serving import load_export
from tfreid.serving.client import exported_chosen_on, find_version
from tfreid.serving.formats.reader import graph_files, is_device_export
from tfreid.serving.image_lists import ImageList
from tfreid.serving.interface import RefusedImages, find_embedding

PLAN_NAME, REFUSED_NAME = "embeddings.json", "refused.csv"
_REFUSED_COLUMNS = ("key", "path", "reason")
_UNDECODABLE = "the model cannot decode it, or it has more pixels than export.max_pixels"
_READERS = 2


class EmbeddingJob(NamedTuple):
    """What one shard will hold: the name of its file, and its images."""

    file: str
    images: ImageList


class EmbeddingResult(NamedTuple):
    """How many images a shard holds, and how many were refused."""

    embedded: int
    refused: int


def require_pyarrow(what: str) -> None:
    """Raises a `UserError` that says what needs pyarrow, if it is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise UserError(f"{what} needs pyarrow ({error}); run `pip install "
                        "'tfreid[parquet]'`.") from None


def plan_embeddings(images: ImageList, shard_images: int) -> list[EmbeddingJob]:
    """Divides images into shards of `shard_images`, of which the last may have fewer."""
    starts = range(0, len(images), shard_images)
    return [EmbeddingJob(file, images.part(start, start + shard_images))
            for file, start in zip(shard_files(len(images), shard_images), starts)]


def shard_files(images: int, shard_images: int) -> list[str]:
    """Returns the names of the shards that `plan_embeddings` divides a number of images into."""
    count = len(range(0, images, shard_images))
    return [f"embeddings-{number:05d}-of-{count:05d}.parquet" for number in range(count)]


def start_plan(output: Path, model: str | Path, dtype: str, images: ImageList,
               shard_images: int) -> None:
    """Writes what the shards of a folder are made of, or compares it with what is there.

    Raises:
        UserError: If the folder has embeddings of another model or other images.
    """
    path, keys = output / PLAN_NAME, "\n".join(images.keys)
    plan = {"model": model_fingerprint(model), "dtype": dtype, "images": len(images),
            "images_per_shard": shard_images,
            "keys": hashlib.sha256(keys.encode("utf-8", "surrogateescape")).hexdigest()}
    chosen_on = exported_chosen_on(model)
    if chosen_on is not None:
        plan["weights_chosen_on"] = chosen_on
    other = write_or_compare(path, plan, "name another --output")
    if other:
        raise UserError(f"{output} has embeddings of other {' and '.join(other)}; name another "
                        "--output, or delete that folder.")


def model_fingerprint(model: str | Path) -> str:
    """Returns a hash of an export's graph and weights."""
    if is_device_export(model):
        files = graph_files(model)
    else:
        folder = find_version(model)
        files = [folder / "saved_model.pb", *sorted((folder / "variables").glob("variables.*"))]
    return hashlib.sha256("".join(map(file_checksum, files)).encode()).hexdigest()


def write_embeddings(job: EmbeddingJob, advance: Callable[[int], object], *, model: str,
                     output: str, dtype: str, batch_size: int) -> EmbeddingResult:
    """Embeds the images of a shard and writes it; those that cannot be read get a table.

    Args:
        job: The shard.
        advance: Called with the number of images after each batch.
        model: The export.
        output: An existing folder.
        dtype: `float32` or `float16`.
        batch_size: Images that go through the network together.

    Raises:
        UserError: If the model has no embedding, or records are damaged.
    """
    client, images = _client(model), job.images
    rows, kept, refused = [], [], []
    for places, read in _read_ahead(images, batch_size):
        readable = [place for place, (data, _) in zip(places, read) if data is not None]
        found = dict(zip(readable, embed_readable(client, [data for data, _ in read if data])))
        for place, (_, reason) in zip(places, read):
            if found.get(place) is None:
                refused.append((place, reason or _UNDECODABLE))
            else:
                kept.append(place)
                rows.append(found[place])
        advance(len(places))
    matrix = np.array(rows, np.float32).reshape(len(rows), _width(model))
    if refused:
        _write_refused(as_path(output) / _refused_part(job.file), images, refused)
    # Written last: a shard that is there is finished.
    _write_shard(as_path(output) / job.file, images, kept, matrix.astype(dtype))
    return EmbeddingResult(len(kept), len(refused))


def join_refused(output: Path) -> int:
    """Joins the tables of all shards into one, and returns its number of images."""
    path, parts = output / REFUSED_NAME, sorted(output.glob("refused-*.csv"))
    if parts:
        with whole_file(path) as temporary, open(
                temporary, "w", newline="", errors="surrogateescape") as stream:
            _table(stream).writerow(_REFUSED_COLUMNS)
            for part in parts:
                stream.write(part.read_bytes().decode(errors="surrogateescape"))
        for part in parts:
            part.unlink()
    if not path.exists():
        return 0
    with local_file(path) as local, open(local, newline="", errors="surrogateescape") as stream:
        return sum(1 for _ in csv.reader(stream)) - 1


# Loaded once in each process.
@functools.lru_cache(1)
def _client(model: str) -> Any:
    return load_export(model)


@functools.lru_cache(1)
def _width(model: str) -> int:
    features = _client(model).extract_images(np.zeros([1, 64, 32, 3], np.uint8))
    embedding = find_embedding(features)
    if embedding is None:
        raise UserError(f"{model} compares images and has no embedding of one; give the export of "
                        "another system than csn.")
    return embedding.shape[1]


def _read_ahead(images, batch_size) -> Iterator[tuple[range, list[tuple[bytes | None, str]]]]:
    """Yields the places of batches, and the files or why there is none; reads one batch ahead."""
    starts = range(0, len(images), batch_size)
    with ThreadPoolExecutor(_READERS) as pool:
        def submit(start):
            places = range(start, min(start + batch_size, len(images)))
            return places, [pool.submit(_read, images, place) for place in places]

        ahead = submit(0) if starts else None
        for start in [*starts[1:], None]:
            current, ahead = ahead, None if start is None else submit(start)
            if current is not None:
                yield current[0], [future.result() for future in current[1]]


def _read(images, place):
    try:
        return images.read(place), ""
    except UserError as error:
        if images.records is not None:
            raise
        return None, str(error)


def embed_readable(client: Any, files: Sequence[bytes]) -> list[np.ndarray | None]:
    """Returns the embedding of each image file, or None if it cannot be decoded.

    A batch with a bad file is halved until it is known which it is.
    """
    if not files:
        return []
    try:
        return list(find_embedding(client.extract(files)))
    except RefusedImages:
        if len(files) == 1:
            return [None]
    middle = len(files) // 2
    return embed_readable(client, files[:middle]) + embed_readable(client, files[middle:])


def _refused_part(file: str) -> str:
    return file.replace("embeddings-", "refused-").replace(".parquet", ".csv")


def _write_refused(path, images, refused) -> None:
    with whole_file(path) as temporary, open(
            temporary, "w", newline="", errors="surrogateescape") as stream:
        keys = images.keys
        _table(stream).writerows(
            (keys[place], images.paths[place], reason) for place, reason in refused)


def _table(stream):
    return csv.writer(stream, lineterminator="\n")


def _write_shard(path, images, kept, matrix) -> None:
    import pyarrow
    from pyarrow import parquet

    names = {"key": images.keys, "path": images.paths, "split": images.splits,
             "person_id": images.person_ids, "camera_id": images.camera_ids, "time": images.times}
    columns = {name: pyarrow.array([_utf8(column[place]) for place in kept], pyarrow.string())
               for name, column in names.items()}
    columns["embedding"] = pyarrow.FixedSizeListArray.from_arrays(
        pyarrow.array(matrix.ravel()), matrix.shape[1])
    with whole_file(path) as temporary:
        parquet.write_table(pyarrow.table(columns), temporary)


def _utf8(text):
    """Returns a text without the bytes of a file's name that are no UTF-8, which Parquet lacks."""
    return text and text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
