"""Compares image files: distances, the nearest of a gallery, and which show the same person."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tfrecords.arguments import whole
from tfrecords.errors import UserError, command_line
from tfreid.commands.parser import CommandParser, open_client, split_images

if TYPE_CHECKING:
    import numpy as np

    from tfreid.evaluation.thresholds import Threshold
    from tfreid.serving.image_files import Nearest
    from tfreid.serving.interface import Client, Outputs

# Images whose distances are printed as a matrix, and queries that are drawn.
_MOST_IN_MATRIX = _MOST_DRAWN = 20
_TOP = 10
_LETTERS = 16
# Images that are sent together; features of pair models are large, as text above all.
_BATCH, _BATCH_OF_SERVER = 64, 8
# Rows of stored embeddings that are compared at once.
_BLOCK = 1024

_EPILOG = """\
examples:
  tfreid query --model served/reid one.jpg another.jpg
  tfreid query --model served/reid query.jpg --gallery crops --top 10
  tfreid query --config osnet --variant x0_25 --weights converted.weights.h5 a.jpg b.jpg

Without --gallery an embedding model compares all images with each other (up to 20: the matrix of
their distances), and a pair model (system: csn or siamese) ranks the others by their score with the
first. Images are read and compared in batches, so a gallery may be of any size.

A service extracts its gallery once and keeps the features; each query is then extracted once and
compared with all of them. The signature strict fails if a file is broken, and names its row;
extract goes on, with zeros there, and has the output valid:

  model = tf.saved_model.load("served/csn/1").signatures
  gallery = model["strict"](image_bytes=tf.constant(gallery_files))    # store these
  query = model["strict"](image_bytes=tf.constant([query_file]))
  inputs = {f"query_{name}": value for name, value in query.items()}
  inputs.update({f"gallery_{name}": value for name, value in gallery.items()})
  scores = model["compare_all"](**inputs)["score"]                     # [1, gallery]
"""


class _Comparison(NamedTuple):
    """How a model compares images.

    Attributes:
        compare: Computes figures [q, g], among them `ORDER`, of the features of q and g images.
        columns: Names of the figures that may be printed.
        title: What they are.
        accepts: Whether figures mean the same person, or None without a threshold.
        note: Where the threshold comes from.
    """

    compare: Callable[[Outputs, Outputs], Outputs]
    columns: tuple[str, ...]
    title: str
    accepts: Callable[[Mapping[str, np.ndarray]], np.ndarray] | None
    note: str


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and prints."""
    parsed = _parser().parse_intermixed_args(arguments)
    words, overrides = split_images(parsed)
    if not words:
        raise UserError("there is no image to compare; name at least one.")

    from tfreid.evaluation.thresholds import load_thresholds
    from tfreid.serving.image_files import collect, extract_files, find_image_files, find_nearest

    files = find_image_files(words)
    gallery = find_image_files([parsed.gallery]) if parsed.gallery else []
    thresholds = load_thresholds(parsed.threshold) if parsed.threshold else None
    client, own = open_client(parsed, overrides)
    thresholds = own if thresholds is None else thresholds
    batch = _BATCH_OF_SERVER if parsed.url else _BATCH
    (_, features), = extract_files(client, files[:1], batch, "queries")
    embeds = "embedding" in features
    if not (gallery or embeds):
        files, gallery = files[:1], files[1:]
        if not gallery:
            raise UserError("a pair model compares; give a second image.")
    if len(files) > 1:
        features = collect(extract_files(client, files, batch, "queries"), len(files))
    comparison = (_by_distance(thresholds) if embeds else _by_score(client, thresholds, parsed))
    if not gallery and len(files) <= _MOST_IN_MATRIX:
        _print_matrix(features["embedding"], comparison, files)
        return
    top = parsed.top or (_TOP if parsed.gallery or embeds else len(gallery))
    if gallery:
        found = find_nearest(features, extract_files(client, gallery, batch, "gallery"),
                             comparison.compare, top)
    else:
        # Every image also finds itself.
        gallery = files
        blocks = ((slice(start, min(start + _BLOCK, len(files))),
                   {"embedding": features["embedding"][start : start + _BLOCK]})
                  for start in range(0, len(files), _BLOCK))
        found = find_nearest(features, blocks, comparison.compare, top + 1).without_self(top)
    _print_rankings(files, gallery, found, comparison)
    if parsed.gallery or parsed.picture:
        _draw(files, gallery, found, comparison, parsed.picture or "ranking.png")


def _by_distance(thresholds: Mapping[str, Threshold]) -> _Comparison:
    """Compares embeddings, by the metric of the threshold if there is one."""
    from tfreid.evaluation.distances import describe_metric, pairwise_distances
    from tfreid.evaluation.thresholds import choose_threshold
    from tfreid.serving.image_files import ORDER

    threshold = choose_threshold(thresholds, "cosine") if thresholds else None
    measure = threshold.distances if threshold else pairwise_distances

    def compare(queries, gallery):
        distances = measure(queries["embedding"], gallery["embedding"])
        return {ORDER: distances, "distance": distances}

    if threshold is None:
        title = "cosine distances (0: the same direction, 1: unrelated)"
        return _Comparison(compare, ("distance",), title, None, "")
    title = (f"{describe_metric(threshold.metric, threshold.minkowski_p)} distances (up to "
             f"{threshold.threshold:.3f}: the same person)")
    note = (f"threshold {threshold.threshold:.4f}, chosen by {threshold.chosen_by} on "
            f"{threshold.dataset}")
    if threshold.true_positive_rate is not None and threshold.false_positive_rate is not None:
        note += (f": {threshold.true_positive_rate:.1%} of the positive pairs pass, and "
                 f"{threshold.false_positive_rate:.2%} of the negative pairs")
    return _Comparison(compare, ("distance",), title,
                       lambda figures: figures["distance"] <= threshold.threshold, note)


def _by_score(client: Client, thresholds: Mapping[str, Threshold], parsed) -> _Comparison:
    """Compares by the score of a pair model."""
    from tfreid.evaluation.thresholds import PROBABILITY
    from tfreid.serving.image_files import ORDER

    threshold = thresholds.get(PROBABILITY)
    if parsed.threshold and threshold is None:
        raise UserError(f"{parsed.threshold} has no threshold of probabilities, which is what a "
                        "pair model gives; leave out --threshold.")

    def compare(queries, gallery):
        found = client.compare_all(queries, gallery)
        return {ORDER: -found["score"], **found}

    columns = ("score", "probability", "distance")
    title = "best score first (probability: of a match)"
    if threshold is None:
        return _Comparison(compare, columns, title, None, "")

    def accepts(figures):
        import numpy as np

        probability = figures["probability"].astype(np.float64)
        with np.errstate(divide="ignore"):
            return np.log(probability) - np.log1p(-probability) >= threshold.threshold

    return _Comparison(compare, columns, title, accepts,
                       f"threshold chosen by {threshold.chosen_by} on {threshold.dataset}")


def _print_matrix(embeddings: np.ndarray, comparison: _Comparison, files: Sequence[Path]) -> None:
    """Prints the distances between all images, and decisions if there is a threshold."""
    sides = {"embedding": embeddings}
    distances = comparison.compare(sides, sides)["distance"]
    print(comparison.title)
    for number, (path, row) in enumerate(zip(files, distances), 1):
        print(f"{number:3}  {'  '.join(f'{value:.3f}' for value in row)}  {path}")
    if comparison.accepts is None or len(files) < 2:
        return
    print(comparison.note)
    same = comparison.accepts({"distance": distances})
    for first in range(len(files)):
        for second in range(first + 1, len(files)):
            print(f"{first + 1} and {second + 1}: {_decision(same[first, second])} "
                  f"({distances[first, second]:.3f})")


def _print_rankings(files: Sequence[Path], gallery: Sequence[Path], found: Nearest,
                    comparison: _Comparison) -> None:
    """Prints the nearest images of every query, with decisions if there is a threshold."""
    columns = [name for name in comparison.columns if name in found.figures]
    same = comparison.accepts(found.figures) if comparison.accepts else None
    if comparison.note:
        print(comparison.note)
    for query, path in enumerate(files):
        print(f"compared with {path}: {comparison.title}")
        print(f"     {'  '.join(f'{name:>11}' for name in columns)}")
        for rank, place in enumerate(found.indices[query]):
            figures = "  ".join(f"{found.figures[name][query, rank]:11.4f}" for name in columns)
            decision = "" if same is None else f"{_decision(same[query, rank]):18}"
            print(f"{rank + 1:3}  {figures}  {decision}{gallery[place]}")


def _draw(files: Sequence[Path], gallery: Sequence[Path], found: Nearest,
          comparison: _Comparison, picture: str) -> None:
    """Draws the first queries with their nearest images."""
    from tfreid.evaluation.picture_images import read_image_file
    from tfreid.visualization.ranked_list import RankedImage, RankedRow, draw_ranked_lists

    figure = next(name for name in comparison.columns if name in found.figures)
    same = comparison.accepts(found.figures) if comparison.accepts else None
    rows = []
    for query, path in enumerate(files[:_MOST_DRAWN]):
        results = [RankedImage(read_image_file(gallery[place]),
                               None if same is None else bool(same[query, rank]),
                               _label(gallery[place]),
                               float(found.figures[figure][query, rank]))
                   for rank, place in enumerate(found.indices[query])]
        rows.append(RankedRow(read_image_file(path), "", _label(path), results))
    explanation = f"Under each image: its {figure} and its file."
    if same is not None:
        explanation += " Green frame and tick: the same person by the threshold; red frame and "
        explanation += "cross: different people."
    draw_ranked_lists(rows, picture, explanation=explanation)
    left_out = len(files) - len(rows)
    print(f"wrote {picture}" + (f" (the first {len(rows)} queries)" if left_out else ""))


def _label(path: Path) -> str:
    """Returns what is written under an image: the end of its name, if the font has its letters."""
    from tfreid.visualization.page import drawable, shortened

    return shortened(path.name, _LETTERS) if drawable(path.name) else ""


def _decision(same: bool) -> str:
    return "the same person" if same else "different people"


def _parser() -> CommandParser:
    parser = CommandParser(__doc__, _EPILOG)
    parser.add_served("+")
    parser.add_argument("--gallery", metavar="DIR",
                        help="folder of images, also in folders below, that is ranked for every "
                        "IMAGE")
    parser.add_argument("--top", type=whole(), metavar="K",
                        help="nearest images to print and draw (default: 10; all of those named "
                        "after the first for a pair model)")
    parser.add_argument("--picture", metavar="PNG",
                        help="picture of the ranking (default with --gallery: ranking.png)")
    parser.add_argument("--threshold", metavar="FILE",
                        help="thresholds.json, which decides whether images show the same person "
                        "(default: that of the export or run, if any; for --url none, since a "
                        "server does not report it)")
    return parser
