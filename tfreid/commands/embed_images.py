"""Embeds many images with an exported model into Parquet shards; run again, it goes on."""

from __future__ import annotations

import argparse
import functools
from collections import deque

from tfrecords.arguments import whole
from tfrecords.errors import command_line
from tfrecords.storage import as_path
from tfreid.commands.parser import CommandParser

_EPILOG = """\
examples:
  tfreid embed-images --model served/reid --input records/market1501 --output embedded/market1501
  tfreid embed-images --model served/reid --input 'cameras/**/*.jpg' --output embedded/cameras
  tfreid test --features embedded/market1501 --records records/market1501

Each shard embeddings-*.parquet has a row per image: key, path, split, person_id, camera_id and time
(null where unknown), and embedding. Images that cannot be read are listed in refused.csv, and the
others lose nothing. Shards that are finished are kept when the command is given again.
"""


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and embeds."""
    parsed = _parser().parse_args(arguments)

    from tfrecords.runner import chosen_beam, run_shards
    from tfrecords.writing import sole_writer
    from tfreid.serving import embedding_files, image_lists

    embedding_files.require_pyarrow("writing Parquet")
    output, beam = as_path(parsed.output), chosen_beam(parsed)
    images = image_lists.list_images(parsed.input, parsed.fold, parsed.splits)
    jobs = embedding_files.plan_embeddings(images, parsed.images_per_shard)
    with sole_writer(output, "embedding images"):
        embedding_files.start_plan(
            output, parsed.model, parsed.dtype, images, parsed.images_per_shard)
        pending = [job for job in jobs if not (output / job.file).exists()]
        work = functools.partial(
            embedding_files.write_embeddings, model=str(as_path(parsed.model).absolute()),
            output=str(output.absolute()), dtype=parsed.dtype, batch_size=parsed.batch_size)
        deque(run_shards(work, pending, sum(len(job.images) for job in pending), output,
                         beam_options=beam), maxlen=0)
        refused = embedding_files.join_refused(output)
    kept = f" ({len(jobs) - len(pending)} were there)" if len(pending) < len(jobs) else ""
    print(f"wrote {len(jobs)} shards{kept} in {output}: {len(images) - refused:,} images")
    if refused:
        print(f"{refused:,} images cannot be read: {output / embedding_files.REFUSED_NAME} says "
              "which and why")


def _parser() -> argparse.ArgumentParser:
    from tfrecords.runner import add_runner

    parser = CommandParser(__doc__, _EPILOG)
    parser.add_argument("--model", metavar="DIR", required=True,
                        help="exported SavedModel, or the folder of its versions")
    parser.add_argument("--input", metavar="WHAT", nargs="+", required=True,
                        help="a folder of records; a CSV table with the column path and, where "
                        "known, person_id, camera_id, time and split; or image files, folders and "
                        "quoted patterns")
    parser.add_argument("--output", metavar="DIR", required=True, help="folder for the shards")
    parser.add_argument("--splits", nargs="+", default=[], metavar="NAME",
                        help="splits of the records (default: all)")
    parser.add_argument("--fold", type=whole(0), default=0, metavar="N",
                        help="fold of records that have several (default: %(default)s)")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32",
                        help="numbers of the embeddings; float16 halves the files and keeps three "
                        "digits (default: %(default)s)")
    parser.add_number("--images-per-shard", 8192, "images of a shard, which is in memory until it "
                      "is written; an interruption loses unfinished shards", high=10**7)
    parser.add_number("--batch-size", 64, "images that go through the network together")
    add_runner(parser)
    return parser
