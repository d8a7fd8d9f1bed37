"""From the weights of an embedding model to pictures of what the embedding looks at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfrecords.errors import UserError
from tfreid.config import Config
from tfreid.evaluation.distances import pairwise_distances
from tfreid.evaluation.features import FeatureExtractor
from tfreid.evaluation.picture_images import (
    draw_queries,
    image_label,
    ranked_rows,
    read_image_file,
    read_images,
    spread_queries,
    worst_queries,
)
from tfreid.evaluation.protocol import counted
from tfreid.records import Records, SplitIndex, open_records
from tfreid.systems.base import System
from tfreid.systems.embedding.attention import AttentionRow, draw_attention
from tfreid.systems.embedding.matching_regions import draw_matching_regions
from tfreid.systems.embedding.regions import RegionFinder
from tfreid.visualization.ranked_list import camera_name, draw_ranked_lists


def picture_pair(
    system: System,
    weights: str | Path,
    first: str | Path,
    second: str | Path,
    path: str | Path,
    dimensions: int = 5,
) -> None:
    """Draws the regions that the strongest dimensions of a similarity look at in two image files.

    Args:
        system: Its settings.
        weights: `.weights.h5` file.
        first: JPEG or PNG file, image A.
        second: Another, image B.
        path: PNG file of the picture.
        dimensions: How many, at most.

    Raises:
        UserError: A system without embeddings, weights that do not fit, or a file that is no image.
    """
    system.check_embeds()
    images = [read_image_file(file) for file in (first, second)]
    finder = RegionFinder(system.load_embedding(weights), system.config)
    draw_matching_regions(finder.compare(*images, dimensions), path,
                          (Path(first).name, Path(second).name))


def picture_attention(
    system: System,
    weights: str | Path,
    files: Sequence[str | Path],
    path: str | Path,
    accumulate: int = 50,
) -> None:
    """Draws the regions of image files, beside each other, that their embeddings hang on.

    Args:
        system: Its settings.
        weights: `.weights.h5` file.
        files: JPEG or PNG files.
        path: PNG file of the picture.
        accumulate: How many of an embedding's dimensions, at most.

    Raises:
        UserError: A system without embeddings, weights that do not fit, or a file that is no image.
    """
    system.check_embeds()
    images = [read_image_file(file) for file in files]
    finder = RegionFinder(system.load_embedding(weights), system.config)
    row = AttentionRow("", [finder.attend(image, accumulate, Path(file).name)
                            for image, file in zip(images, files)])
    draw_attention([row], path, min(accumulate, finder.size))


def picture_test_pairs(
    system: System,
    weights: str | Path,
    output: str | Path,
    count: int,
    dimensions: int = 5,
    seed: int = 0,
) -> list[Path]:
    """Draws random queries with their nearest match by another camera and nearest wrong person.

    Args:
        system: Its settings; the images are the test images of `data.records`, `evaluation.metric`
            tells the nearest.
        weights: `.weights.h5` file.
        output: Folder for `query_POSITION_match.png` and `query_POSITION_non_match.png`.
        count: How many queries, at most.
        dimensions: How many of each pair, at most.
        seed: Of the drawing.

    Returns:
        The files.

    Raises:
        UserError: A system without embeddings, weights that do not fit, broken records, or a
            gallery that shows one person only.
    """
    system.check_embeds()
    config = system.config
    records = open_records(config.data)
    indices = [records[split].index for split in ("query", "gallery")]
    drawn = np.sort(draw_queries(*indices, count, np.random.default_rng(seed)))
    model = system.load_embedding(weights)
    nearest = _nearest_pairs(FeatureExtractor(model, config, records), config, records, drawn)
    finder = RegionFinder(model, config)
    queries = read_images(records["query"], drawn)
    results = read_images(records["gallery"], nearest.ravel())
    headings = {"match": "One person: a query and its nearest match by another camera",
                "non_match": "Two persons: a query and the nearest wrong gallery image"}
    paths = []
    for place, query in enumerate(drawn):
        for kind, (name, heading) in enumerate(headings.items()):
            paths.append(Path(output) / f"query_{query}_{name}.png")
            pair = finder.compare(queries[place], results[2 * place + kind], dimensions)
            draw_matching_regions(pair, paths[-1], (
                image_label(indices[0], query), image_label(indices[1], nearest[place, kind]),
            ), heading)
    return paths


def picture_test_attention(
    system: System,
    weights: str | Path,
    path: str | Path,
    count: int,
    accumulate: int = 50,
    images: int = 4,
    seed: int = 0,
) -> None:
    """Draws the regions that embeddings hang on in several images of each of some persons.

    Args:
        system: Its settings; the images are of the gallery of `data.records`, the persons those
            of its queries.
        weights: `.weights.h5` file.
        path: PNG file of the picture, a row for each person.
        count: How many persons, at most.
        accumulate: How many of an embedding's dimensions, at most.
        images: How many of each person, at most; by as many cameras as there are.
        seed: Of the drawing.

    Raises:
        UserError: A system without embeddings, weights that do not fit, or broken records.
    """
    system.check_embeds()
    records = open_records(system.config.data)
    queries, gallery = (records[split].index for split in ("query", "gallery"))
    random = np.random.default_rng(seed)
    identities = np.intersect1d(queries.ids, gallery.ids)
    if not identities.size:
        raise UserError(f"{records.directory}: the gallery shows nobody of the queries; check "
                        "the identities of the records.")
    chosen = random.choice(identities, min(count, len(identities)), replace=False)
    positions = [_by_many_cameras(gallery, identity, images, random) for identity in chosen]
    read = iter(read_images(records["gallery"], np.concatenate(positions)))
    finder = RegionFinder(system.load_embedding(weights), system.config)
    rows = [
        AttentionRow(f"person {identity}", [
            finder.attend(next(read), accumulate, camera_name(gallery.cameras[position]))
            for position in own
        ])
        for identity, own in zip(chosen, positions)
    ]
    draw_attention(rows, path, min(accumulate, finder.size))


def picture_ranked_lists(
    system: System, weights: str | Path, path: str | Path, count: int, worst: bool = False
) -> None:
    """Draws the first ten results of some queries, with their average precision.

    Args:
        system: Its settings; all test images of `data.records` are ranked.
        weights: `.weights.h5` file.
        path: PNG file of the picture.
        count: How many queries, at most.
        worst: Those of the lowest average precision, instead of some evenly spread.

    Raises:
        UserError: A system without embeddings, weights that do not fit, or broken records.
    """
    system.check_embeds()
    config = system.config
    records = open_records(config.data)
    # Fails for records without test images, before the model is built.
    for split in ("query", "gallery"):
        records[split]
    model = system.load_embedding(weights)
    ranked = system.make_gallery_evaluator(model, records).evaluate()
    chosen = (worst_queries if worst else spread_queries)(ranked.result, count)
    draw_ranked_lists(ranked_rows(ranked, config, chosen), path)


def _nearest_pairs(
    extract: FeatureExtractor, config: Config, records: Records, queries: np.ndarray
) -> np.ndarray:
    """Finds the nearest match and the nearest wrong image of queries: gallery positions [n, 2]."""
    known, gallery = (records[split].index for split in ("query", "gallery"))
    distances = pairwise_distances(extract("query", queries), extract("gallery"),
                                   config.evaluation.metric, p=config.evaluation.minkowski_p)
    nearest = []
    for query, row in zip(queries, distances):
        identity = known.ids[query]
        counts = counted(identity, known.cameras[query], gallery.ids, gallery.cameras)
        sides = [np.flatnonzero(counts & (gallery.ids == identity)),
                 np.flatnonzero(counts & (gallery.ids != identity))]
        if not sides[1].size:
            raise UserError(f"{records.directory}: the gallery shows nobody but person "
                            f"{identity}; build records with more persons.")
        nearest.append([side[np.argmin(row[side])] for side in sides])
    return np.array(nearest)


def _by_many_cameras(
    gallery: SplitIndex, identity: int, count: int, random: np.random.Generator
) -> np.ndarray:
    """Draws images of a person, one of each camera before a second of any: positions by camera."""
    images = random.permutation(np.flatnonzero(gallery.ids == identity))
    cameras = gallery.cameras[images]
    turn = np.array([np.count_nonzero(cameras[:place] == camera)
                     for place, camera in enumerate(cameras)])
    drawn = np.sort(images[np.argsort(turn, kind="stable")[:count]])
    return drawn[np.argsort(gallery.cameras[drawn], kind="stable")]
