"""Writes the features of records or image files, with paths, people and cameras, into one file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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


class _Images(NamedTuple):
    """Images whose features are wanted, and what is known of them.

    Attributes:
        paths: Path of every image.
        person_ids: int64 array [n].
        camera_ids: int64 array [n].
        splits: Name of every image's split; empty for files.
        read: Returns an image file by its place, or None to read `paths`.
    """

    paths: list[str]
    person_ids: np.ndarray
    camera_ids: np.ndarray
    splits: list[str]
    read: Callable[[int], bytes] | None


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
    images = (_from_records(parsed.records, parsed.fold, splits) if parsed.records
              else _from_files(words))
    client, _ = open_client(parsed, overrides + more)

    from tfreid.serving.client import find_embedding
    from tfreid.serving.image_files import collect, extract_files

    def embeddings():
        for places, features in extract_files(
                client, images.paths, parsed.batch_size, "features", images.read):
            embedding = find_embedding(features)
            if embedding is None:
                raise UserError("this model compares images and has no feature of one; give a "
                                "model of another system than csn.")
            yield places, {"features": embedding}

    features = collect(embeddings(), len(images.paths))["features"]
    columns = images._asdict()
    del columns["read"]
    write(output, {"features": features, **columns})
    print(f"wrote {output}: {features.shape[1]} numbers for each of {len(features):,} images")


def _from_files(words: Sequence[str]) -> _Images:
    import numpy as np

    from tfreid.serving.image_files import find_image_files

    paths = [str(path) for path in find_image_files(words)]
    unknown = np.full(len(paths), _UNKNOWN, np.int64)
    return _Images(paths, unknown, unknown, [""] * len(paths), None)


def _from_records(directory: str, fold: int, names: Sequence[str]) -> _Images:
    import numpy as np

    from tfreid.records import Records

    records = Records(directory, fold)
    splits = [records[name] for name in names or records.splits]
    indices = [split.index for split in splits]
    owners = [(split, place) for split in splits for place in range(len(split))]
    return _Images(
        [str(path) for index in indices for path in index.paths],
        np.concatenate([index.ids for index in indices]),
        np.concatenate([index.cameras for index in indices]),
        [split.name for split, _ in owners],
        lambda row: owners[row][0].encoded[owners[row][1]])


def _writer(output: Path) -> Callable[[Path, dict], None]:
    """Returns the function that writes a file of this name's kind."""
    if output.suffix == ".npz":
        return _write_npz
    if output.suffix != ".parquet":
        raise UserError(f"--output {output} must end in .npz or .parquet.")
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise UserError(f"a .parquet file needs pyarrow ({error}); run `pip install pyarrow`, or "
                        "name an .npz file.") from None
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
