"""The same network in several runtimes, on the same images, in turns."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfrecords.errors import UserError
from tfrecords.pool import usable_cores
from tfreid.benchmarks.measuring import describe_network, random_images, rounded
from tfreid.config import Config
from tfreid.serving.formats.freezing import FrozenGraph, freeze
from tfreid.serving.formats.registry import FORMATS, PRECISIONS, RUNTIMES, SAVED_MODEL, convert
from tfreid.systems.base import MARKET_IDENTITIES
from tfreid.systems.registry import make_system

BATCHES = (1, 8, 32)
_ROUNDS = 3
_CALIBRATION = 50


def measure_runtimes(config: Config, weights: str | None, runtimes: Sequence[str],
                     precisions: Sequence[str], steps: int, warm_up: int) -> dict[str, Any]:
    """Times the extraction of embeddings in several runtimes, each in processes of its own.

    Every runtime has as many threads as the machine has processors. They take turns, three times,
    so that what else runs on the machine touches all alike.

    Args:
        config: The recipe.
        weights: Its weights, or None for random ones, which are as fast.
        runtimes: Keys of `RUNTIMES`; PyTorch runs the ONNX file's operations, read by onnx2torch.
        precisions: `float32`, and others for the runtimes whose format has them.
        steps: Batches of each size and turn.
        warm_up: Batches before them.

    Returns:
        `runtimes`: a row for each runtime and precision with its megabytes on disk, its peak memory
        in MB, and for each batch size `images_per_second`, and the median (`p50_ms`) and the 99th
        percentile (`p99_ms`) of the milliseconds of a batch.

    Raises:
        UserError: If a runtime is missing, or cannot run the network.
    """
    if not any(_reads(name, precision) for name in runtimes for precision in precisions):
        raise UserError(f"none of {', '.join(runtimes)} runs {' or '.join(precisions)}; add "
                        "litert to --against, or none to --quantize.")
    if not weights and config.model.num_identities is None:
        config = dataclasses.replace(config, model=dataclasses.replace(
            config.model, num_identities=MARKET_IDENTITIES))
    system = make_system(config)
    model = system.load(weights) if weights else system.build_model()
    extract = system.serve(model, None).module.graphs(None, "uint8")["extract"]
    frozen = freeze(*extract)
    shape = frozen.inputs[0].shape[1:3]
    with tempfile.TemporaryDirectory() as folder:
        images = random_images(max(*BATCHES, _CALIBRATION), *shape).astype(np.uint8)
        np.save(Path(folder, "images.npy"), images)
        rows = list(_write(frozen, Path(folder), runtimes, precisions, images))
        for row in tqdm(_ROUNDS * rows, desc="measuring", leave=False):
            _take_turn(row, Path(folder), steps, warm_up)
    return {**describe_network(config, system.describe_network()), "rounds": _ROUNDS,
            "runtimes": [_figures(row) for row in rows]}


def _write(frozen: FrozenGraph, folder: Path, runtimes, precisions,
           images: np.ndarray) -> Iterator[dict[str, Any]]:
    """Writes the files that the runtimes read, and yields a row for each of them."""
    samples = [{"images": image[np.newaxis]} for image in images[:_CALIBRATION]]
    for runtime in runtimes:
        name = RUNTIMES[runtime]
        for precision in precisions:
            path = folder / f"{name}-{precision}" / "model"
            if not _reads(runtime, precision):
                continue
            if name == SAVED_MODEL:
                _save(frozen, path)
            else:
                path = path.with_suffix(FORMATS[name].SUFFIX)
                if not path.exists():
                    path.parent.mkdir()
                    convert(name, frozen, path, precision, samples)
            yield {"runtime": runtime, "precision": precision, "file": str(path),
                   "bytes": sum(file.stat().st_size for file in path.parent.rglob("*.*")),
                   "seconds": {batch: [] for batch in BATCHES}, "peak": []}


def _reads(runtime: str, precision: str) -> bool:
    """Returns whether a runtime is measured in a precision."""
    if runtime in ("tensorflow", "pytorch"):
        return precision == PRECISIONS[0]
    return precision in FORMATS[RUNTIMES[runtime]].PRECISIONS


def _save(frozen: FrozenGraph, path: Path) -> None:
    module = tf.Module()
    module.call = tf.function(
        lambda images: frozen.function(images),
        input_signature=[tf.TensorSpec(frozen.inputs[0].shape, tf.uint8, name="images")])
    tf.saved_model.save(module, str(path), options=tf.saved_model.SaveOptions(
        experimental_custom_gradients=False))


def _take_turn(row: dict[str, Any], folder: Path, steps: int, warm_up: int) -> None:
    task = {"runtime": row["runtime"], "file": row["file"], "images": str(folder / "images.npy"),
            "batches": BATCHES, "steps": steps, "warm_up": warm_up,
            "threads": usable_cores()}
    done = subprocess.run([sys.executable, "-m", "tfreid.benchmarks.runtime_process"],
                          input=json.dumps(task), capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it was killed"])[-1]
        raise UserError(f"{row['runtime']} cannot run this network here ({reason}); leave it out "
                        "of --against.")
    found = json.loads(done.stdout.splitlines()[-1])
    row["peak"].append(found["peak_megabytes"])
    for batch, seconds in found["seconds"].items():
        row["seconds"][int(batch)] += seconds


def _figures(row: dict[str, Any]) -> dict[str, Any]:
    sizes = {}
    for batch, seconds in row["seconds"].items():
        middle, slow = np.percentile(seconds, [50, 99])
        sizes[f"batch_{batch}"] = {
            "images_per_second": rounded(batch / middle), "p50_ms": rounded(1e3 * middle),
            "p99_ms": rounded(1e3 * slow)}
    return {"runtime": row["runtime"], "precision": row["precision"],
            "megabytes_on_disk": rounded(row["bytes"] / 1e6),
            "peak_megabytes": rounded(max(row["peak"])), **sizes}
