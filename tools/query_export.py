"""Embeds image files with an exported model and prints the distances between them."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tfrecords.errors import UserError, command_line  # noqa: E402


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", metavar="DIR",
                        help="exported SavedModel, or the folder of its versions")
    source.add_argument("--url", metavar="URL",
                        help="running TF Serving, such as http://localhost:8501/v1/models/reid")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="JPEG or PNG files")
    parsed = parser.parse_args(arguments)
    files = [_read(Path(path)) for path in parsed.images]

    from tfreid.evaluation import pairwise_distances
    from tfreid.serving.client import embed_with_saved_model, embed_with_server

    if parsed.url:
        embeddings = embed_with_server(parsed.url, files)
    else:
        embeddings = embed_with_saved_model(parsed.model, files)
    distances = pairwise_distances(embeddings, embeddings, "cosine")
    print("cosine distances (0: the same direction, 1: unrelated)")
    for number, (path, row) in enumerate(zip(parsed.images, distances), 1):
        print(f"{number:3}  {'  '.join(f'{value:.3f}' for value in row)}  {path}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path.") from None


if __name__ == "__main__":
    sys.exit(main())
