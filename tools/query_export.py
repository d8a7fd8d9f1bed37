"""Embeds image files with an exported model, prints their distances and who is the same person."""

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
    parser.add_argument("--threshold", metavar="FILE",
                        help="threshold.json of tools/calibrate_threshold.py, by which pairs are "
                        "called the same person (default for --model: the export's own, if any; "
                        "for --url: none, since a server does not tell)")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="JPEG or PNG files")
    parsed = parser.parse_args(arguments)
    files = [_read(Path(path)) for path in parsed.images]

    from tfreid.evaluation import pairwise_distances
    from tfreid.evaluation.distances import describe_metric
    from tfreid.evaluation.threshold import load_threshold
    from tfreid.serving.client import (
        embed_with_saved_model,
        embed_with_server,
        exported_threshold,
    )

    threshold = load_threshold(parsed.threshold) if parsed.threshold else None
    if parsed.url:
        embeddings = embed_with_server(parsed.url, files)
    else:
        embeddings = embed_with_saved_model(parsed.model, files)
        threshold = threshold or exported_threshold(parsed.model)
    if threshold is None:
        distances = pairwise_distances(embeddings, embeddings, "cosine")
        print("cosine distances (0: the same direction, 1: unrelated)")
    else:
        distances = threshold.distances(embeddings, embeddings)
        print(f"{describe_metric(threshold.metric, threshold.minkowski_p)} distances (up to "
              f"{threshold.threshold:.3f}: the same person)")
    for number, (path, row) in enumerate(zip(parsed.images, distances), 1):
        print(f"{number:3}  {'  '.join(f'{value:.3f}' for value in row)}  {path}")
    if threshold is not None and len(files) > 1:
        _print_verdicts(distances, threshold)


def _print_verdicts(distances, threshold) -> None:
    """Prints for each pair of images whether they show the same person."""
    print(f"threshold {threshold.threshold:.4f}, chosen by {threshold.chosen_by} on "
          f"{threshold.dataset}: {threshold.true_positive_rate:.1%} of the pairs of one person "
          f"pass, and {threshold.false_positive_rate:.2%} of the pairs of two")
    for first in range(len(distances)):
        for second in range(first + 1, len(distances)):
            same = distances[first, second] <= threshold.threshold
            verdict = "the same person" if same else "two persons"
            print(f"{first + 1} and {second + 1}: {verdict} ({distances[first, second]:.3f})")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path.") from None


if __name__ == "__main__":
    sys.exit(main())
