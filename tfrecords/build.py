"""Command line that turns a dataset folder into TFRecords: `tfreid build DATASET`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tfrecords.arguments import HomeParser, whole
from tfrecords.datasets import DATASETS, load_dataset
from tfrecords.errors import command_line, printable
from tfrecords.identity_splits import describe_identity_splits
from tfrecords.images import DECODABLE_PIXELS, MAX_PIXELS
from tfrecords.manifest import Manifest
from tfrecords.pool import usable_cores
from tfrecords.records import build_records
from tfrecords.runner import add_runner, chosen_beam
from tfrecords.scan import name_some

_COMMON = ("dataset", "root", "output", "shards", "workers", "skip_corrupt", "max_pixels",
           "runner", "beam_options")


@command_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Builds the records that the command line asks for."""
    settings = _parser().parse_args(arguments)
    dataset = load_dataset(settings.dataset)
    options = {name: value for name, value in vars(settings).items() if name not in _COMMON}
    if dataset.renders:
        options.update(workers=settings.workers, progress=True)
    scan = dataset.scan(settings.root, **options)
    _warn(scan.warnings)
    result = build_records(
        scan, settings.dataset, settings.output, shards=settings.shards, workers=settings.workers,
        skip_corrupt=settings.skip_corrupt, max_pixels=settings.max_pixels, progress=True,
        beam_options=chosen_beam(settings))
    _warn(result.warnings)
    if result.corrupt:
        _warn([f"{len(result.corrupt)} corrupt images are left out: {name_some(result.corrupt)}"])
    if result.shards_made:
        print(f"{settings.output}: {result.shards_made} shards made.")
    else:
        print(f"{settings.output} already holds this build; nothing to do.")
    print(format_summary(result.manifest))
    return 0


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        print(f"warning: {printable(warning)}", file=sys.stderr)


def format_summary(manifest: Manifest) -> str:
    """Returns a table with a line per split, and lines on the rest of the manifest."""
    titles = ("split", "images", "identities", "cameras", "distractors", "shards", "MB")
    lines = [f"{titles[0]:12}" + "".join(f"{title:>12}" for title in titles[1:])]
    for name, split in manifest.splits.items():
        counts = (split.images, split.identities, split.cameras, split.distractors,
                  len(split.shards))
        megabytes = sum(shard.bytes for shard in split.shards) / 1e6
        lines.append(f"{name:12}" + "".join(f"{count:12,}" for count in counts)
                     + f"{megabytes:12,.1f}")
    if manifest.identity_splits:
        lines.append(describe_identity_splits(manifest.identity_splits))
    if manifest.query_galleries:
        lines.append(f"each query ranks a gallery of its own: {manifest.query_galleries.file}")
    dropped = [f"{count:,} {reason}" for reason, count in manifest.dropped.items() if count]
    lines.append(f"dropped: {', '.join(dropped) or 'nothing'}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = HomeParser(prog="tfreid build", description=__doc__)
    commands = parser.add_subparsers(dest="dataset", required=True, metavar="DATASET")
    for name in DATASETS:
        dataset = load_dataset(name)
        command = commands.add_parser(name, help=dataset.summary, description=dataset.summary,
                                      epilog=dataset.layout, allow_abbrev=False,
                                      formatter_class=argparse.RawDescriptionHelpFormatter)
        _add_common(command)
        dataset.add_arguments(command)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", required=True, metavar="DIR", help="folder of the dataset")
    parser.add_argument(
        "--output", required=True, metavar="DIR",
        help="folder for the records; run the same command again to resume an interrupted build: "
             "finished shards are kept")
    parser.add_argument(
        "--shards", type=whole(high=10_000), default=4, metavar="N",
        help="record files of a split: readers open several at a time, and an interrupted build "
             "loses unfinished ones, so use more for a large dataset (default: %(default)s)")
    parser.add_argument(
        "--workers", type=whole(high=1024), default=usable_cores(), metavar="N",
        help="processes; each writes one shard at a time and takes about 0.1 GB of memory, besides "
             "the 0.5 GB or more of the TensorFlow that they share (outside Linux each loads its "
             "own) (default: the processors, %(default)s)")
    parser.add_argument(
        "--skip-corrupt", action="store_true",
        help="leave out images that are truncated or cannot be decoded, and count them; without "
             "it they are an error, because a broken copy should be repaired")
    parser.add_argument(
        "--max-pixels", type=whole(high=DECODABLE_PIXELS), default=MAX_PIXELS, metavar="N",
        help="images of more pixels count as corrupt and are not decoded, because a file of a few "
             "kB can declare gigabytes (default: %(default)s)")
    add_runner(parser)


if __name__ == "__main__":
    sys.exit(main())
