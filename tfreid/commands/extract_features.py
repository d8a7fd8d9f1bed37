"""Writes the features of records or image files, with paths, people and cameras, into one file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfrecords.arguments import split_overrides, whole
from tfrecords.errors import UserError, command_line
from tfreid.commands.parser import CommandParser, open_client, split_images

if TYPE_CHECKING:
    import numpy as np

_UNKNOWN = -1

_EPILOG = """\
examples:
  tfreid extract-features --run runs/first --records records/market1501 --output market.npz
  tfreid extract-features --model served/reid --output crops.parquet crops/ more/one.jpg

The file holds one row per image: features (float32 [n, d], as served: unit vectors unless
export.normalize=false), paths, person_ids, camera_ids (-1: unknown) and splits. numpy.load reads
.npz; .parquet needs pyarrow. The file appears when it is whole.
"""


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and writes the features."""
    parsed = _parser().parse_intermixed_args(arguments)
    words, overrides = split_images(parsed)
    # --splits takes all the words after it.
    splits, more = split_overrides(parsed.splits)
    if bool(words) == bool(parsed.records):
        raise UserError("give either --records DIR or image files and folders.")
    if splits and not parsed.records:
        raise UserError("--splits are those of --records; give both.")
    output = Path(parsed.output)
    write = _writer(output)

    from tfreid.serving.image_lists import list_files, list_records

    images = (list_records(parsed.records, parsed.fold, splits) if parsed.records
              else list_files(words))
    client, _ = open_client(parsed, overrides + more)

    from tfreid.serving.image_files import collect, extract_files
    from tfreid.serving.interface import find_embedding

    def embeddings():
        for places, features in extract_files(
                client, images.paths, parsed.batch_size, "features", images.read):
            embedding = find_embedding(features)
            if embedding is None:
                raise UserError("this model compares images and has no feature of one; give a "
                                "model of another system than csn.")
            yield places, {"features": embedding}

    features = collect(embeddings(), len(images.paths))["features"]
    write(output, {
        "features": features, "paths": images.paths, "person_ids": _numbers(images.person_ids),
        "camera_ids": _numbers(images.camera_ids), "splits": [name or "" for name in images.splits],
    })
    print(f"wrote {output}: {features.shape[1]} numbers for each of {len(features):,} images")


def _numbers(texts: Sequence[str | None]) -> np.ndarray:
    import numpy as np

    return np.array([_UNKNOWN if text is None else int(text) for text in texts], np.int64)


def _writer(output: Path) -> Callable[[Path, dict], None]:
    """Returns the function that writes a file of this name's kind."""
    if output.suffix == ".npz":
        return _write_npz
    if output.suffix != ".parquet":
        raise UserError(f"--output {output} must end in .npz or .parquet.")

    from tfreid.serving.embedding_files import require_pyarrow

    require_pyarrow("a .parquet file")
    return _write_parquet


def _write_npz(output: Path, columns: dict) -> None:
    import numpy as np

    from tfrecords.writing import whole_file

    with whole_file(output) as temporary:
        np.savez(temporary, **columns)


def _write_parquet(output: Path, columns: dict) -> None:
    import pyarrow
    from pyarrow import parquet

    from tfrecords.writing import whole_file

    features = columns.pop("features")
    lists = pyarrow.FixedSizeListArray.from_arrays(features.ravel(), features.shape[1])
    with whole_file(output) as temporary:
        parquet.write_table(pyarrow.table({"features": lists, **columns}), temporary)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(__doc__, _EPILOG)
    parser.add_served("*")
    parser.add_argument("--records", metavar="DIR",
                        help="records whose images are embedded, a folder of `tfreid build`")
    parser.add_argument("--splits", nargs="+", default=[], metavar="NAME",
                        help="splits of the records (default: all)")
    parser.add_argument("--fold", type=whole(0), default=0, metavar="N",
                        help="fold of records that have several (default: %(default)s)")
    parser.add_argument("--output", required=True, metavar="FILE",
                        help=".npz or .parquet file; one of that name is replaced")
    parser.add_number("--batch-size", 64, "images in memory at once")
    return parser
