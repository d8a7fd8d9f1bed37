"""A process that times one runtime: a task as JSON on standard input, figures on standard output.

TensorFlow is imported only where it is what is measured, so that memory is that of the runtime.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tfreid.serving.formats.registry import FORMATS, RUNTIMES


def main() -> None:
    """Reads the task, runs it and prints the seconds of every batch."""
    task = json.load(sys.stdin)
    images = np.load(task["images"])
    run = _open(task["runtime"], Path(task["file"]), task["threads"])
    seconds = {}
    for batch in task["batches"]:
        rows = np.ascontiguousarray(images[:batch])
        for _ in range(task["warm_up"]):
            run(rows)
        seconds[batch] = []
        for _ in range(task["steps"]):
            start = time.perf_counter()
            run(rows)
            seconds[batch].append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds, "peak_megabytes": _peak_megabytes()}))


def _peak_megabytes() -> float:
    # Not `getrusage`, which remembers the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024 / 1e6


def _open(runtime: str, file: Path, threads: int) -> Callable[[np.ndarray], list]:
    own = {"tensorflow": _tensorflow, "pytorch": _pytorch}
    if runtime in own:
        return own[runtime](file, threads)
    graph = FORMATS[RUNTIMES[runtime]].open_graph(file, threads)
    return lambda images: list(graph({"images": images}).values())


def _tensorflow(file: Path, threads: int) -> Callable[[np.ndarray], list]:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    model = tf.saved_model.load(str(file))
    return lambda images: [x.numpy() for x in model.call(tf.constant(images))]


def _pytorch(file: Path, threads: int) -> Callable[[np.ndarray], list]:
    import onnx2torch
    import torch

    torch.set_num_threads(threads)
    model = onnx2torch.convert(str(file)).eval()

    def run(images):
        with torch.inference_mode():
            found = model(torch.from_numpy(images))
            return [x.numpy() for x in (found if isinstance(found, (list, tuple)) else [found])]

    return run


if __name__ == "__main__":
    main()
