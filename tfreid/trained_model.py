"""A trained model in Python: images in, embeddings, distances, rankings and verifications out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Union

import numpy as np

from tfrecords.errors import UserError
from tfrecords.image_files import read_file
from tfrecords.images import MAX_PIXELS
from tfrecords.storage import as_path
from tfreid.config import load_config
from tfreid.evaluation.distances import pairwise_distances
from tfreid.evaluation.thresholds import Threshold, choose_threshold
from tfreid.footage.crops import check_boxes, cut_boxes
from tfreid.serving import load_export
from tfreid.serving.client import (
    SignatureClient,
    exported_thresholds,
    holds_export,
)
from tfreid.serving.formats.images import Image, check_pixels, load_image
from tfreid.serving.image_files import collect
from tfreid.serving.interface import find_embedding, joined
from tfreid.systems.exporting import make_client
from tfreid.systems.registry import make_system
from tfreid.training.run_folder import open_run

Images = Union[np.ndarray, Sequence[Image]]
# Size of the crops of no box, for models of no fixed size.
_ANY_SIZE = (64, 32)


class Ranking(NamedTuple):
    """The nearest gallery rows of each query, nearest first.

    Attributes:
        indices: int64 array [q, k]. Rows of the gallery.
        distances: float32 array [q, k].
    """

    indices: np.ndarray
    distances: np.ndarray


class Verification(NamedTuple):
    """Whether the two images of each pair show one identity.

    Attributes:
        same: bool array [n].
        distance: float32 array [n]. The distance that was compared with the threshold or, for
            models of pairs, 1 minus the probability of one identity.
    """

    same: np.ndarray
    distance: np.ndarray


def load(source: str | Path, weights: str | Path | None = None,
         overrides: Sequence[str] = ()) -> TrainedModel:
    """Loads a trained model.

    Args:
        source: Folder of a run, folder of an export (a version or the folder of versions), or a
            recipe: its name or its YAML file.
        weights: Of a run, `best`, `last` or a `.weights.h5` file. Defaults to `best` if held-out
            people chose them, else to `last`. Of a recipe, a `.weights.h5` file, or `rendered`, the
            weights in this package (docs/model_card.md). An export has its own.
        overrides: `key.sub=value` settings on top, for example `["evaluation.metric=euclidean"]`.

    Raises:
        UserError: If the source is none of these, or the weights are missing or do not fit.

    Example:
        >>> model = tfreid.load("runs/first")
        >>> model.embed(["images/a.jpg", "images/b.jpg"]).shape[0]
        2
    """
    if holds_export(source):
        if weights is not None or overrides:
            raise UserError(f"{source} is an export, which has its own weights and settings; leave "
                            "out weights and overrides.")
        return TrainedModel(load_export(source), exported_thresholds(source))
    run = None
    if as_path(source).is_dir():
        run, config = open_run(source, overrides)
        weights = run.weights(None if weights is None else str(weights))
    else:
        config = load_config(str(source), overrides)
        if weights is None:
            raise UserError(f"{source} is a recipe; give weights=FILE, the trained weights.")
    system = make_system(config)
    served = system.serve(system.load(weights), run)
    return TrainedModel(make_client(served), served.thresholds, config.evaluation.metric)


class TrainedModel:
    """A trained model of any system; `load` makes it.

    Images are RGB; arrays of OpenCV are BGR and need `image[..., ::-1]`. Each is a path, the bytes
    of a JPEG or PNG file, or a uint8 array [h, w, 3] of any size; an array [n, h, w, 3] is n
    images. Where features are needed, methods also take embeddings, float arrays [n, d].

    Args:
        client: Asks the signatures of the model.
        thresholds: Metric -> calibrated threshold.
        metric: Distance that ranks, see `pairwise_distances`. Defaults to that of the threshold, or
            cosine.

    Example:
        >>> model = tfreid.load("runs/first")
        >>> gallery = model.embed(["images/a.jpg", "images/b.jpg"])
        >>> int(model.rank(["images/a.jpg"], gallery).indices[0, 0])
        0
    """

    def __init__(self, client: SignatureClient, thresholds: Mapping[str, Threshold],
                 metric: str | None = None):
        self._client = client
        self._thresholds = dict(thresholds)
        self.metric = metric or next(iter(self._thresholds), "cosine")

    def embed(self, images: Images, boxes: np.ndarray | None = None, batch_size: int = 64,
              color: str | None = None) -> np.ndarray:
        """Embeds images, or the people in a frame.

        Boxes are cut as trackers do: edges are rounded, halves to the even pixel, and clipped to
        the frame, and what is inside is resized by OpenCV's bilinear rule. A box without a pixel
        inside the frame is embedded as a black image. A model of `model.longest_side` gets the
        crops in their own size.

        Args:
            images: The images, RGB; with `boxes`, one frame: an image file, or a uint8 array
                [h, w, 3] of the colours that `color` names.
            boxes: Numbers [n, 4], perhaps none: left, top, right and bottom in pixels of the frame.
                Defaults to whole images.
            batch_size: Images that go through the network together.
            color: Order of the colours of a frame that is an array: `bgr`, as OpenCV has them, or
                `rgb`. It has no default: the wrong one moves embeddings further than another person
                is away.

        Returns:
            float32 array [n, d].

        Raises:
            UserError: If an image cannot be read, or the model compares images and has no
                embedding (`system: csn`).
            ValueError: If an array is not uint8 with three colours, `color` is missing or not
                needed, or a box is not finite, or its right edge lies before its left one.

        Example:
            >>> frame = np.zeros([540, 960, 3], np.uint8)
            >>> model.embed(frame, [[10, 20, 74, 180], [300.5, 40, 370, 200]], color="bgr").shape[0]
            2
        """
        if boxes is not None:
            features = self._features_of_boxes(images, check_boxes(boxes), batch_size, color)
        elif color is not None:
            raise ValueError("color names the colours of a frame with boxes; arrays of images are "
                             "RGB: turn those of OpenCV by image[..., ::-1]")
        else:
            features = self._features(images, batch_size)
        embedding = find_embedding(features)
        if embedding is None:
            raise UserError("this model compares images and has no embedding of one; call rank, "
                            "distance or verify with images.")
        return embedding

    def distance(self, first: Images, second: Images) -> np.ndarray:
        """Computes the distance of every first image to every second one.

        Args:
            first: n images or embeddings.
            second: m images or embeddings.

        Returns:
            float32 array [n, m]; smaller is more alike. Of a CSN, the negated SimiScore (Guo and
            Cheung 2018, Eq. 7).

        Raises:
            UserError: If an image cannot be read.
        """
        sides = [self._features(side) for side in (first, second)]
        embeddings = [find_embedding(side) for side in sides]
        if embeddings[0] is None:
            return -self._client.compare_all(*sides)["score"]
        threshold = self._thresholds.get(self.metric)
        exponent = {} if threshold is None else {"p": threshold.minkowski_p}
        return pairwise_distances(*embeddings, self.metric, **exponent)

    def rank(self, query: Images, gallery: Images, k: int = 10) -> Ranking:
        """Finds the k nearest gallery images of every query; equal distances in gallery order.

        Args:
            query: Images or embeddings.
            gallery: Images or embeddings.
            k: Results per query, at most the size of the gallery.

        Raises:
            UserError: If an image cannot be read.
            ValueError: If `k` is below 1.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, received {k}")
        distances = self.distance(query, gallery)
        indices = np.argsort(distances, axis=1, kind="stable")[:, :k]
        return Ranking(indices, np.take_along_axis(distances, indices, axis=1))

    def verify(self, first: Images, second: Images) -> Verification:
        """Decides for n pairs of images whether both show one identity.

        Embedding models use the threshold of `tfreid calibrate`; a Siamese network the one that its
        training calibrated, else a probability of 0.5; a CSN a probability of 0.5.

        Args:
            first: n images, or embeddings.
            second: n images, or embeddings.

        Raises:
            UserError: If an image cannot be read, or an embedding model has no threshold.
            ValueError: If there are not as many first images as second ones.
        """
        sides = [self._features(side) for side in (first, second)]
        counts = [len(next(iter(side.values()))) for side in sides]
        if counts[0] != counts[1]:
            raise ValueError(f"verify compares pairs, received {counts[0]} and {counts[1]} images")
        if self._client.compares:
            found = self._client.compare(*sides)
            same = found.get("same_person", found["probability"] >= 0.5)
            return Verification(np.asarray(same, bool), 1 - found["probability"])
        if not self._thresholds:
            raise UserError("the model has no threshold; choose one with `tfreid calibrate --run "
                            "RUN` and load the run, or its export, again.")
        threshold = choose_threshold(self._thresholds, self.metric)
        pairs = zip(*(find_embedding(side)[:, None] for side in sides))
        distance = np.array([threshold.distances(*pair)[0, 0] for pair in pairs], np.float32)
        return Verification(distance <= threshold.threshold, distance)

    def _features(self, images, batch_size: int = 64) -> dict[str, np.ndarray]:
        """Returns the features of images, or of embeddings themselves, by their name."""
        if isinstance(images, np.ndarray) and images.ndim == 2:
            name = "descriptor" if self._client.compares else "embedding"
            return {name: np.asarray(images, np.float32)}
        one = isinstance(images, (str, Path, bytes)) or getattr(images, "ndim", 0) == 3
        images = [images] if one else list(images)
        if not images:
            raise ValueError("images must be at least one, received none")
        return collect(self._extracted(images, batch_size), len(images))

    def _features_of_boxes(self, frame, boxes, batch_size, color) -> dict[str, np.ndarray]:
        frame, color = _colored(frame, color)
        size = self._client.size
        if size is None and len(boxes):
            return self._features(cut_boxes(frame, boxes, None, color), batch_size)
        return joined(
            self._client.extract_images(cut_boxes(
                frame, boxes[start : start + batch_size], size or _ANY_SIZE, color))
            for start in range(0, max(len(boxes), 1), batch_size))

    def _extracted(self, images, batch_size) -> Iterator[tuple[list[int], dict[str, np.ndarray]]]:
        groups: dict[object, list[int]] = {}
        for place, image in enumerate(images):
            groups.setdefault(_kind(image), []).append(place)
        for kind, group in groups.items():
            for start in range(0, len(group), batch_size):
                places = group[start : start + batch_size]
                batch = [images[place] for place in places]
                if kind == "file":
                    files = [x if isinstance(x, bytes) else read_file(x) for x in batch]
                    yield places, self._client.extract(files)
                else:
                    yield places, self._client.extract_images(np.stack(batch))


def _kind(image):
    """Returns what images must share to go through the network in one batch."""
    if isinstance(image, (str, Path, bytes)):
        return "file"
    return check_pixels(image).shape


def _colored(frame: Image, color: str | None) -> tuple[np.ndarray, str]:
    """Returns a frame as a uint8 array [h, w, 3], and the order of its colours."""
    if isinstance(frame, (str, Path, bytes)):
        if color is not None:
            raise ValueError("color is for a frame that is an array; leave it out for an image "
                             "file, whose colours are known")
        return load_image(frame, MAX_PIXELS), "rgb"
    if color not in ("bgr", "rgb"):
        raise ValueError('name the colours of the frame: color="bgr" if it comes from OpenCV, else '
                         f'color="rgb"; received {color!r}')
    kind, shape = getattr(frame, "dtype", type(frame).__name__), list(np.shape(frame))
    if kind != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise ValueError(f"a frame must be an image file or a uint8 array [h, w, 3], received "
                         f"{kind} {shape}; turn a grey one by cv2.cvtColor(frame, "
                         "cv2.COLOR_GRAY2BGR)")
    return np.asarray(frame), color
