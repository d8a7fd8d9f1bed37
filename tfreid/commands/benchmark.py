"""Measures speed and memory on this machine and prints one JSON object."""

from __future__ import annotations

import json

from tfrecords.arguments import positive
from tfrecords.errors import UserError, command_line
from tfreid.commands.parser import add_recipe_arguments, command_parser

# Those of Market-1501.
_RANKED = {"queries": 3368, "gallery": 15913}
_COMPARED = {"queries": 100, "gallery": 100}
_WITHOUT_CONFIG = ("building", "evaluation", "mining", "reranking", "similarity", "streaming")


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line, measures and prints."""
    parser = command_parser(
        __doc__,
        "pipeline: images/s of the training pipeline beside bare OpenCV decoding and "
        "resizing with a thread per core, in turns; ratio is the median over the turns, "
        "cpu_time_ratio that of the processor time, which other work on the machine hardly "
        "changes. training: images/s or pairs/s of whole train steps. inference: images/s of the "
        "ranked feature, or of the features that a csn compares. evaluation: seconds, and memory "
        "above the features, of ranking random features. reranking: the same of k-reciprocal "
        "re-ranking, whose result alone takes 4 bytes a pair. similarity: seconds of the csn's "
        "convolution similarity and its gradients (40x15x96 maps, three 10x10 parts) beside "
        "TensorFlow's own, in turns. gallery: seconds in which a csn extracts all images once and "
        "compares every query with every gallery image, beside the whole network run on pairs. "
        "mining: seconds in which the hardest triplets of all images are found among random "
        "features. streaming: seconds, and memory above the features, of ranking distractors that "
        "are read from disk, six numbers of them in one pass, beside the bare matrix product, in "
        "turns; once with features that find most matches and once with random ones. building: "
        "images/s and MB/s of building the records of a folder, and the peak memory of all its "
        "processes together, in which what they share counts once.",
    )
    parser.add_argument("what", choices=sorted(_BENCHMARKS), help="what to measure")
    add_recipe_arguments(parser, "; building, evaluation, mining, reranking, similarity and "
                         "streaming need none")
    parser.add_argument("--records", metavar="DIR", help="folder of records, for the pipeline "
                        "(short for data.records=DIR); most others use random images")
    parser.add_argument("--root", metavar="DIR",
                        help="folder in Market-1501's layout for building (default: about 2,000 "
                        "crops are rendered first)")
    parser.add_argument("--workers", type=positive, default=2, metavar="N",
                        help="processes of building (default: %(default)s)")
    parser.add_argument("--steps", type=positive, default=20, metavar="N",
                        help="batches a measurement takes, or a turn of it, where it takes batches "
                        "(default: %(default)s)")
    parser.add_argument("--warm-up", type=positive, default=3, metavar="N",
                        help="batches before it, which compile and fill buffers (default: "
                        "%(default)s)")
    parser.add_argument("--queries", type=positive, metavar="N",
                        help="queries of evaluation, reranking and streaming (default: "
                        f"{_RANKED['queries']}, Market-1501's) and of gallery (default: "
                        f"{_COMPARED['queries']})")
    parser.add_argument("--gallery", type=positive, metavar="N",
                        help=f"their gallery (default: {_RANKED['gallery']}, Market-1501's, and "
                        f"{_COMPARED['gallery']})")
    parser.add_argument("--distractors", type=positive, default=500_000, metavar="N",
                        help="distractors of streaming, on disk (default: %(default)s)")
    parser.add_argument("--dimensions", type=positive, default=512, metavar="N",
                        help="length of the features of evaluation, mining, reranking and "
                        "streaming (default: %(default)s)")
    parser.add_argument("--images", type=positive, default=5000, metavar="N",
                        help="images among which mining finds triplets (default: %(default)s)")
    parser.add_argument("--batch", type=positive, default=64, metavar="N",
                        help="pairs of similarity (default: %(default)s)")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--pairs", type=positive, default=1024, metavar="N",
                        help="pairs that gallery runs the whole network on, to extrapolate to all "
                        "(default: %(default)s)")
    chosen.add_argument("--all-pairs", action="store_true", help="run it on all pairs instead")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value",
                        help="settings that replace those of the recipe")
    parsed = parser.parse_intermixed_args(arguments)
    config = _config(parsed)

    from tfreid.benchmarks.measuring import describe_machine

    measured = _BENCHMARKS[parsed.what](parsed, config)
    print(json.dumps({"what": parsed.what, **describe_machine(), **measured}, indent=2))


def _pipeline(parsed, config) -> dict:
    from tfreid.benchmarks.pipeline import measure_pipeline

    return measure_pipeline(config, parsed.steps, parsed.warm_up)


def _training(parsed, config) -> dict:
    from tfreid.benchmarks.networks import measure_training

    return measure_training(config, parsed.steps, parsed.warm_up)


def _inference(parsed, config) -> dict:
    from tfreid.benchmarks.networks import measure_inference

    return measure_inference(config, parsed.steps, parsed.warm_up)


def _evaluation(parsed, config) -> dict:
    from tfreid.benchmarks.ranking import measure_evaluation

    return measure_evaluation(config, **_sizes(parsed, _RANKED), dimensions=parsed.dimensions)


def _reranking(parsed, config) -> dict:
    from tfreid.benchmarks.ranking import measure_reranking

    return measure_reranking(config, **_sizes(parsed, _RANKED), dimensions=parsed.dimensions)


def _mining(parsed, config) -> dict:
    from tfreid.benchmarks.ranking import measure_mining

    return measure_mining(config, parsed.images, parsed.dimensions)


def _streaming(parsed, config) -> dict:
    from tfreid.benchmarks.ranking import measure_streaming

    return measure_streaming(config, **_sizes(parsed, _RANKED), distractors=parsed.distractors,
                             dimensions=parsed.dimensions)


def _building(parsed, config) -> dict:
    from tfreid.benchmarks.building import measure_building

    return measure_building(parsed.root, parsed.workers)


def _similarity(parsed, config) -> dict:
    from tfreid.benchmarks.similarity import measure_similarity

    return measure_similarity(parsed.batch)


def _gallery(parsed, config) -> dict:
    from tfreid.systems.registry import make_system

    pairs = None if parsed.all_pairs else parsed.pairs
    return make_system(config).measure_gallery(**_sizes(parsed, _COMPARED), pairs=pairs)


_BENCHMARKS = {
    "pipeline": _pipeline,
    "training": _training,
    "inference": _inference,
    "evaluation": _evaluation,
    "mining": _mining,
    "reranking": _reranking,
    "streaming": _streaming,
    "building": _building,
    "similarity": _similarity,
    "gallery": _gallery,
}


def _config(parsed):
    from tfreid.config import load_config

    if parsed.config is None:
        if parsed.what in _WITHOUT_CONFIG and not parsed.overrides:
            return None
        raise UserError("--config is missing; name a recipe, for example bot_resnet50.")
    records = [f"data.records={json.dumps(parsed.records)}"] if parsed.records else []
    return load_config(parsed.config, [*records, *parsed.overrides], parsed.variant)


def _sizes(parsed, defaults: dict[str, int]) -> dict[str, int]:
    return {name: getattr(parsed, name) or default for name, default in defaults.items()}
