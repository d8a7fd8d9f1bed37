"""Building of records: images per second, and the memory of all its processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError
from tfrecords.manifest import read_manifest
from tfrecords.market1501 import scan_market1501
from tfrecords.synthetic import SyntheticOptions, render_dataset
from tfreid.benchmarks.measuring import rounded

_RENDERED = SyntheticOptions(train_identities=110)  # 2,010 crops
_SAMPLE_SECONDS = 0.25
_PROJECT = Path(__file__).resolve().parents[2]
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def measure_building(root: str | None, workers: int) -> dict[str, Any]:
    """Builds the records of a folder into a temporary one, by the command line.

    `seconds` and the rates are those of the whole command, including `start_seconds` until the
    first record file is opened. `process_tree_megabytes` is the peak, in four samples per second,
    of the command's and its child processes' proportional set sizes (PSS), in which memory shared
    by n processes counts 1/n for each.

    Args:
        root: A folder in Market-1501's layout. Defaults to about 2,000 rendered crops.
        workers: Number of processes that write, and render.

    Raises:
        UserError: If the layout is another one, this is not Linux, or the build failed.
    """
    if not Path("/proc/self/smaps_rollup").exists():
        raise UserError("building cannot be measured here: memory is read from Linux's "
                        "/proc/PID/smaps_rollup; run it on Linux.")
    with tempfile.TemporaryDirectory() as temporary:
        if root is None:
            root = Path(temporary, "people")
            render_dataset(root, _RENDERED, workers=workers)
        scan = scan_market1501(root)
        size = sum(scan.source.size(entry.path)
                   for entries in scan.splits.values() for entry in entries)
        output = Path(temporary, "records")
        seconds, start, megabytes = _run_build(scan.root, output, workers)
        images = sum(split.images for split in read_manifest(output).splits.values())
    return {
        "images": images, "workers": workers,
        "seconds": rounded(seconds),
        "start_seconds": rounded(start),
        "images_per_second": rounded(images / seconds),
        "megabytes_per_second": rounded(size / 1e6 / seconds),
        "process_tree_megabytes": rounded(megabytes),
    }


def _run_build(root: Path, output: Path, workers: int) -> tuple[float, float, float]:
    """Returns the seconds, those before the first record file, and the peak megabytes."""
    command = [sys.executable, "-m", "tfrecords.build", "market1501", "--root", str(root),
               "--output", str(output), "--workers", str(workers)]
    places = [str(_PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    start, peak = None, 0.0
    with tempfile.TemporaryFile() as errors:
        begin = time.perf_counter()
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL,
                              stderr=errors) as build:
            while build.poll() is None:
                peak = max(peak, _tree_bytes(build.pid))
                if start is None and any(output.glob("*.tfrecord*")):
                    start = time.perf_counter() - begin
                time.sleep(_SAMPLE_SECONDS)
        seconds = time.perf_counter() - begin
        if build.returncode:
            errors.seek(0)
            last = errors.read().decode(errors="replace").rstrip().rpartition("\n")[2]
            raise UserError(f"the build of {root} failed: {last.removeprefix('error: ')}")
    return seconds, seconds if start is None else start, peak / 1e6


def _tree_bytes(pid: int) -> int:
    """Sums the PSS of a process and its descendants; 0 if it has ended."""
    try:
        share = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
        children = [int(child) for thread in os.listdir(f"/proc/{pid}/task")
                    for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return (int(share[1]) * 1024 if share else 0) + sum(map(_tree_bytes, children))
