"""Evaluates a re-identification model: ranks a gallery, or judges whether pairs show one person."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tfrecords.arguments import split_overrides
from tfrecords.errors import UserError, command_line
from tfreid.commands.parser import add_recipe_arguments, command_parser

_EPILOG = """\
examples:
  tfreid test --run runs/first
  tfreid test --run runs/first --records records/market1501 records/other \\
      evaluation.reranking=true
  tfreid test --run runs/mars --pair a.jpg b.jpg
Testing on a dataset that the run was not trained on is naming its records. A run of system: siamese
also judges pairs: by default pairs drawn from query and gallery, beside the ranking.
"""


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and evaluates."""
    parsed = _parser().parse_intermixed_args(arguments)
    # --records takes all the words after it.
    records, more = split_overrides(parsed.records)
    overrides = parsed.overrides + more
    _check(parsed, records)
    if len(records) == 1:
        overrides.append(f"data.records={json.dumps(records[0])}")
    if parsed.model:
        _judge_by_export(parsed)
        return
    config, weights, run, output = _weights(parsed, overrides)
    thresholds = run.thresholds if run else None
    if parsed.pair:
        _judge_by_weights(parsed, config, weights, thresholds, output)
    elif parsed.pairs or parsed.split:
        _verify(parsed, config, weights, thresholds, output)
    else:
        _evaluate(parsed, config, weights, thresholds, records, run, output)


def _evaluate(parsed, config, weights, thresholds, records, run, output) -> None:
    """Evaluates on whole test sets."""
    from tfreid.systems.registry import make_system

    system = make_system(config)
    if len(records) > 1:
        output = Path(parsed.output or (run.path / "evaluation" if run else output))
        system.test(weights, output, parsed.ranked_queries, thresholds, records)
        print(f"wrote {output}/summary.json, {output}/cmc.png and a folder for each test set")
        return
    output = Path(parsed.output or output)
    system.test(weights, output, parsed.ranked_queries, thresholds)
    print(f"wrote {output}/results.json and pictures beside it")


def _verify(parsed, config, weights, thresholds, folder) -> None:
    """Judges the pairs of a table or of a split."""
    from tfreid.systems.registry import make_system

    name = f"pairs-{Path(parsed.pairs).stem}" if parsed.pairs else f"split-{parsed.split}"
    output = Path(parsed.output or folder / name)
    make_system(config).verify_pairs(weights, output, thresholds=thresholds,
                                     pairs_file=parsed.pairs, split=parsed.split)
    print(f"wrote {output}/verification.json and pictures beside it")


def _judge_by_weights(parsed, config, weights, thresholds, folder) -> None:
    from tfreid.systems.registry import make_system

    _judge(make_system(config).make_judge(weights, thresholds), parsed, folder)


def _judge_by_export(parsed) -> None:
    from tfreid.systems.siamese.judging import ExportJudge

    _judge(ExportJudge(parsed.model), parsed, Path("."))


def _judge(judge, parsed, folder) -> None:
    """Judges two image files."""
    from tfreid.systems.siamese.judging import judge_files

    first, second = parsed.pair
    picture = Path(parsed.output or folder) / f"pair-{Path(first).stem}-{Path(second).stem}.png"
    print(judge_files(judge, first, second, picture))
    print(f"wrote {picture}")


def _weights(parsed, overrides):
    """Returns the settings, the weights, the run, if any, and where figures go by default."""
    from tfreid.config import load_config
    from tfreid.training.run_folder import open_run

    if not parsed.run:
        if parsed.weights is None:
            raise UserError("--config needs --weights FILE, the trained weights to evaluate.")
        config = load_config(parsed.config, overrides, parsed.variant)
        return config, parsed.weights, None, Path("runs") / f"{config.name}-evaluation"
    run, config = open_run(parsed.run, overrides)
    output = run.path
    if overrides or parsed.weights:
        # The run's own figures stay what they are.
        output = run.path / f"evaluation-{Path(config.data.records or '').name}"
    return config, run.weights(parsed.weights or "best"), run, output


def _check(parsed, records) -> None:
    if parsed.records and not records:
        raise UserError("--records names no folder; give at least one, before any overrides.")
    if parsed.ranked_queries < 0:
        raise UserError("--ranked-queries is negative; give 0 for no picture.")
    sources = [bool(parsed.run), bool(parsed.config), bool(parsed.model)]
    if sum(sources) != 1:
        raise UserError("give either --run RUN, or --config RECIPE with --weights FILE, or, with "
                        "--pair, --model DIR.")
    if parsed.model and not parsed.pair:
        raise UserError("--model judges two files; name them with --pair.")
    if parsed.model and (parsed.weights or parsed.overrides or parsed.records):
        raise UserError("--model has its own weights and settings; leave out --weights, --records "
                        "and settings.")
    if sum(map(bool, (parsed.pair, parsed.pairs, parsed.split))) > 1:
        raise UserError("--pair, --pairs and --split are three things to test; give one.")
    if len(records) > 1 and (parsed.pair or parsed.pairs or parsed.split):
        raise UserError("several --records are for whole test sets; give one.")


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__, _EPILOG)
    parser.add_argument("--run", metavar="RUN",
                        help="folder of a trained run: its settings, its best weights")
    add_recipe_arguments(parser, ", for weights that no run here has made; needs --weights")
    parser.add_argument("--weights", metavar="best|last|FILE",
                        help="which weights (default for --run: those of its best evaluation)")
    parser.add_argument("--model", metavar="DIR",
                        help="exported SavedModel, or the folder of its versions, instead of a "
                        "run; for --pair")
    parser.add_argument("--records", nargs="+", default=[], metavar="DIR",
                        help="test sets to evaluate on, folders written by tfrecords.build "
                        "(default: data.records); several share one table, one summary.json and "
                        "one CMC plot, so that a model's figures stand beside each other")
    parser.add_argument("--pair", nargs=2, metavar=("IMAGE", "IMAGE"),
                        help="two image files: prints the probability that they show one person "
                        "and every distance, and draws them (system: siamese)")
    parser.add_argument("--pairs", metavar="CSV",
                        help="table with the columns first,second,same, images relative to its "
                        "folder: prints the accuracy at the threshold that the run was calibrated "
                        "to, ROC AUC, average precision and equal error rate (system: siamese)")
    parser.add_argument("--split", metavar="NAME",
                        help="the same for pairs drawn from one split of the records, such as "
                        "gallery (system: siamese)")
    parser.add_argument("--output", metavar="DIR",
                        help="folder for figures and pictures (default: RUN; with overrides, "
                        "--records or --weights, RUN/evaluation-RECORDS, so that the run's own "
                        "figures stay; with several records, RUN/evaluation and a folder in it for "
                        "each; with --pairs or --split, a folder pairs-NAME or split-NAME in it; "
                        "with --config, runs/NAME-evaluation; with --model, the current folder)")
    parser.add_argument("--ranked-queries", type=int, default=8, metavar="N",
                        help="queries in the ranked-list picture; 0 draws none (default: 8); "
                        "tools/visualize_csn.py draws those of a csn")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value",
                        help="settings on top, such as evaluation.metric=euclidean; "
                        "evaluation.multi_query=true, evaluation.expansion=true and "
                        "evaluation.reranking=true each add figures beside the plain ones")
    return parser
