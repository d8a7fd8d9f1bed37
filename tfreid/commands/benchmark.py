"""Measures speed and memory on this machine and prints one JSON object."""

from __future__ import annotations

import importlib
import json

from tfrecords.arguments import whole
from tfrecords.errors import UserError, command_line
from tfreid.commands.parser import CommandParser, names_type, records_override
from tfreid.serving.formats.registry import PRECISIONS, RUNTIMES, precision_of

# Those of Market-1501.
_RANKED = {"queries": 3368, "gallery": 15913}
_COMPARED = {"queries": 100, "gallery": 100}
_SEARCHES = 200
_WITHOUT_CONFIG = ("building", "evaluation", "mining", "reranking", "similarity", "store",
                   "streaming")


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line, measures and prints."""
    parser = CommandParser(
        __doc__,
        "pipeline: images/s of the training pipeline beside bare OpenCV decoding and "
        "resizing with a thread per core, in turns; ratio is the median over the turns, "
        "cpu_time_ratio that of the processor time, which other work on the machine hardly "
        "affects; everything is the pipeline with --all-augmentation. training: images/s or "
        "pairs/s of whole train steps. inference: images/s of the ranked feature, or of the "
        "features that a csn compares; with "
        "--against, of the same network in several runtimes, in turns, for batches of 1, 8 and 32, "
        "with latency, size on disk and peak memory. evaluation: seconds to rank "
        "random features, and memory beyond the features. reranking: the same for k-reciprocal "
        "re-ranking, whose result alone takes 4 bytes a pair. similarity: seconds of the csn's "
        "convolution similarity and its gradients (40x15x96 maps, three 10x10 parts) beside "
        "TensorFlow's own, in turns. gallery: seconds in which a csn extracts all images once and "
        "compares every query with every gallery image, beside the whole network run on pairs. "
        "mining: seconds to find the hardest triplets of all images among random features. "
        "streaming: seconds to rank six numbers of distractors, read from disk, in one pass, "
        "and memory beyond the features, beside the bare matrix product, in turns; once with "
        "features that find most matches and once with random ones. building: images/s and MB/s "
        "of building the records of a folder, and the peak memory of all its processes together, "
        "with shared memory counted once. store: seconds to fill the local store of tfreid gallery "
        "with --distractors random embeddings, its size, and milliseconds of searches among a "
        "tenth of them, with recall, beside faiss.",
    )
    parser.add_argument("what", choices=sorted([*_BENCHMARKS, "gallery"]), help="what to measure")
    parser.add_recipe("; building, evaluation, mining, reranking, similarity, store "
                      "and streaming need none")
    parser.add_argument("--against", type=names_type(*RUNTIMES), metavar="RUNTIME,...",
                        help=f"runtimes of inference, one or more of {', '.join(RUNTIMES)}")
    parser.add_argument("--quantize", type=names_type("none", *PRECISIONS[1:]), default=["none"],
                        metavar="PRECISION,...", help="precisions of --against, as in tfreid "
                        "export (default: none)")
    parser.add_argument("--weights", metavar="FILE",
                        help="weights for --against (default: random ones, as fast)")
    parser.add_argument("--records", metavar="DIR", help="folder of records, for the pipeline "
                        "(short for data.records=DIR); most others use random images")
    parser.add_argument("--root", metavar="DIR",
                        help="folder in Market-1501's layout for building (default: about 2,000 "
                        "crops are rendered first)")
    parser.add_argument("--all-augmentation", action="store_true", help="also measure the pipeline "
                        "with every step of data.augmentation on every image")
    parser.add_number("--workers", 2, "processes of building", high=1024)
    parser.add_number("--steps", 20, "batches a measurement takes, or a turn of it, where it "
                      "takes batches")
    parser.add_number("--warm-up", 3, "batches before it, which compile and fill buffers")
    parser.add_argument("--queries", type=whole(), metavar="N",
                        help="queries of evaluation, reranking and streaming (default: "
                        f"{_RANKED['queries']}, Market-1501's), of gallery (default: "
                        f"{_COMPARED['queries']}) and of store (default: {_SEARCHES})")
    parser.add_argument("--gallery", type=whole(), metavar="N",
                        help=f"their gallery (default: {_RANKED['gallery']}, Market-1501's, and "
                        f"{_COMPARED['gallery']})")
    parser.add_number("--distractors", 500_000, "distractors of streaming, on disk, and entries "
                      "of store", high=10**8)
    parser.add_number("--dimensions", 512, "length of the features of evaluation, mining, "
                      "reranking, store and streaming")
    parser.add_number("--images", 5000, "images among which mining finds triplets",
                      high=100_000)
    parser.add_number("--batch", 64, "pairs of similarity")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--pairs", type=whole(), default=1024, metavar="N",
                        help="pairs that gallery runs the whole network on, to extrapolate to all "
                        "(default: %(default)s)")
    chosen.add_argument("--all-pairs", action="store_true", help="run it on all pairs instead")
    parser.add_overrides()
    parsed = parser.parse_intermixed_args(arguments)
    config = _config(parsed)

    from tfreid.benchmarks.measuring import describe_machine

    measured = _measure(parsed, config)
    print(json.dumps({"what": parsed.what, **describe_machine(), **measured}, indent=2))


def _batches(parsed, config) -> tuple:
    return config, parsed.steps, parsed.warm_up


def _features(parsed, config) -> tuple:
    return config, *_sizes(parsed, _RANKED), parsed.dimensions


# What is measured -> module and function in `tfreid.benchmarks`, and the arguments it takes.
_BENCHMARKS = {
    "pipeline": ("pipeline.measure_pipeline", lambda parsed, config: (
        *_batches(parsed, config), parsed.all_augmentation)),
    "training": ("networks.measure_training", _batches),
    "inference": ("networks.measure_inference", _batches),
    "evaluation": ("ranking.measure_evaluation", _features),
    "reranking": ("ranking.measure_reranking", _features),
    "mining": ("ranking.measure_mining",
               lambda parsed, config: (config, parsed.images, parsed.dimensions)),
    "streaming": ("ranking.measure_streaming", lambda parsed, config: (
        config, *_sizes(parsed, _RANKED), parsed.distractors, parsed.dimensions)),
    "building": ("building.measure_building", lambda parsed, config: (parsed.root, parsed.workers)),
    "store": ("gallery_store.measure_gallery_store", lambda parsed, config: (
        parsed.distractors, parsed.dimensions, parsed.queries or _SEARCHES)),
    "similarity": ("similarity.measure_similarity", lambda parsed, config: (parsed.batch,)),
}


def _measure(parsed, config) -> dict:
    if parsed.against:
        if parsed.what != "inference":
            raise UserError("--against is for inference; leave it out.")
        from tfreid.benchmarks.runtimes import measure_runtimes

        return measure_runtimes(config, parsed.weights, parsed.against,
                                [precision_of(name) for name in parsed.quantize],
                                parsed.steps, parsed.warm_up)
    if parsed.what == "gallery":
        from tfreid.systems.registry import make_system

        pairs = None if parsed.all_pairs else parsed.pairs
        return make_system(config).measure_gallery(*_sizes(parsed, _COMPARED), pairs)
    function, arguments = _BENCHMARKS[parsed.what]
    module, _, name = function.partition(".")
    measure = getattr(importlib.import_module(f"tfreid.benchmarks.{module}"), name)
    return measure(*arguments(parsed, config))


def _config(parsed):
    from tfreid.config import load_config

    if parsed.config is None:
        if parsed.what in _WITHOUT_CONFIG and not parsed.overrides:
            return None
        raise UserError("--config is missing; name a recipe, for example bot_resnet50.")
    records = records_override(parsed.records)
    return load_config(parsed.config, records + parsed.overrides, parsed.variant)


def _sizes(parsed, defaults: dict[str, int]) -> list[int]:
    return [getattr(parsed, name) or default for name, default in defaults.items()]
