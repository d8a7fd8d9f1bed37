"""Builds a folder of records from a scan; an interrupted build goes on where it stopped."""

from __future__ import annotations

import errno
import functools
import os
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from tfrecords.errors import UserError
from tfrecords.identity_splits import refuse_losses
from tfrecords.manifest import Manifest, write_manifest
from tfrecords.pool import run_jobs
from tfrecords.progress import BuildState, make_directory, open_state
from tfrecords.query_galleries import write_query_galleries
from tfrecords.scan import Scan, name_some
from tfrecords.schema import SCHEMA_VERSION
from tfrecords.shards import count_split, plan_shards
from tfrecords.writer import ShardJob, write_shard

CORRUPT = "corrupt"


class BuildResult(NamedTuple):
    """The manifest, the number of shards made this time, and "path (reason)" of corrupt images."""

    manifest: Manifest
    shards_made: int
    corrupt: list[str]


def build_records(
    scan: Scan,
    dataset: str,
    output: str | os.PathLike,
    *,
    shards: int = 4,
    workers: int = 1,
    skip_corrupt: bool = False,
    progress: bool = False,
) -> BuildResult:
    """Writes the shards that are not there yet, and the manifest last.

    With the state file in `output`, a second call keeps every shard that is whole and that was made
    of the same images. Images pass through one at a time: memory does not grow with their bytes.

    Args:
        scan: The images.
        dataset: Its name in the manifest.
        output: The records folder; made if it does not exist.
        shards: Record files of a split.
        workers: Processes.
        skip_corrupt: Leaves corrupt images out and counts them, instead of raising.
        progress: Shows a bar on standard error.

    Raises:
        UserError: If images are corrupt (after all of them were read), or if `output` holds another
            build or cannot be written.
        OSError: With ENOSPC if the disk is full; finished shards stay.
    """
    options = dict(scan.options, shards=shards)
    jobs = plan_shards(scan, shards)
    directory = make_directory(output)
    try:
        state = open_state(directory, dataset, options, jobs)
        pending = [job for job in jobs if not state.is_finished(job)]
        if pending:
            state.save()
            _write_pending(pending, state, workers, skip_corrupt, progress)
        manifest = _summarize(scan, jobs, state)
        write_manifest(directory, manifest)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise UserError(f"--output {directory} may not be written ({error.strerror}): name another "
                        "folder.") from error
    corrupt = [f"{path} ({reason})" for job in jobs
               for path, reason in state.shards[job.file].corrupt]
    return BuildResult(manifest, len(pending), corrupt)


def _write_pending(
    pending: list[ShardJob],
    state: BuildState,
    workers: int,
    skip_corrupt: bool,
    progress: bool,
) -> None:
    by_file = {job.file: job for job in pending}
    write = functools.partial(_write_job, output=state.directory, skip_corrupt=skip_corrupt)
    corrupt: list[str] = []
    total = sum(len(job.images) for job in pending)
    with tqdm(total=total, unit="images", disable=not progress) as bar, closing(
            run_jobs(write, pending, workers, bar.update)) as results:
        for result in results:
            if result.shard is None:
                corrupt += [f"{path} ({reason})" for path, reason in result.corrupt]
            else:
                state.add(by_file[result.job_file], result)
    if corrupt:
        raise UserError(f"{len(corrupt)} of {total} images in {pending[0].source} are corrupt: "
                        f"{name_some(sorted(corrupt))}; repair them, or pass --skip-corrupt to "
                        "leave them out, and run again (finished shards are kept).")


def _write_job(job: ShardJob, advance, *, output: Path, skip_corrupt: bool):
    return write_shard(job, output, skip_corrupt, advance)


def _summarize(scan: Scan, jobs: list[ShardJob], state: BuildState) -> Manifest:
    """Counts what was written, writes what else the manifest names, and returns the manifest."""
    splits, dropped, corrupt = {}, dict(scan.dropped), {}
    for split in scan.splits:
        done = [state.shards[job.file] for job in jobs if job.split == split]
        corrupt[split] = {path for shard in done for path, _ in shard.corrupt}
        refuse_losses(scan, corrupt[split])
        splits[split] = count_split(scan, split, [shard.shard for shard in done], corrupt[split])
        if corrupt[split]:
            dropped[CORRUPT] = dropped.get(CORRUPT, 0) + len(corrupt[split])
    query_galleries = write_query_galleries(state.directory, scan, corrupt)
    return Manifest(SCHEMA_VERSION, state.dataset, state.options, splits, dropped,
                    scan.identity_splits, query_galleries)
