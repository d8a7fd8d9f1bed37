"""The state of a build, from which an interrupted one goes on."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError
from tfrecords.manifest import (
    MANIFEST_NAME,
    Shard,
    read_json,
    shard_from_json,
    shard_problem,
    write_json,
)
from tfrecords.schema import SCHEMA_VERSION
from tfrecords.writer import ShardJob, ShardResult

STATE_NAME = "build-state.json"
_MEND = "name an empty --output folder, or delete this one"


@dataclass
class FinishedShard:
    """A shard on disk, the fingerprint of the job that made it, and its [path, reason] pairs."""

    shard: Shard
    fingerprint: str
    corrupt: list[list[str]]


@dataclass
class BuildState:
    """Which build a folder holds and which of its shards are finished."""

    directory: Path
    dataset: str
    options: dict[str, Any]
    shards: dict[str, FinishedShard] = field(default_factory=dict)

    def save(self) -> None:
        """Writes the state in one step."""
        write_json(self.directory / STATE_NAME, {
            "schema_version": SCHEMA_VERSION,
            "dataset": self.dataset,
            "options": self.options,
            "shards": {file: asdict(shard) for file, shard in self.shards.items()},
        })

    def add(self, job: ShardJob, result: ShardResult) -> None:
        """Notes a finished shard and saves."""
        self.shards[job.file] = FinishedShard(
            result.shard, job.fingerprint, [list(pair) for pair in result.corrupt])
        self.save()

    def is_finished(self, job: ShardJob) -> bool:
        """Tells whether the job's shard is on disk, whole and made of the same images."""
        done = self.shards.get(job.file)
        return (done is not None and done.fingerprint == job.fingerprint
                and shard_problem(self.directory, done.shard, "checksum") is None)


def open_state(
    directory: Path, dataset: str, options: dict[str, Any], jobs: list[ShardJob]
) -> BuildState:
    """Reads the state of a folder, or starts one.

    Raises:
        UserError: If the folder holds another build: of another dataset, with other options, or a
            finished one of other images.
    """
    options = json.loads(json.dumps(options))
    if not (directory / STATE_NAME).is_file():
        if (directory / MANIFEST_NAME).exists() or any(directory.glob("*.tfrecord")):
            raise UserError(f"{directory} holds records but no {STATE_NAME}: {_MEND}.")
        return BuildState(directory, dataset, options)
    state = _read_state(directory)
    if state.dataset != dataset:
        raise UserError(f"{directory} holds a build of {state.dataset}, not of {dataset}: {_MEND}.")
    different = [name for name in {**state.options, **options}
                 if state.options.get(name) != options.get(name)]
    if different:
        raise UserError(f"{directory} holds a build of {dataset} with another "
                        f"{', '.join(different)}: {_MEND}.")
    fingerprints = {job.file: job.fingerprint for job in jobs}
    made = {file: done.fingerprint for file, done in state.shards.items()}
    if (directory / MANIFEST_NAME).exists() and made != fingerprints:
        raise UserError(f"{directory} holds a finished build of {dataset} from other images than "
                        f"the dataset has now: {_MEND}.")
    return state


def _read_state(directory: Path) -> BuildState:
    path = directory / STATE_NAME
    content = read_json(path)
    if content.get("schema_version") != SCHEMA_VERSION:
        raise UserError(f"{path} was made by another version of the code: {_MEND}.")
    try:
        shards = {
            file: FinishedShard(shard_from_json(done["shard"]), str(done["fingerprint"]),
                                [[str(path), str(reason)] for path, reason in done["corrupt"]])
            for file, done in content["shards"].items()}
        return BuildState(directory, content["dataset"], dict(content["options"]), shards)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is broken ({type(error).__name__}: {error}): {_MEND}.") from error


def make_directory(directory: str | os.PathLike) -> Path:
    """Makes the output folder, or raises a `UserError` if that is impossible."""
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UserError(f"--output {directory} cannot be made ({error.strerror}): name a folder "
                        "that you may write.") from error
    return directory
