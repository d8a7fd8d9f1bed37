"""Compares image files with an exported model: distances, and which show the same person."""

from __future__ import annotations

from pathlib import Path

from tfrecords.errors import UserError, command_line
from tfreid.commands.parser import CommandParser

_EPILOG = """\
With an embedding model it prints the distances between all images. With a pair model (system: csn
or siamese) the first image is the query, and the others are ranked by their score with it.

A service extracts its gallery once and keeps the features; each query is then extracted once and
compared with all of them:

  model = tf.saved_model.load("served/csn/1").signatures
  gallery = model["extract"](image_bytes=tf.constant(gallery_files))   # store these
  query = model["extract"](image_bytes=tf.constant([query_file]))
  inputs = {f"query_{name}": value for name, value in query.items()}
  inputs.update({f"gallery_{name}": value for name, value in gallery.items()})
  scores = model["compare_all"](**inputs)["score"]                     # [1, gallery]
"""


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and prints."""
    parser = CommandParser(__doc__, _EPILOG)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", metavar="DIR",
                        help="exported SavedModel, or the folder of its versions")
    source.add_argument("--url", metavar="URL",
                        help="running TF Serving, such as http://localhost:8501/v1/models/reid")
    parser.add_argument("--threshold", metavar="FILE",
                        help="thresholds.json of `tfreid calibrate`, which decides whether pairs "
                        "show the same person (default for --model: the export's own, if any; for "
                        "--url: none, since a server does not report it)")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="JPEG or PNG files")
    parsed = parser.parse_args(arguments)
    files = [_read(Path(path)) for path in parsed.images]

    from tfreid.serving.client import SavedModelClient, ServerClient

    client = ServerClient(parsed.url) if parsed.url else SavedModelClient(parsed.model)
    outputs = client.extract(files)
    if "embedding" in outputs:
        _print_distances(outputs["embedding"], parsed)
    else:
        _print_scores(client, outputs, parsed)


def _print_distances(embeddings, parsed) -> None:
    """Prints the distances between all images, and decisions if there is a threshold."""
    from tfreid.evaluation.distances import describe_metric, pairwise_distances
    from tfreid.evaluation.thresholds import choose_threshold, load_thresholds
    from tfreid.serving.client import exported_thresholds

    thresholds = load_thresholds(parsed.threshold) if parsed.threshold else {}
    if parsed.model:
        thresholds = thresholds or exported_thresholds(parsed.model)
    threshold = choose_threshold(thresholds, "cosine") if thresholds else None
    if threshold is None:
        distances = pairwise_distances(embeddings, embeddings, "cosine")
        print("cosine distances (0: the same direction, 1: unrelated)")
    else:
        distances = threshold.distances(embeddings, embeddings)
        print(f"{describe_metric(threshold.metric, threshold.minkowski_p)} distances (up to "
              f"{threshold.threshold:.3f}: the same person)")
    for number, (path, row) in enumerate(zip(parsed.images, distances), 1):
        print(f"{number:3}  {'  '.join(f'{value:.3f}' for value in row)}  {path}")
    if threshold is not None and len(distances) > 1:
        _print_decisions(distances, threshold)


def _print_scores(client, features, parsed) -> None:
    """Ranks all images but the first by their score with the first."""
    if parsed.threshold:
        raise UserError("--threshold is for embeddings; leave it out, a pair model gives "
                        "probabilities of a match.")
    if len(parsed.images) < 2:
        raise UserError("a pair model compares; give a second image.")
    query, gallery = ({name: values[rows] for name, values in features.items()}
                      for rows in (slice(1), slice(1, None)))
    compared = client.compare_all(query, gallery)
    columns = [name for name in ("score", "probability", "distance") if name in compared]
    print(f"compared with {parsed.images[0]} (probability: of a match), best score first")
    print(f"     {'  '.join(f'{name:>11}' for name in columns)}")
    for rank, place in enumerate((-compared["score"][0]).argsort(kind="stable"), 1):
        figures = "  ".join(f"{compared[name][0, place]:11.4f}" for name in columns)
        print(f"{rank:3}  {figures}  {parsed.images[place + 1]}")


def _print_decisions(distances, threshold) -> None:
    """Prints for each pair of images whether they show the same person."""
    print(f"threshold {threshold.threshold:.4f}, chosen by {threshold.chosen_by} on "
          f"{threshold.dataset}: {threshold.true_positive_rate:.1%} of the positive pairs pass, "
          f"and {threshold.false_positive_rate:.2%} of the negative pairs")
    for first in range(len(distances)):
        for second in range(first + 1, len(distances)):
            same = distances[first, second] <= threshold.threshold
            decision = "the same person" if same else "different people"
            print(f"{first + 1} and {second + 1}: {decision} ({distances[first, second]:.3f})")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path.") from None
