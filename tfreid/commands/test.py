"""Evaluates a re-identification model: ranks a gallery, or verifies pairs of images."""

from __future__ import annotations

import argparse
import json
import os
import zlib
from pathlib import Path

from tfrecords.arguments import split_overrides
from tfrecords.errors import UserError, command_line
from tfrecords.storage import as_path
from tfreid.commands.parser import (
    RUN,
    CommandParser,
    open_weights,
    records_override,
    work_folder,
)

_EPILOG = """\
examples:
  tfreid test --run runs/first
  tfreid test --run runs/first --records records/market1501 records/other \\
      evaluation.reranking=true
  tfreid test --run runs/mars --pair a.jpg b.jpg
  tfreid test --model runs/first/export/litert-int8 --records records/market1501
  tfreid test --features embedded/market1501 --records records/market1501
To test on a dataset that the run was not trained on, name its records. A run of system: siamese is
also tested by verification, by default of random pairs from query and gallery.
"""
# Letters of a file's name in that of a picture, which may have 255 bytes.
_STEM_LETTERS = 28


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and evaluates."""
    parsed = _parser().parse_intermixed_args(arguments)
    # --records takes all the words after it.
    records, more = split_overrides(parsed.records)
    _check(parsed, records)
    if parsed.model and parsed.pair:
        _verify_by_export(parsed)
        return
    single = records_override(records[0]) if len(records) == 1 else []
    overrides = [*parsed.overrides, *more, *single]
    if parsed.features or parsed.model:
        _rank_embedded(parsed, overrides, records)
        return
    config, weights, run = open_weights(parsed, overrides)

    from tfreid.systems.registry import make_system

    folder = work_folder(config, run).path
    several = len(records) > 1 or config.data.tests_several
    if run and (overrides or parsed.weights or (records and config.data.tests_several)):
        # The run's own figures stay what they are.
        folder = run.path / f"evaluation-{'several' if several else _tested(config.data)}"
    elif run and several:
        folder = run.path / "evaluation"
    thresholds = run.thresholds if run else None
    system = make_system(config)
    if parsed.pair:
        picture = _pair_picture(parsed, folder)
        print(system.verify_files(weights, run, *parsed.pair, picture))
        print(f"wrote {picture}")
    elif parsed.pairs or parsed.split:
        name = f"pairs-{Path(parsed.pairs).stem}" if parsed.pairs else f"split-{parsed.split}"
        output = as_path(parsed.output or folder / name)
        system.verify_pairs(weights, output, thresholds=thresholds, pairs_file=parsed.pairs,
                            split=parsed.split)
        print(f"wrote {output}/verification.json and pictures beside it")
    else:
        output = as_path(parsed.output or folder)
        system.test(weights, output, parsed.ranked_queries, thresholds,
                    records if len(records) > 1 else ())
        print(f"wrote {output}/summary.json, {output}/cmc.png and a folder for each test set"
              if several else f"wrote {output}/results.json and pictures beside it")


def _tested(data) -> str:
    """Returns the name of the one folder of records that is tested."""
    from tfreid.records.sources import find_left_out

    left_out = find_left_out(data) if len(data.folders) > 1 else None
    return left_out or Path(data.records or "").name


def _rank_embedded(parsed, overrides, records) -> None:
    """Ranks by the embeddings of a folder, or those that an export computes."""
    from tfreid.config import load_config
    from tfreid.serving import load_export
    from tfreid.serving.formats.card import read_card
    from tfreid.serving.formats.reader import is_device_export
    from tfreid.systems.testing import rank_embedded
    from tfreid.training.run_folder import open_run

    folder = as_path(parsed.features or parsed.model)
    if parsed.run:
        config = open_run(parsed.run, overrides)[1]
    else:
        name = [] if parsed.config else [f"name={json.dumps(folder.absolute().name)}"]
        if parsed.model and is_device_export(parsed.model):
            name.append(f"evaluation.metric={read_card(parsed.model).metric}")
        config = load_config(parsed.config or "osnet", name + overrides, parsed.variant)
    output = as_path(parsed.output or folder / "evaluation")
    client = load_export(parsed.model) if parsed.model else None
    rank_embedded(config, folder, output, parsed.ranked_queries, records, client)
    print(f"wrote figures and pictures in {output}")


def _verify_by_export(parsed) -> None:
    """Verifies two image files with an export."""
    from tfreid.serving import load_export
    from tfreid.serving.client import exported_thresholds
    from tfreid.systems.siamese.testing import verify_files

    client, picture = load_export(parsed.model), _pair_picture(parsed, Path("."))
    if not client.judges:
        raise UserError(f"{parsed.model} cannot verify pairs; name the export of a run of "
                        "system: siamese.")
    print(verify_files(client, exported_thresholds(parsed.model), *parsed.pair, picture))
    print(f"wrote {picture}")


def _pair_picture(parsed, folder) -> Path:
    """Returns a path that files of the same names in other folders do not share."""
    first, second = (Path(file).stem[:_STEM_LETTERS] for file in parsed.pair)
    places = os.fsencode("\0".join(map(os.path.abspath, parsed.pair)))
    name = f"pair-{first}-{second}-{zlib.crc32(places):08x}.png"
    return as_path(parsed.output or folder) / name


def _check(parsed, records) -> None:
    if parsed.records and not records:
        raise UserError("--records names no folder; give at least one, before any overrides.")
    sources = [bool(parsed.run), bool(parsed.config), bool(parsed.model)]
    if parsed.features:
        if parsed.model or parsed.weights or parsed.pair or parsed.pairs or parsed.split:
            raise UserError("--features are ranked without a model; leave out --model, --weights, "
                            "--pair, --pairs and --split.")
        if not parsed.run and not records:
            raise UserError("--features needs --records, whose images they are, or --run.")
        if parsed.run and parsed.config:
            raise UserError("--run and --config exclude each other; give one.")
    elif sum(sources) != 1:
        raise UserError("give either --run RUN, or --config RECIPE with --weights FILE, or "
                        "--model DIR.")
    if parsed.model and not parsed.pair and not records:
        raise UserError("--model ranks the images of --records, or compares two files of --pair; "
                        "name either.")
    if parsed.model and (parsed.weights or parsed.pairs or parsed.split):
        raise UserError("--model has its own weights, and verifies no pairs but one; leave out "
                        "--weights, --pairs and --split.")
    if parsed.model and parsed.pair and (parsed.overrides or records):
        raise UserError("--model has its own settings; leave out --records and settings.")
    if sum(map(bool, (parsed.pair, parsed.pairs, parsed.split))) > 1:
        raise UserError("--pair, --pairs and --split exclude each other; give one.")
    if len(records) > 1 and (parsed.pair or parsed.pairs or parsed.split):
        raise UserError("several --records are for whole test sets; give one.")


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(__doc__, _EPILOG)
    parser.add_model(RUN)
    parser.add_argument("--model", metavar="DIR",
                        help="an export of any format instead of a run: ranks --records by its "
                        "embeddings, as the settings given here say (by default a SavedModel's by "
                        "their cosine), or verifies --pair")
    parser.add_argument("--records", nargs="+", default=[], metavar="DIR",
                        help="test sets to evaluate on, folders that `tfreid build` wrote "
                        "(default: data.records); several share one table, one summary.json and "
                        "one CMC plot, for comparison")
    parser.add_argument("--features", metavar="DIR",
                        help="folder of `tfreid embed-images`: ranks these embeddings, without a "
                        "model, as the settings of --run or --config say, if one is given")
    parser.add_argument("--pair", nargs=2, metavar=("IMAGE", "IMAGE"),
                        help="two image files: prints the probability that they show the same "
                        "person and every distance, and draws them (system: siamese)")
    parser.add_argument("--pairs", metavar="CSV",
                        help="table with the columns first,second,same, images relative to its "
                        "folder: prints the accuracy at the run's calibrated threshold, ROC AUC, "
                        "average precision and equal error rate (system: siamese)")
    parser.add_argument("--split", metavar="NAME",
                        help="the same for pairs drawn from one split of the records, such as "
                        "gallery (system: siamese)")
    parser.add_argument("--output", metavar="DIR",
                        help="folder for figures and pictures (default: RUN; with overrides, "
                        "--records or --weights, RUN/evaluation-RECORDS, so that the run's own "
                        "figures stay; with several records, RUN/evaluation and a folder in it for "
                        "each; with --pairs or --split, a folder pairs-NAME or split-NAME in it; "
                        "with --config, runs/NAME-evaluation; with --features or --model, the "
                        "folder evaluation in it, and with --model and --pair the current "
                        "folder)")
    parser.add_number("--ranked-queries", 8, "queries in the ranked-list picture; 0 draws none; "
                      "`tfreid visualize-csn` draws those of a csn", low=0, high=1000)
    parser.add_overrides("settings on top, such as evaluation.metric=euclidean; "
                         "evaluation.multi_query=true, evaluation.expansion=true and "
                         "evaluation.reranking=true each add figures beside the plain ones")
    return parser
