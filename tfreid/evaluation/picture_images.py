"""Images for pictures: from files, from records, and of ranked galleries."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfrecords.errors import UserError
from tfrecords.image_files import read_file
from tfreid.config import Config
from tfreid.evaluation.evaluator import Ranked
from tfreid.evaluation.protocol import matches
from tfreid.evaluation.ranking import RankingResult, top_matches
from tfreid.records import Split, SplitIndex, decode_image
from tfreid.records.images import spread_positions
from tfreid.visualization.page import drawable, shortened
from tfreid.visualization.ranked_list import RankedImage, RankedRow, camera_name, person_name

# Pixels of the shorter side below which an image says nothing of a person.
LEAST_SIDE = 8
_NAME_LETTERS = 16


def read_image_file(path: str | Path) -> np.ndarray:
    """Reads an image file as uint8 RGB [h, w, 3].

    Raises:
        UserError: If it cannot be read, or is not a whole JPEG, PNG, BMP or WebP of at most
            `tfrecords.images.MAX_PIXELS`.
    """
    return decode_image(read_file(path)).numpy()


def read_images(split: Split, positions: np.ndarray) -> list[np.ndarray]:
    """Reads the images of a split at some positions as uint8 RGB [h, w, 3]."""
    return [decode_image(split.encoded[position]).numpy() for position in positions]


def image_label(split: Split, position: int) -> str:
    """Describes an image by its identity and camera."""
    return f"{person_label(split, position)}, {camera_label(split, position)}"


def person_label(split: Split, position: int) -> str:
    """Returns what to call the person of an image: the name, if there is one that can be drawn."""
    identity = int(split.index.ids[position])
    return person_name(_drawable_name(split.person_names, identity))


def camera_label(split: Split, position: int) -> str:
    """Returns what to call the camera of an image, as `person_label` does."""
    return camera_name(_drawable_name(split.camera_names, int(split.index.cameras[position])))


def _drawable_name(names: dict[int, str], number: int) -> int | str:
    name = names.get(number, "")
    return shortened(name, _NAME_LETTERS) if name and drawable(name) else number


def draw_queries(queries: SplitIndex, gallery: SplitIndex, count: int,
                 random: np.random.Generator) -> list[int]:
    """Draws at most `count` queries that have a match by another camera.

    Raises:
        UserError: If no query has one.
    """
    drawn = []
    for query in random.permutation(len(queries)).tolist():
        if np.any(matches(queries.ids[query], queries.cameras[query], gallery.ids,
                          gallery.cameras)):
            drawn.append(query)
        if len(drawn) == count:
            break
    if not drawn:
        raise UserError("no query has a match by another camera; check the identities and cameras "
                        "of the records.")
    return drawn


def find_query(queries: SplitIndex, wanted: str) -> int:
    """Finds a query by its position, path or file name.

    Raises:
        UserError: If no query or several have that name.
    """
    if wanted.isdecimal():
        found = [int(wanted)] if int(wanted) < len(queries) else []
    else:
        found = [place for place, path in enumerate(queries.paths)
                 if wanted in (path, Path(path).name)]
    if len(found) != 1:
        raise UserError(f"--query {wanted} matches {len(found)} of {len(queries)} queries; give "
                        f"0 to {len(queries) - 1}, or a path in the dataset, for example "
                        f"{queries.paths[0]}.")
    return found[0]


def spread_queries(result: RankingResult, count: int) -> np.ndarray:
    """Returns positions of at most `count` queries with a match, evenly spread."""
    valid = np.flatnonzero(result.first_match_rank > 0)
    return valid[spread_positions(len(valid), count)]


def worst_queries(result: RankingResult, count: int) -> np.ndarray:
    """Returns positions of the `count` queries with a match of lowest average precision."""
    order = np.argsort(result.average_precision, kind="stable")  # NaN comes last
    return order[: min(count, result.num_valid_queries)]


def ranked_rows(ranked: Ranked, config: Config, queries: np.ndarray) -> list[RankedRow]:
    """Returns a row of images for each of the ranked queries at positions `queries` [n].

    The ranking is that without expansion and re-ranking; a tracklet is shown by its first image.
    """
    evaluation = config.evaluation
    top = top_matches(*ranked.arrays(), queries, metric=ranked.metric or evaluation.metric,
                      p=evaluation.minkowski_p, galleries=ranked.galleries)
    wanted = np.unique(top.indices[top.indices >= 0])
    gallery = dict(zip(wanted.tolist(),
                       read_images(ranked.records["gallery"], ranked.gallery_images[wanted])))
    rows, known = [], ranked.records["query"]
    images = read_images(ranked.records["query"], ranked.query_images[queries])
    for place, image in enumerate(images):
        results = [
            RankedImage(gallery[index], bool(match),
                        _drawable_name(known.camera_names, int(ranked.gallery.cameras[index])),
                        distance)
            for index, distance, match in zip(
                top.indices[place].tolist(), top.distances[place].tolist(), top.is_match[place]
            )
            if index >= 0
        ]
        query = queries[place]
        rows.append(RankedRow(
            image, _drawable_name(known.person_names, int(ranked.query.ids[query])),
            _drawable_name(known.camera_names, int(ranked.query.cameras[query])), results,
            float(ranked.result.average_precision[query]), _relevant(ranked, query),
        ))
    return rows


def _relevant(ranked, query) -> int:
    """Counts the positives of a query."""
    gallery = ranked.gallery
    if ranked.galleries is not None:
        gallery = gallery.take(ranked.galleries[query])
    return int(np.count_nonzero(matches(ranked.query.ids[query], ranked.query.cameras[query],
                                        gallery.ids, gallery.cameras)))
