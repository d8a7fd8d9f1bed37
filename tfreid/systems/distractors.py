"""How figures fall as distractors are added to the gallery: table, JSON and plot."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np

from tfrecords.errors import UserError
from tfrecords.files import read_json
from tfrecords.storage import as_path, is_remote
from tfreid.config import Config
from tfreid.evaluation.distances import describe_metric, find_metric
from tfreid.evaluation.features import FeatureStore, map_features
from tfreid.evaluation.protocol import check_spread
from tfreid.evaluation.ranking import RankingResult
from tfreid.evaluation.results import name_with_images, ruled_table, write_results_json
from tfreid.evaluation.streaming import check_counts, evaluate_with_distractors
from tfreid.records import Records, open_records
from tfreid.serving.stored_embeddings import StoredEmbeddings, holds_embeddings
from tfreid.visualization.distractor_plot import DistractorCurve, draw_distractor_curves
from tfreid.weights.choice import describe_weights, find_chosen_on

RESULTS_NAME, PLOT_NAME = "distractor_curve.json", "distractor_curve.png"
_NUM_COUNTS = 6
_ADDED = "added_distractors"
_FIX = f"give a {RESULTS_NAME} of `tfreid distractor-curve`"


def evaluate_distractors(config: Config, weights: str | Path, output: str | Path,
                         load: Callable[[], keras.Model], counts: Sequence[int] | None = None,
                         seed: int = 0, base: int | None = None,
                         features: str | Path | None = None) -> dict[int, RankingResult]:
    """Ranks galleries with growing numbers of distractors, prints a table and writes JSON.

    The experiment of Almazan et al., "Re-ID done right" (2018), Section 4.5. The distractors are
    the last images of split `gallery`; larger random subsets contain the smaller ones.

    Args:
        config: The settings; `data.records` names the records, `evaluation` feature and metric.
        weights: The weight file; table, file and plot say if test images chose it.
        output: Folder for `distractor_curve.json`.
        load: Builds the embedding model with these weights.
        counts: Numbers of distractors to add; None takes six numbers from none to all.
        seed: Seed of the random subsets, 0 or above.
        base: Number of gallery images before the first distractor; None reads it from the records.
        features: Folder that keeps the features for later runs, or that `tfreid embed-images`
            wrote; None keeps none.

    Returns:
        Number of distractors -> the figures, in ascending order.

    Raises:
        UserError: If the settings, the weights or the records are wrong, or the records hold fewer
            distractors than requested.
    """
    records = open_records(config.data)
    base = _check_records(config, records, base)
    query, gallery = (records[split].index for split in ("query", "gallery"))
    total = len(gallery) - base
    if counts is None:
        counts = np.linspace(0, total, _NUM_COUNTS).astype(int).tolist()
    counts = check_counts(counts, total)
    evaluation, output = config.evaluation, as_path(output)
    find_metric(evaluation.metric, evaluation.minkowski_p)
    output.mkdir(parents=True, exist_ok=True)
    with _feature_files(features, config, records, load, output) as files:
        query_features, gallery_features = files("query"), files("gallery")
        check_spread(gallery_features[:base])
        results = evaluate_with_distractors(
            query_features, query.ids, query.cameras, gallery_features[:base],
            gallery.ids[:base], gallery.cameras[:base], gallery_features[base:], counts, seed,
            evaluation.metric, evaluation.max_rank, progress=True, p=evaluation.minkowski_p)
    protocol = f"{records.description}, single query"
    chosen_on = find_chosen_on(weights)
    print(_table(results, protocol, describe_weights(weights, chosen_on), seed))
    write_results_json(output / RESULTS_NAME, {
        "name": config.name, "protocol": protocol, "weights": str(weights),
        "weights_chosen_on": chosen_on,
        "feature": evaluation.feature, "seed": seed, "base_gallery": base, _ADDED: total,
        "curve": [{"distractors": count, **result.as_dict()}
                  for count, result in results.items()],
    })
    return results


def draw_saved_curves(sources: Sequence[str | Path], path: str | Path) -> None:
    """Draws several `distractor_curve.json`, or folders with one, into one PNG.

    Raises:
        UserError: If a file is missing, holds no curve or is named twice.
    """
    paths = [as_path(source) / RESULTS_NAME if as_path(source).is_dir() else as_path(source)
             for source in sources]
    read = [_read_curve(saved) for saved in paths]
    shared = Counter(name for name, _ in read)
    curves = {}
    for (name, curve), saved in zip(read, paths):
        name = f"{name} ({saved})" if shared[name] > 1 else name
        if name in curves:
            raise UserError(f"{saved} is named twice; name each curve once.")
        curves[name] = curve
    draw_distractor_curves(curves, path)


def _check_records(config: Config, records: Records, base: int | None) -> int:
    """Returns the number of gallery images before the added distractors."""
    query, gallery = (records[split].index for split in ("query", "gallery"))
    folder = records.directory
    if records.query_galleries is not None:
        raise UserError(f"{folder}: each query ranks its own gallery there, so distractors cannot "
                        "be added; give records with one gallery.")
    tracked = any((index.tracklets >= 0).any() for index in (query, gallery))
    if tracked and config.evaluation.tracklet_pooling != "none":
        raise UserError(f"{folder} has tracklets, but distractors are single images; set "
                        "evaluation.tracklet_pooling=none to rank all images on their own.")
    if base is None:
        added = records.manifest.options.get(_ADDED, 0)
        if not added:
            raise UserError(
                f"{folder} holds no added distractors; build records with `tfreid "
                "build market1501_500k`, or give --base, the number of images before them."
            )
        base = len(gallery) - added
    if not 0 < base < len(gallery):
        raise UserError(f"{folder}: the gallery has {len(gallery)} images, so --base "
                        f"must be 1 to {len(gallery) - 1}, not {base}.")
    wrong = (gallery.ids[base:] < 0) | np.isin(gallery.ids[base:], query.ids)
    if wrong.any():
        raise UserError(
            f"{folder}: gallery image {base + np.argmax(wrong)} is junk or shows a person of the "
            f"queries, so not all images behind the first {base} are distractors."
        )
    return base


@contextlib.contextmanager
def _feature_files(features: str | Path | None, config: Config, records: Records,
                   load: Callable[[], keras.Model],
                   output: Path) -> Iterator[Callable[[str], np.ndarray]]:
    """Gives the body what returns the features of a split, a read-only memory map."""
    embedded = None
    if features is not None and holds_embeddings(features):
        embedded, features = StoredEmbeddings(features, records), None
    with contextlib.ExitStack() as stack:
        if features is None:
            features = stack.enter_context(
                tempfile.TemporaryDirectory(
                    prefix="features-", dir=None if is_remote(output) else output))
        if embedded is None:
            yield FeatureStore(features, load(), config, records).features
        else:
            yield lambda split: map_features(as_path(features) / f"{split}.npy", embedded, split)


def _table(results: dict[int, RankingResult], protocol: str, weights: str, seed: int) -> str:
    first = next(iter(results.values()))
    ranks = [k for k in (1, 5, 10) if k <= len(first.cmc)]
    heads = ("added distractors", *(f"rank-{k}" for k in ranks), "mAP", "mINP", "gallery")
    rows = [
        (f"{count:,}",
         *(f"{100 * score:.2f} %"
           for score in (*map(result.rank, ranks), result.mean_ap, result.mean_inp)),
         f"{result.num_gallery:,}")
        for count, result in results.items()
    ]
    facts = [
        ("protocol", protocol),
        ("weights", weights),
        ("valid queries", f"{first.num_valid_queries:,}"),
        ("skipped queries (no valid match)", f"{first.num_skipped_queries:,}"),
        ("distance", describe_metric(first.metric, first.minkowski_p)),
        ("seed of the choice", str(seed)),
    ]
    return ruled_table([[heads], rows, facts])


def _read_curve(path: Path) -> tuple[str, DistractorCurve]:
    if not path.is_file():
        raise UserError(f"{path}: no distractor curve there; `tfreid distractor-curve` writes one.")
    try:
        content = read_json(path, _FIX)
        rows = [(int(point["distractors"]), float(point["mean_ap"]), float(point["rank_1"]))
                for point in content["curve"]]
        counts, mean_ap, rank_1 = map(np.array, zip(*rows))
        scores = np.concatenate([mean_ap, rank_1])
        if np.any(np.diff(counts) <= 0) or not np.all((scores >= 0) & (scores <= 1)):
            raise ValueError("no curve")
        name = name_with_images(str(content["name"]), content)
        return name, DistractorCurve(counts, mean_ap, rank_1)
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path} is broken (it holds no distractor curve); {_FIX}.") from None
