"""One evaluation from weights to table, JSON, CMC plot and ranked-list picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfrecords.errors import UserError
from tfrecords.manifest import read_manifest
from tfreid.data.records import decode_image, read_encoded
from tfreid.evaluation.features import Evaluator, Ranked
from tfreid.evaluation.ranking import top_matches
from tfreid.evaluation.report import results_table, write_results_json
from tfreid.models.loading import load_embedding_model
from tfreid.settings import Config
from tfreid.visualization.cmc_plot import draw_cmc
from tfreid.visualization.ranked_list import RankedImage, RankedRow, draw_ranked_lists


def evaluate_weights(
    config: Config, weights: str | Path, output: str | Path, ranked_queries: int = 8
) -> Ranked:
    """Evaluates weights on the test images of `data.records`, prints a table and writes files.

    Args:
        config: The settings.
        weights: `.weights.h5` file.
        output: Folder for `results.json`, `cmc.png` and `ranked_lists.png`.
        ranked_queries: Queries in the ranked-list picture, evenly spread; 0 for no picture.

    Returns:
        The evaluation.

    Raises:
        UserError: A mistake in the settings, the weights or the records.
    """
    if config.data.records is None:
        raise UserError("data.records is not set; give the folder of the records to evaluate on.")
    manifest = read_manifest(config.data.records)
    model, config = load_embedding_model(config, weights)
    ranked = Evaluator(model, config).evaluate()
    protocol = f"{manifest.dataset}, single query"
    print(results_table(ranked.result, protocol))
    output = Path(output)
    write_results_json(output / "results.json", {
        "name": config.name, "protocol": protocol, "weights": str(weights),
        "feature": config.evaluation.feature, **ranked.result.as_dict(),
    })
    draw_cmc({config.name: ranked.result.cmc}, output / "cmc.png",
             mean_aps={config.name: ranked.result.mean_ap})
    if ranked_queries:
        draw_ranked_lists(_rows(ranked, config, ranked_queries), output / "ranked_lists.png")
    return ranked


def _rows(ranked: Ranked, config: Config, count: int) -> list[RankedRow]:
    valid = np.flatnonzero(ranked.result.first_match_rank > 0)
    chosen = valid[np.unique(np.linspace(0, len(valid) - 1, min(count, len(valid))).astype(int))]
    top = top_matches(*ranked.arrays(), chosen, metric=config.evaluation.metric)
    wanted = np.unique(top.indices[top.indices >= 0])
    gallery = dict(zip(wanted.tolist(), _images(config, "gallery", wanted)))
    queries = _images(config, "query", chosen)
    rows = []
    for place, query in enumerate(chosen):
        results = [
            RankedImage(gallery[index], bool(match), int(ranked.gallery.cameras[index]), distance)
            for index, distance, match in zip(
                top.indices[place].tolist(), top.distances[place].tolist(), top.is_match[place]
            )
            if index >= 0
        ]
        identity, camera = int(ranked.query.ids[query]), int(ranked.query.cameras[query])
        rows.append(RankedRow(queries[place], identity, camera, results))
    return rows


def _images(config: Config, split: str, positions: np.ndarray) -> list[np.ndarray]:
    encoded = read_encoded(config.data.records, split, positions)
    return [decode_image(image).numpy() for image in encoded]
