"""The manifest of a folder of records, and the checks that readers make with it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError
from tfrecords.files import file_checksum, read_json
from tfrecords.schema import SCHEMA_VERSION
from tfrecords.storage import AnyPath, as_path, is_file
from tfrecords.writing import write_json

MANIFEST_NAME = "manifest.json"
STORED_SPLIT = "images"
_REBUILD = "build the records again with `tfreid build`"


@dataclass(frozen=True)
class Shard:
    """One record file: its name, images, size in bytes and CRC-32 (zlib's, 8 hex digits)."""

    file: str
    images: int
    bytes: int
    checksum: str


@dataclass(frozen=True)
class SplitEntry:
    """The counts of one split; `images` includes `distractors`, images of no identity."""

    images: int
    identities: int
    cameras: int
    distractors: int
    shards: tuple[Shard, ...]


@dataclass(frozen=True)
class QueryGalleries:
    """The file that lists the gallery images that each query ranks, and its CRC-32."""

    file: str
    checksum: str


@dataclass(frozen=True)
class Manifest:
    """All that a reader must know about a folder of records.

    Attributes:
        identity_splits: If the protocol draws identities, for each drawing the sorted person ids of
            `train`, `test` and, if there is one, `val`; the only split is then `images`.
        query_galleries: None if every query ranks the whole gallery.
    """

    schema_version: int
    dataset: str
    options: dict[str, Any]
    splits: dict[str, SplitEntry]
    dropped: dict[str, int]
    identity_splits: list[dict[str, list[int]]] = field(default_factory=list)
    query_galleries: QueryGalleries | None = None


def read_manifest(directory: str | os.PathLike) -> Manifest:
    """Reads `manifest.json` of a records folder.

    Raises:
        UserError: If it is missing, broken, of another schema version, or contradicts itself.
    """
    path = as_path(directory) / MANIFEST_NAME
    if not path.is_file():
        raise UserError(f"{directory} holds no {MANIFEST_NAME}: name a folder of records, or "
                        f"{_REBUILD} (an unfinished build has no manifest yet).")
    content = read_json(path, _REBUILD)
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UserError(f"{path} has schema version {version!r} but this code reads "
                        f"{SCHEMA_VERSION}: {_REBUILD}.")
    try:
        manifest = _from_json(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is broken ({type(error).__name__}: {error}): {_REBUILD}."
                        ) from error
    for name, split in manifest.splits.items():
        total = sum(shard.images for shard in split.shards)
        if total != split.images:
            raise UserError(f"{path} says {split.images} images in split {name} but its shards "
                            f"hold {total}: {_REBUILD}.")
    return manifest


def write_manifest(directory: str | os.PathLike, manifest: Manifest) -> AnyPath:
    """Writes `manifest.json` in one step, so that a reader sees all of it or nothing."""
    path = as_path(directory) / MANIFEST_NAME
    content = asdict(manifest)
    if manifest.query_galleries is None:
        del content["query_galleries"]
    write_json(path, content)
    return path


def shard_paths(
    directory: str | os.PathLike, manifest: Manifest, split: str, verify: str = "size"
) -> list[AnyPath]:
    """Lists the record files of a split in order, after checking them against the manifest.

    Args:
        directory: The records folder.
        manifest: The folder's manifest.
        split: Name of the split, such as "train", "query" or "gallery".
        verify: "size" compares the sizes in bytes, "checksum" also reads every byte.

    Raises:
        UserError: If the split does not exist, or a shard is missing or differs.
        ValueError: If `verify` is neither "size" nor "checksum".
    """
    if verify not in ("size", "checksum"):
        raise ValueError(f"`verify` must be 'size' or 'checksum'. Received: {verify!r}")
    if split not in manifest.splits:
        raise UserError(f"{directory} holds no split {split!r}; it has "
                        f"{', '.join(manifest.splits)}.")
    shards = manifest.splits[split].shards
    for shard in shards:
        problem = shard_problem(directory, shard, verify)
        if problem:
            raise UserError(f"{as_path(directory) / shard.file} {problem}: {_REBUILD}, which makes "
                            "only the missing shards.")
    return [as_path(directory) / shard.file for shard in shards]


def shard_problem(directory: str | os.PathLike, shard: Shard, verify: str) -> str | None:
    """Describes what is wrong with a shard on disk; None if it is complete."""
    path = as_path(directory) / shard.file
    if not is_file(path):
        return "is missing"
    size = path.stat().st_size
    if size != shard.bytes:
        return f"has {size} bytes where {shard.bytes} are expected"
    if verify == "checksum" and file_checksum(path) != shard.checksum:
        return "has another checksum than expected"
    return None


def shard_from_json(content: dict[str, Any]) -> Shard:
    """Converts a JSON object to a shard; raises KeyError, TypeError or ValueError if malformed."""
    shard = Shard(content["file"], content["images"], content["bytes"], content["checksum"])
    if not all(isinstance(text, str) for text in (shard.file, shard.checksum)):
        raise TypeError("a shard's file and checksum must be strings")
    for count in (shard.images, shard.bytes):
        _count(count)
    _check_inside(shard.file)
    return shard


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{str(value)[:40]!r} is not a whole number from 0")
    return value


def _check_inside(file: str) -> None:
    if Path(file).name != file or file in ("", "..") or "\0" in file or len(file) > 255:
        raise ValueError(f"{file[:80]!r} lies outside the folder or is no file's name")


def _from_json(content: dict[str, Any]) -> Manifest:
    splits = {}
    for name, split in content["splits"].items():
        counts = {key: _count(split[key])
                  for key in ("images", "identities", "cameras", "distractors")}
        splits[name] = SplitEntry(shards=tuple(map(shard_from_json, split["shards"])), **counts)
    dataset, options = content["dataset"], content["options"]
    if not splits:
        raise ValueError("it has no splits")
    if not isinstance(dataset, str) or not isinstance(options, dict):
        raise TypeError("dataset must be a string and options an object")
    return Manifest(
        schema_version=SCHEMA_VERSION,
        dataset=dataset,
        options=options,
        splits=splits,
        dropped={reason: _count(count) for reason, count in content["dropped"].items()},
        identity_splits=_identity_splits(content.get("identity_splits", []), splits),
        query_galleries=_query_galleries(content.get("query_galleries"), splits),
    )


def _query_galleries(content: Any, splits: dict[str, SplitEntry]) -> QueryGalleries | None:
    """Converts the entry of the queries' galleries; raises as `shard_from_json`."""
    if content is None:
        return None
    if not {"query", "gallery"} <= splits.keys():
        raise ValueError("queries' galleries need the splits query and gallery")
    found = QueryGalleries(content["file"], content["checksum"])
    if not all(isinstance(text, str) for text in (found.file, found.checksum)):
        raise TypeError("file and checksum of the queries' galleries must be strings")
    _check_inside(found.file)
    return found


def _identity_splits(content: Any, splits: dict[str, SplitEntry]) -> list[dict[str, list[int]]]:
    """Converts the identity splits; raises as `shard_from_json`."""
    found = [{name: sorted(map(_count, people)) for name, people in split.items()}
             for split in content]
    if found and list(splits) != [STORED_SPLIT]:
        raise ValueError(f"identity splits need the one split {STORED_SPLIT}")
    for split in found:
        people = [*split["train"], *split.get("val", ()), *split["test"]]
        if len(set(people)) != len(people):
            raise ValueError("an identity split names a person twice")
        if not split["train"] or not split["test"] or split.keys() - {"train", "val", "test"}:
            raise ValueError("an identity split is not made of train, val and test")
    return found
