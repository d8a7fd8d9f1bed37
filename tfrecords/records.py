"""Builds a folder of records from a scan, or resumes an interrupted build."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Callable, NamedTuple

from tfrecords.errors import UserError
from tfrecords.identity_splits import refuse_losses
from tfrecords.images import MAX_PIXELS
from tfrecords.manifest import Manifest, write_manifest
from tfrecords.progress import Progress, make_directory, open_progress
from tfrecords.query_galleries import write_query_galleries
from tfrecords.runner import run_shards
from tfrecords.scan import Scan, name_some
from tfrecords.schema import SCHEMA_VERSION
from tfrecords.self_matches import identical_images, lost_matches, read_digests
from tfrecords.shards import count_split, plan_shards
from tfrecords.writer import ShardJob, ShardResult, write_shard
from tfrecords.writing import sole_writer

CORRUPT = "corrupt"


class BuildResult(NamedTuple):
    """What a build made.

    Attributes:
        manifest: The manifest.
        shards_made: Number of shards made this time.
        corrupt: "path (reason)" of corrupt images.
        warnings: Sentences for the user on the images that were written.
    """

    manifest: Manifest
    shards_made: int
    corrupt: list[str]
    warnings: Sequence[str] = ()


def build_records(
    scan: Scan,
    dataset: str,
    output: str | os.PathLike,
    *,
    shards: int = 4,
    workers: int = 1,
    skip_corrupt: bool = False,
    max_pixels: int = MAX_PIXELS,
    progress: bool = False,
    beam_options: str | None = None,
) -> BuildResult:
    """Writes the missing shards and, last, the manifest.

    A second call keeps every complete shard that was made from the same images. A worker holds one
    image at a time, so memory does not grow with their bytes.

    Args:
        scan: The images.
        dataset: Name of the dataset in the manifest.
        output: The records folder; created if it does not exist.
        shards: Number of record files per split.
        workers: Number of processes.
        skip_corrupt: Whether to leave corrupt images out and count them, instead of raising.
        max_pixels: Images of more pixels count as corrupt and are not decoded.
        progress: Whether to show a progress bar on standard error.
        beam_options: Options of Apache Beam, which then writes the shards; None writes them here.

    Raises:
        UserError: If images are corrupt (after all of them were read), or if `output` holds another
            build or cannot be written.
        OSError: If the disk is full (ENOSPC); finished shards are kept.
    """
    options = dict(scan.options, shards=shards)
    jobs = plan_shards(scan, shards)
    directory = make_directory(output)
    warnings: list[str] = []
    try:
        with sole_writer(directory, "building records"):
            build = open_progress(directory, dataset, options, jobs)
            pending = [job for job in jobs if not build.is_finished(job)]
            digests: dict[str, bytes] = {}
            if pending:
                build.save()
                write = functools.partial(_write_job, output=directory, skip_corrupt=skip_corrupt,
                                          max_pixels=max_pixels)
                run = functools.partial(run_shards, workers=workers, progress=progress,
                                        beam_options=beam_options)
                digests, warnings = _write_pending(write, pending, build, run)
            manifest, corrupt = _summarize(scan, jobs, build)
            if pending:
                warnings += _warnings(scan, jobs, corrupt, directory, digests)
            write_manifest(directory, manifest)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise UserError(f"--output {directory} cannot be written ({error.strerror}): name another "
                        "folder.") from error
    left_out = [text for job in jobs for text in _with_reasons(build.shards[job.file].corrupt)]
    return BuildResult(manifest, len(pending), left_out, warnings)


def _write_pending(
    write: Callable[[ShardJob, Callable[[int], object]], ShardResult],
    pending: list[ShardJob],
    build: Progress,
    run: Callable[..., Iterator[ShardResult]],
) -> tuple[dict[str, bytes], list[str]]:
    """Writes shards and returns the digests of their images by shard, and warnings."""
    by_file = {job.file: job for job in pending}
    corrupt: list[str] = []
    blemished: list[str] = []
    digests: dict[str, bytes] = {}
    total = sum(len(job.images) for job in pending)
    with closing(run(write, pending, total, build.directory)) as results:
        for result in results:
            blemished += _with_reasons(result.blemished)
            if result.shard is None:
                corrupt += _with_reasons(result.corrupt)
            else:
                build.add(by_file[result.job_file], result)
                digests[result.job_file] = result.digests
    if corrupt:
        raise UserError(f"{len(corrupt)} of {total} images in {pending[0].source} are corrupt: "
                        f"{name_some(sorted(corrupt))}; repair them, or pass --skip-corrupt to "
                        "leave them out, and run again (finished shards are kept).")
    warnings = [f"the decoder finds fault with {len(blemished)} images, which are kept: "
                f"{name_some(sorted(blemished))}"] if blemished else []
    return digests, warnings


def _with_reasons(images: Iterable[Sequence[str]]) -> list[str]:
    return [f"{path} ({reason})" for path, reason in images]


def _write_job(job: ShardJob, advance, *, output: Path, skip_corrupt: bool, max_pixels: int):
    return write_shard(job, output, skip_corrupt, advance, max_pixels)


def _summarize(
    scan: Scan, jobs: list[ShardJob], build: Progress
) -> tuple[Manifest, dict[str, set[str]]]:
    """Writes the queries' galleries, if there are any.

    Returns:
        The manifest, and the paths of corrupt images by split.
    """
    splits, dropped, corrupt = {}, dict(scan.dropped), {}
    for split in scan.splits:
        finished = [build.shards[job.file] for job in jobs if job.split == split]
        corrupt[split] = {path for shard in finished for path, _ in shard.corrupt}
        refuse_losses(scan, corrupt[split])
        splits[split] = count_split(scan, split, [shard.shard for shard in finished],
                                    corrupt[split])
        if corrupt[split]:
            dropped[CORRUPT] = dropped.get(CORRUPT, 0) + len(corrupt[split])
    query_galleries = write_query_galleries(build.directory, scan, corrupt)
    manifest = Manifest(SCHEMA_VERSION, build.dataset, build.options, splits, dropped,
                        scan.identity_splits, query_galleries)
    return manifest, corrupt


def _warnings(
    scan: Scan,
    jobs: list[ShardJob],
    corrupt: dict[str, set[str]],
    directory: Path,
    digests: dict[str, bytes],
) -> list[str]:
    """Warns of images that mislead evaluations; shards of earlier builds are read for it."""
    joined = {split: b"".join(
        digests[job.file] if job.file in digests else read_digests(directory / job.file)
        for job in jobs if job.split == split) for split in scan.splits}
    return [*identical_images(scan, corrupt, joined), *lost_matches(scan, corrupt)]
