"""Measures speed and memory on this machine and prints one JSON object."""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tfrecords.errors import UserError, command_line  # noqa: E402

MARKET_IDENTITIES = 751
# Both sides of a ratio take turns, so that other work on the machine slows both.
_TURNS = 5
_SLOW_TURNS = 2
_SAMPLE_SECONDS = 0.005


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line, measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="pipeline: images/s of the training pipeline beside bare OpenCV decoding and "
        "resizing with a thread per core, in turns; ratio is the median over the turns, "
        "cpu_time_ratio that of the processor time, which other work on the machine hardly "
        "changes. training: images/s of whole train steps. inference: images/s of the ranked "
        "feature. evaluation: seconds, and memory above the features, of ranking random "
        "features. reranking: the same of k-reciprocal re-ranking, whose result alone takes 4 "
        "bytes a pair.",
    )
    parser.add_argument("what", choices=sorted(_BENCHMARKS), help="what to measure")
    parser.add_argument("--config", metavar="FILE", help="recipe (YAML); evaluation and "
                        "reranking need none")
    parser.add_argument("--records", metavar="DIR", help="folder of records, for the pipeline "
                        "(short for data.records=DIR); the others use random images")
    parser.add_argument("--steps", type=_positive, default=20, metavar="N",
                        help="batches a measurement takes, or a turn of it (default: %(default)s)")
    parser.add_argument("--warm-up", type=_positive, default=3, metavar="N",
                        help="batches before it, which compile and fill buffers (default: "
                        "%(default)s)")
    parser.add_argument("--queries", type=_positive, default=3368, metavar="N",
                        help="queries of evaluation and reranking (default: %(default)s, "
                        "Market-1501's)")
    parser.add_argument("--gallery", type=_positive, default=15913, metavar="N",
                        help="their gallery (default: %(default)s, Market-1501's)")
    parser.add_argument("--dimensions", type=_positive, default=512, metavar="N",
                        help="length of the features (default: %(default)s)")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value",
                        help="settings that replace those of the recipe")
    parsed = parser.parse_intermixed_args(arguments)
    config = _config(parsed)
    measured = _BENCHMARKS[parsed.what](parsed, config)
    print(json.dumps({"what": parsed.what, **_machine(), **measured}, indent=2))


def measure_pipeline(parsed: argparse.Namespace, config) -> dict:
    """Compares the training pipeline with OpenCV decoding and resizing the same images."""
    import numpy as np

    from tfreid.data.pipeline import IdentityBatches
    from tfreid.data.records import load_table

    if config.data.records is None:
        raise UserError("--records is missing; name a folder of records with a train split.")
    height, width = config.model.height, config.model.width
    table = load_table(config.data.records, "train", config.data.verify)
    batches = IdentityBatches(table, config.data, height, width, config.training.seed)
    count = parsed.steps * batches.batch_size
    files = [np.frombuffer(encoded, np.uint8) for encoded in table.encoded]
    files = [files[index % len(files)] for index in range(count)]
    turns = []
    for _ in batches.epoch(0, parsed.warm_up):
        pass
    for turn in range(_TURNS):
        # From the first batch on: a pipeline that has begun already holds batches made for nothing.
        epoch = batches.epoch(turn, parsed.steps)
        turns.append((_timed(lambda epoch=epoch: sum(1 for _ in epoch)),
                      _timed(lambda: _decode_with_opencv(files, height, width))))
    seconds = np.array(turns)  # [turns, pipeline or OpenCV, wall or processor]
    rates = count / seconds
    ratios = np.median(rates[:, 0] / rates[:, 1], axis=0)
    return {
        "config": config.name,
        "size": [height, width],
        "batch_size": batches.batch_size,
        "pipeline_images_per_second": _rounded(np.median(rates[:, 0, 0])),
        "opencv_images_per_second": _rounded(np.median(rates[:, 1, 0])),
        "ratio": _rounded(ratios[0]),
        "ratios": [_rounded(ratio) for ratio in rates[:, 0, 0] / rates[:, 1, 0]],
        "cpu_time_ratio": _rounded(ratios[1]),
        "pipeline_cpu_microseconds": _rounded(1e6 / np.median(rates[:, 0, 1])),
        "opencv_cpu_microseconds": _rounded(1e6 / np.median(rates[:, 1, 1])),
    }


def measure_training(parsed: argparse.Namespace, config) -> dict:
    """Times whole train steps on random images: forward, losses, backward and update."""
    import numpy as np
    import tensorflow as tf

    from tfreid.models.embedding import build_embedding_model
    from tfreid.training.objective import EmbeddingObjective
    from tfreid.training.optimizers import GradientApplier
    from tfreid.training.step import TrainStep
    from tfreid.training.strategy import make_strategy, prepare_runtime

    prepare_runtime(config.training)
    strategy = make_strategy(config.training.devices)
    identities = config.model.num_identities or MARKET_IDENTITIES
    with strategy.scope():
        model = build_embedding_model(config.model, identities)
        objective = EmbeddingObjective(config.loss, identities, model.output["embedding"].shape[-1])
        applier = GradientApplier(
            config.optimizer, list(model.trainable_variables),
            loss_scaling=config.training.precision == "mixed_float16",
        )
    step = TrainStep(strategy, model, objective, applier, jit_compile=config.training.jit_compile)
    data = config.data
    labels = np.repeat(np.arange(data.identities_per_batch) % identities, data.images_per_identity)
    batch = tf.data.Dataset.from_tensors((_random_images(config, len(labels)), labels.astype("i4")))
    images, labels = next(iter(strategy.distribute_datasets_from_function(
        lambda _: batch.repeat(strategy.num_replicas_in_sync))))

    def run(count):
        for _ in range(count):
            scalars, _, _ = step(images, labels)
        float(scalars["loss/total"])  # waits for the device

    run(parsed.warm_up)
    wall, _ = _timed(lambda: run(parsed.steps))
    size = data.identities_per_batch * data.images_per_identity * strategy.num_replicas_in_sync
    return {**_model_facts(config), "batch_size": size, "replicas": strategy.num_replicas_in_sync,
            "images_per_second": _rounded(parsed.steps * size / wall)}


def measure_inference(parsed: argparse.Namespace, config) -> dict:
    """Times the ranked feature of random images."""
    import tensorflow as tf

    from tfreid.models.embedding import build_embedding_model
    from tfreid.training.strategy import prepare_runtime

    prepare_runtime(config.training)
    model = build_embedding_model(config.model, config.model.num_identities or MARKET_IDENTITIES)
    feature = config.evaluation.feature
    predict = tf.function(lambda images: model(images, training=False)[feature])
    images = tf.constant(_random_images(config, config.data.eval_batch_size))

    def run(count):
        for _ in range(count):
            predict(images).numpy()

    run(parsed.warm_up)
    wall, _ = _timed(lambda: run(parsed.steps))
    return {**_model_facts(config), "batch_size": len(images),
            "images_per_second": _rounded(parsed.steps * len(images) / wall)}


def measure_evaluation(parsed: argparse.Namespace, config) -> dict:
    """Times `evaluate_ranking` on random features of Market-like identities and cameras."""
    from tfreid.evaluation.ranking import evaluate_ranking

    sides = _market_like(parsed)
    settings = {} if config is None else {"metric": config.evaluation.metric,
                                          "p": config.evaluation.minkowski_p}
    return _measured(parsed, sides, lambda: evaluate_ranking(*sides, **settings), _TURNS)


def measure_reranking(parsed: argparse.Namespace, config) -> dict:
    """Times `k_reciprocal_rerank` on random features of Market-like identities."""
    from tfreid.evaluation.reranking import k_reciprocal_rerank

    sides = _market_like(parsed)
    settings = () if config is None else (
        config.evaluation.reranking_k1, config.evaluation.reranking_k2,
        config.evaluation.reranking_lambda, config.evaluation.metric)
    return _measured(parsed, sides,
                     lambda: k_reciprocal_rerank(sides[0], sides[3], *settings), _SLOW_TURNS)


def _market_like(parsed) -> list:
    """Makes features, identities and cameras of queries, then of a gallery."""
    import numpy as np

    random = np.random.default_rng(0)
    identities = max(1, min(MARKET_IDENTITIES - 1, parsed.queries, parsed.gallery))
    # Images of one identity lie together, distractors anywhere.
    centers = random.standard_normal((identities + 1, parsed.dimensions), np.float32)
    centers[0] = 0.0
    sides = []
    for count, distractors in ((parsed.queries, 0.0), (parsed.gallery, 0.18)):
        # Every identity is there; Market's distractors have the identity 0.
        ids = np.concatenate([np.arange(identities),
                              random.integers(0, identities, count - identities)]) + 1
        ids[identities:][random.random(count - identities) < distractors] = 0
        features = random.standard_normal((count, parsed.dimensions), np.float32)
        features += centers[ids]
        sides += [features, ids, random.integers(1, 7, count)]
    return sides


def _measured(parsed, sides, work, turns) -> dict:
    """Times some work on features and watches the memory it takes above them."""
    seconds, peak = [], 0.0
    for _ in range(turns):
        with _PeakMemory() as memory:
            seconds.append(_timed(work))
        peak = max(peak, memory.megabytes)
    return {
        "queries": parsed.queries,
        "gallery": parsed.gallery,
        "dimensions": parsed.dimensions,
        "seconds": _rounded(min(wall for wall, _ in seconds)),
        "seconds_of_each": [_rounded(wall) for wall, _ in seconds],
        "cpu_seconds": _rounded(min(processor for _, processor in seconds)),
        "features_megabytes": _rounded((sides[0].nbytes + sides[3].nbytes) / 1e6),
        "megabytes_above_features": _rounded(peak),
        "process_megabytes": _rounded(_peak_megabytes()),
    }


class _PeakMemory:
    """Watches how far the process's resident memory rises above where it began."""

    def __enter__(self):
        self._start = self._highest = self._resident()
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._watcher.join()

    @property
    def megabytes(self) -> float:
        return (self._highest - self._start) / 1e6

    def _watch(self):
        while not self._done.wait(_SAMPLE_SECONDS):
            self._highest = max(self._highest, self._resident())

    @staticmethod
    def _resident() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


_BENCHMARKS = {
    "pipeline": measure_pipeline,
    "training": measure_training,
    "inference": measure_inference,
    "evaluation": measure_evaluation,
    "reranking": measure_reranking,
}


def _config(parsed):
    from tfreid.config import load_config

    if parsed.config is None:
        if parsed.what in ("evaluation", "reranking") and not parsed.overrides:
            return None
        raise UserError("--config is missing; name a recipe, such as one of configs/.")
    records = [f"data.records={json.dumps(parsed.records)}"] if parsed.records else []
    return load_config(parsed.config, [*records, *parsed.overrides])


def _machine() -> dict:
    import keras
    import tensorflow as tf

    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "gpus": len(tf.config.list_physical_devices("GPU")),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "load_average": os.getloadavg()[0],
    }


def _model_facts(config) -> dict:
    return {"config": config.name, "backbone": config.model.backbone,
            "size": [config.model.height, config.model.width],
            "precision": config.training.precision}


def _random_images(config, count):
    import numpy as np

    shape = (count, config.model.height, config.model.width, 3)
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


def _decode_with_opencv(files, height, width) -> None:
    import cv2

    def load(share):
        for encoded in share:
            image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
            cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)

    threads, cores = cv2.getNumThreads(), os.cpu_count()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(load, [files[core::cores] for core in range(cores)]))
    finally:
        cv2.setNumThreads(threads)


def _peak_megabytes() -> float:
    """The largest resident memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _timed(work) -> tuple[float, float]:
    """Returns the seconds and the processor seconds of all threads that some work takes."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
