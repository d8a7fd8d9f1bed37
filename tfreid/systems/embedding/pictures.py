"""Pictures of what an embedding looks at and ranks first, from trained weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfrecords.errors import UserError
from tfrecords.storage import as_path
from tfreid.config import Config
from tfreid.evaluation.distances import pairwise_distances
from tfreid.evaluation.features import FeatureExtractor
from tfreid.evaluation.picture_images import (
    camera_label,
    draw_queries,
    image_label,
    person_label,
    ranked_rows,
    read_image_file,
    read_images,
    spread_queries,
    worst_queries,
)
from tfreid.evaluation.protocol import counted
from tfreid.records import Records, SplitIndex, open_records
from tfreid.systems.base import System
from tfreid.systems.embedding.drawing import draw_attention, draw_matching_regions
from tfreid.systems.embedding.grad_cam import AttentionRow, RegionFinder
from tfreid.visualization.ranked_list import draw_ranked_lists
from tfreid.weights.choice import find_chosen_on, warning


class EmbeddingPictures:
    """Draws what an embedding looks at; every method returns the PNG files that it wrote.

    Its methods raise a `UserError` if the weights do not fit, or an image or the records cannot be
    read.

    Args:
        system: The system; its `data.records` holds the test images.
        weights: `.weights.h5` file.

    Raises:
        UserError: If the system has no embedding of one image.
    """

    def __init__(self, system: System, weights: str | Path):
        system.check_embeds()
        self._system, self._config, self._weights = system, system.config, weights

    def pair(self, first: str | Path, second: str | Path, path: str | Path,
             dimensions: int = 5) -> list[Path]:
        """Draws the regions that the strongest dimensions of a similarity look at in two files."""
        images = [read_image_file(file) for file in (first, second)]
        finder = RegionFinder(self._load(), self._config)
        draw_matching_regions(finder.compare(*images, dimensions), path,
                              (Path(first).name, Path(second).name))
        return [as_path(path)]

    def attention(self, files: Sequence[str | Path], path: str | Path,
                  accumulate: int = 50) -> list[Path]:
        """Draws the regions of image files that their `accumulate` strongest dimensions look at."""
        images = [read_image_file(file) for file in files]
        finder = RegionFinder(self._load(), self._config)
        row = AttentionRow("", [finder.attend(image, accumulate, Path(file).name)
                                for image, file in zip(images, files)])
        draw_attention([row], path, min(accumulate, finder.size))
        return [as_path(path)]

    def test_pairs(self, output: str | Path, count: int, dimensions: int = 5,
                   seed: int = 0) -> list[Path]:
        """Draws random queries with their nearest match by another camera and nearest wrong person.

        Args:
            output: Folder for `query_POSITION_match.png` and `query_POSITION_non_match.png`.
            count: Number of queries, at most.
            dimensions: Number of dimensions of each pair, at most.
            seed: Seed of the random choice.

        Raises:
            UserError: If the gallery shows one person only.
        """
        config = self._config
        records = open_records(config.data)
        splits = [records[split] for split in ("query", "gallery")]
        drawn = np.sort(draw_queries(*(split.index for split in splits), count,
                                     np.random.default_rng(seed)))
        model = self._load()
        nearest = _nearest_pairs(FeatureExtractor(model, config, records), config, records, drawn)
        finder = RegionFinder(model, config)
        queries = read_images(records["query"], drawn)
        results = read_images(records["gallery"], nearest.ravel())
        headings = {"match": "The same person: a query and its nearest match by another camera",
                    "non_match": "Different people: a query and the nearest wrong gallery image"}
        paths = []
        for place, query in enumerate(drawn):
            for kind, (name, heading) in enumerate(headings.items()):
                paths.append(as_path(output) / f"query_{query}_{name}.png")
                pair = finder.compare(queries[place], results[2 * place + kind], dimensions)
                names = (image_label(splits[0], query),
                         image_label(splits[1], nearest[place, kind]))
                draw_matching_regions(pair, paths[-1], names, heading)
        return paths

    def test_attention(self, path: str | Path, count: int, accumulate: int = 50, images: int = 4,
                       seed: int = 0) -> list[Path]:
        """Draws the regions that embeddings depend on, in gallery images of some of the queries.

        Args:
            path: PNG file of the picture, with one row per person.
            count: Number of people, at most.
            accumulate: Number of an embedding's dimensions, at most.
            images: Number of images per person, at most, by as many cameras as possible.
            seed: Seed of the random choices.

        Raises:
            UserError: If the gallery shows nobody of the queries.
        """
        records = open_records(self._config.data)
        queries, gallery = (records[split].index for split in ("query", "gallery"))
        random = np.random.default_rng(seed)
        identities = np.intersect1d(queries.ids, gallery.ids)
        if not identities.size:
            raise UserError(f"{records.directory}: the gallery shows nobody of the queries; check "
                            "the identities of the records.")
        chosen = random.choice(identities, min(count, len(identities)), replace=False)
        positions = [_by_many_cameras(gallery, identity, images, random) for identity in chosen]
        read = iter(read_images(records["gallery"], np.concatenate(positions)))
        finder = RegionFinder(self._load(), self._config)
        rows = [
            AttentionRow(person_label(records["gallery"], own[0]), [
                finder.attend(next(read), accumulate, camera_label(records["gallery"], position))
                for position in own
            ])
            for own in positions
        ]
        draw_attention(rows, path, min(accumulate, finder.size))
        return [as_path(path)]

    def ranked_lists(self, path: str | Path, count: int, worst: bool = False) -> list[Path]:
        """Draws the first ten results of `count` queries, spread evenly or with the worst AP."""
        records = open_records(self._config.data)
        # Fails for records without test images, before the model is built.
        for split in ("query", "gallery"):
            records[split]
        ranked = self._system.make_gallery_evaluator(self._load(), records).evaluate()
        chosen = (worst_queries if worst else spread_queries)(ranked.result, count)
        draw_ranked_lists(ranked_rows(ranked, self._config, chosen), path,
                          remark=warning(find_chosen_on(self._weights)))
        return [as_path(path)]

    def _load(self):
        return self._system.load_embedding(self._weights)


def _nearest_pairs(extract: FeatureExtractor, config: Config, records: Records,
                   queries: np.ndarray) -> np.ndarray:
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
                            f"{identity}; build records with more people.")
        nearest.append([side[np.argmin(row[side])] for side in sides])
    return np.array(nearest)


def _by_many_cameras(gallery: SplitIndex, identity: int, count: int,
                     random: np.random.Generator) -> np.ndarray:
    """Draws images of an identity, one by each camera before a second by any, sorted by camera."""
    images = random.permutation(np.flatnonzero(gallery.ids == identity))
    cameras = gallery.cameras[images]
    turn = np.array([np.count_nonzero(cameras[:place] == camera)
                     for place, camera in enumerate(cameras)])
    drawn = np.sort(images[np.argsort(turn, kind="stable")[:count]])
    return drawn[np.argsort(gallery.cameras[drawn], kind="stable")]
