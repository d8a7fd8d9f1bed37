"""Pictures of what a CSN sees: in two files, in two test pairs, in a ranked gallery."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfrecords.errors import UserError
from tfrecords.storage import as_path
from tfreid.evaluation.picture_images import (
    draw_queries,
    find_query,
    image_label,
    read_image_file,
    read_images,
)
from tfreid.evaluation.protocol import counted
from tfreid.records import SplitIndex, open_records
from tfreid.systems.base import System
from tfreid.systems.csn.drawing import RankedPair, draw_pair, draw_ranked_pairs, pair_limits
from tfreid.systems.csn.inspection import PairDetails, describe_pair
from tfreid.systems.csn.scores import CsnScorer
from tfreid.systems.csn.system import CsnSystem


class CsnPictures:
    """Draws what a CSN sees.

    Its methods raise a `UserError` if the weights do not fit, or an image or the records cannot be
    read.

    Args:
        system: The system; its `data.records` holds the test images.
        weights: `.weights.h5` file.

    Raises:
        UserError: If the system is not a CSN.
    """

    def __init__(self, system: System, weights: str | Path):
        if not isinstance(system, CsnSystem):
            config = system.config
            raise UserError(f"only `system: csn` has similarity maps, and {config.name!r} is of "
                            f"system {config.system}; give a run or recipe of the CSN.")
        self._system, self._weights = system, weights

    def pair(self, first: str | Path, second: str | Path, path: str | Path) -> None:
        """Draws two image files, A and B, into the PNG file `path`."""
        images = [read_image_file(file) for file in (first, second)]
        details = describe_pair(self._system.load(self._weights), self._system.config, *images)
        draw_pair(details, path, (Path(first).name, Path(second).name))

    def example_pairs(self, output: str | Path, gallery: int = 100, seed: int = 0) -> None:
        """Draws a random query with a match, and with the wrong person that scores highest.

        Args:
            output: Folder for `match.png` and `non_match.png`, whose heat maps share their scales.
            gallery: Number of random gallery images to score, among them at least one match.
            seed: Seed of the random choices.

        Raises:
            UserError: If the chosen gallery images all show the query's person.
        """
        scored = _ScoredGallery(self._system, self._weights, None, gallery, seed)
        wrong = np.flatnonzero(~scored.is_match)
        if not wrong.size:
            raise UserError(f"none of the {len(scored.scores)} gallery images drawn shows another "
                            "person; draw more with --gallery.")
        chosen = {"match": scored.match, "non_match": wrong[np.argmax(scored.scores[wrong])]}
        details = {name: scored.describe(place) for name, place in chosen.items()}
        limits = pair_limits(list(details.values()))
        headings = {"match": "The same person",
                    "non_match": f"Different people: the highest score of {wrong.size} wrong "
                                 "gallery images"}
        for name, place in chosen.items():
            draw_pair(details[name], as_path(output) / f"{name}.png",
                      (scored.query_label, scored.label(place)), headings[name], limits)

    def ranking(self, query: str, path: str | Path, top: int = 5, gallery: int = 100,
                seed: int = 0) -> None:
        """Draws a query's best gallery images and what the CSN sees in each.

        Args:
            query: Its position in the query split, or its path or file name in the records.
            path: PNG file of the picture.
            top: Number of results.
            gallery: Number of random gallery images to rank, among them at least one match.
            seed: Seed of the random choice.

        Raises:
            UserError: If the query does not exist.
        """
        scored = _ScoredGallery(self._system, self._weights, query, gallery, seed)
        order = np.argsort(-scored.scores, kind="stable")
        results = [RankedPair(scored.describe(place), bool(scored.is_match[place]),
                              scored.label(place)) for place in order[:top]]
        best = 1 + int(np.argmax(scored.is_match[order]))
        heading = (f"Best {len(results)} of {len(order)} gallery images by SimiScore; first match "
                   f"at rank {best}")
        draw_ranked_pairs(results, path, scored.query_label, heading)


class _ScoredGallery:
    """A query and random gallery images, with their scores [m].

    `is_match` [m] tells which show the query's identity, `match` is the place of one of them.
    """

    def __init__(self, system: System, weights, query: str | None, count: int, seed: int):
        self._config = config = system.config
        random = np.random.default_rng(seed)
        self._records = open_records(config.data)
        queries, self._gallery = (self._records[split].index for split in ("query", "gallery"))
        if query is None:
            (self._query,) = draw_queries(queries, self._gallery, 1, random)
        else:
            self._query = find_query(queries, query)
        self.query_label = image_label(self._records["query"], self._query)
        identity, camera = queries.ids[self._query], queries.cameras[self._query]
        self._positions, self.match = _draw_gallery(self._gallery, identity, camera, count, random)
        self.is_match = self._gallery.ids[self._positions] == identity
        self._model = system.load(weights)
        scorer = CsnScorer(self._model, config, self._records)
        self.scores = scorer.cross(scorer.features("query", np.array([self._query])),
                                   scorer.features("gallery", self._positions))[0]

    def label(self, place: int) -> str:
        """Returns identity and camera of the gallery image at a place."""
        return image_label(self._records["gallery"], self._positions[place])

    def describe(self, place: int) -> PairDetails:
        """Describes the pair of the query and the gallery image at a place."""
        return describe_pair(self._model, self._config, self._image("query", self._query),
                             self._image("gallery", self._positions[place]))

    def _image(self, split, position):
        (image,) = read_images(self._records[split], np.array([position]))
        return image


def _draw_gallery(gallery: SplitIndex, identity: int, camera: int, count: int,
                  random: np.random.Generator) -> tuple[np.ndarray, int]:
    """Draws increasing gallery positions [m], and the place of a sure match among them."""
    usable = counted(identity, camera, gallery.ids, gallery.cameras)
    matches = np.flatnonzero(usable & (gallery.ids == identity))
    if not matches.size:
        raise UserError(f"the query shows person {identity}, of whom the gallery has no image by "
                        "another camera; choose another query.")
    match = random.choice(matches)
    others = np.setdiff1d(np.flatnonzero(usable), [match])
    drawn = random.choice(others, min(count - 1, len(others)), replace=False)
    positions = np.sort(np.append(drawn, match))
    return positions, int(np.searchsorted(positions, match))
