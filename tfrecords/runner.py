"""Runs jobs that write a shard each: in processes of this machine, or on Apache Beam."""

from __future__ import annotations

import argparse
import base64
import pickle
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from tfrecords.errors import UserError, shortened
from tfrecords.pool import Job, Result, run_jobs

LOCAL, BEAM = "local", "beam"
_RESULTS = ".results-"


def add_runner(parser: argparse.ArgumentParser) -> None:
    """Adds --runner and --beam-options."""
    parser.add_argument(
        "--runner", choices=(LOCAL, BEAM), default=LOCAL,
        help="what writes the shards: this machine, or Apache Beam (pip install 'tfreid[beam]') "
        "(default: %(default)s)")
    parser.add_argument(
        "--beam-options", metavar="OPTIONS", default="",
        help="options of Beam in one quoted text, such as --beam-options='--runner=FlinkRunner "
        "--flink_master=host:8081' (default: its DirectRunner, on this machine)")


def chosen_beam(parsed: argparse.Namespace) -> str | None:
    """Returns Beam's options if `add_runner` read that it shall run the jobs, else None.

    Raises:
        UserError: If there are options for Beam, but another runner.
    """
    if parsed.runner == BEAM:
        return parsed.beam_options
    if parsed.beam_options:
        raise UserError("--beam-options are for --runner beam; give both.")
    return None


def run_shards(work: Callable[[Job, Callable[[int], object]], Result], jobs: Sequence[Job],
               images: int, output: Path, workers: int = 1, progress: bool = True,
               beam_options: str | None = None) -> Iterator[Result]:
    """Yields the results of jobs as they finish, with a progress bar over their images.

    Args:
        work: As in `run_jobs`.
        jobs: The jobs.
        images: Number of images of all jobs.
        output: Folder of the shards; on Beam all machines must reach it.
        workers: Number of processes on this machine.
        progress: Whether to show the bar; Beam has none.
        beam_options: Beam's options as one text; None runs the jobs on this machine.

    Raises:
        UserError: As `run_jobs`, or if Beam is missing, refuses its options or fails.
    """
    if beam_options is not None:
        yield from _run_on_beam(work, jobs, beam_options, output)
        return
    with tqdm(total=images, unit="images", disable=not progress) as bar, closing(
            run_jobs(work, jobs, workers, bar.update)) as results:
        yield from results


def _run_on_beam(work, jobs, options, output):
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise UserError(f"--runner beam needs Apache Beam ({error}); run `pip install "
                        "tfreid[beam]`.") from None
    if not jobs:
        return
    prefix = output / f"{_RESULTS}{id(jobs):x}"
    try:
        with beam.Pipeline(options=PipelineOptions(shlex.split(options))) as pipeline:
            (pipeline | beam.Create([pickle.dumps((work, job)) for job in jobs])
             | beam.Reshuffle()
             | beam.Map(_run_pickled)
             | beam.io.WriteToText(str(prefix)))
        outcomes = [pickle.loads(base64.b64decode(line))
                    for path in sorted(output.glob(f"{prefix.name}*"))
                    for line in path.read_bytes().splitlines()]
    except Exception as error:
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise UserError(f"Apache Beam failed ({shortened(reason[0], 300)}); finished shards are "
                        "kept: correct --beam-options or the workers, and run again.") from error
    finally:
        for path in output.glob(f"*{prefix.name}*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
    failed = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    yield from (outcome for outcome in outcomes if not isinstance(outcome, Exception))
    if failed:
        raise failed[0]


def _run_pickled(data: bytes) -> str:
    """Runs a job on a worker of Beam, and returns its result or the error that a user can mend."""
    work, job = pickle.loads(data)
    try:
        outcome = work(job, lambda images: None)
    except (UserError, OSError) as error:
        outcome = error
    return base64.b64encode(pickle.dumps(outcome)).decode()
