"""The progress of a build, from which an interrupted one is resumed."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError
from tfrecords.files import read_json
from tfrecords.manifest import MANIFEST_NAME, Shard, shard_from_json, shard_problem
from tfrecords.schema import SCHEMA_VERSION
from tfrecords.storage import as_path
from tfrecords.writer import ShardJob, ShardResult
from tfrecords.writing import check_name, write_json

PROGRESS_NAME = "build-state.json"
_FIX = "name an empty --output folder, or delete this one"


@dataclass
class FinishedShard:
    """A shard on disk, its job's fingerprint, and [path, reason] of each corrupt image."""

    shard: Shard
    fingerprint: str
    corrupt: list[list[str]]


@dataclass
class Progress:
    """The build that a folder holds and its finished shards."""

    directory: Path
    dataset: str
    options: dict[str, Any]
    shards: dict[str, FinishedShard] = field(default_factory=dict)

    def save(self) -> None:
        """Writes the file in one step."""
        write_json(self.directory / PROGRESS_NAME, {
            "schema_version": SCHEMA_VERSION,
            "dataset": self.dataset,
            "options": self.options,
            "shards": {file: asdict(shard) for file, shard in self.shards.items()},
        })

    def add(self, job: ShardJob, result: ShardResult) -> None:
        """Adds a finished shard and saves."""
        self.shards[job.file] = FinishedShard(
            result.shard, job.fingerprint, [list(pair) for pair in result.corrupt])
        self.save()

    def is_finished(self, job: ShardJob) -> bool:
        """Returns whether the job's shard is on disk, complete and made from the same images."""
        done = self.shards.get(job.file)
        return (done is not None and done.fingerprint == job.fingerprint
                and shard_problem(self.directory, done.shard, "checksum") is None)


def open_progress(
    directory: Path, dataset: str, options: dict[str, Any], jobs: list[ShardJob]
) -> Progress:
    """Reads the progress of a folder's build, or starts a new one.

    Raises:
        UserError: If the folder holds another build: of another dataset, with other options, or
            finished from other images.
    """
    options = json.loads(json.dumps(options))
    if not (directory / PROGRESS_NAME).is_file():
        if (directory / MANIFEST_NAME).exists() or any(directory.glob("*.tfrecord")):
            raise UserError(f"{directory} holds records but no {PROGRESS_NAME}: {_FIX}.")
        return Progress(directory, dataset, options)
    progress = _read(directory)
    if progress.dataset != dataset:
        raise UserError(
            f"{directory} holds a build of {progress.dataset}, not of {dataset}: {_FIX}.")
    different = [name for name in {**progress.options, **options}
                 if progress.options.get(name) != options.get(name)]
    if different:
        raise UserError(f"{directory} holds a build of {dataset} with another "
                        f"{', '.join(different)}: {_FIX}.")
    fingerprints = {job.file: job.fingerprint for job in jobs}
    made = {file: done.fingerprint for file, done in progress.shards.items()}
    if (directory / MANIFEST_NAME).exists() and made != fingerprints:
        raise UserError(f"{directory} holds a finished build of {dataset} from other images than "
                        f"the dataset has now: {_FIX}.")
    return progress


def _read(directory: Path) -> Progress:
    path = directory / PROGRESS_NAME
    content = read_json(path, _FIX)
    if content.get("schema_version") != SCHEMA_VERSION:
        raise UserError(f"{path} was made by another version of the code: {_FIX}.")
    try:
        shards = {
            file: FinishedShard(shard_from_json(done["shard"]), str(done["fingerprint"]),
                                [[str(path), str(reason)] for path, reason in done["corrupt"]])
            for file, done in content["shards"].items()}
        return Progress(directory, content["dataset"], dict(content["options"]), shards)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is broken ({type(error).__name__}: {error}): {_FIX}.") from error


def make_directory(directory: str | os.PathLike) -> Path:
    """Creates the output folder; raises a `UserError` if its records could not be written."""
    check_name(directory)
    directory = as_path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UserError(f"--output {directory} cannot be made ({error.strerror}): name a folder "
                        "that you can write to.") from error
    return directory
