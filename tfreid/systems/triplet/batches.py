"""Training batches of mined triplets, whose images may differ in size."""

from __future__ import annotations

import time

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfrecords.errors import UserError
from tfreid.config import DataConfig
from tfreid.data.augmentation import DRAWN, cutout_limit, draw_augmentations
from tfreid.data.image_batches import ImageLoader
from tfreid.data.sampling import deal
from tfreid.data.source_sampling import draw_places, source_shares
from tfreid.layers.preprocessing import InputSize
from tfreid.records import ImageTable
from tfreid.systems.triplet.mining import draw_triplets, possible_queries
from tfreid.systems.triplet.settings import Settings as TripletSettings
from tfreid.workers import ALONE, Workers


class MinedTriplets(tf.Module):
    """The triplets of one mining round, kept in checkpoints for a run that resumes midway.

    Args:
        number: Triplets of a round.

    Attributes:
        epoch: Number of the round, from 0, by the name that it has in checkpoints.
        rows: int64 [number, 3], rows of query, positive and negative.
    """

    def __init__(self, number: int):
        super().__init__(name="mined_triplets")
        self.epoch = tf.Variable(-1, dtype=tf.int64, trainable=False)
        self.rows = tf.Variable(tf.zeros((number, 3), tf.int64), trainable=False)


class TripletBatches(ImageLoader):
    """Batches of triplets, mined again and again with the model's weights.

    A mining round has `updates_per_mining` updates of `batch_size` triplets and may begin anywhere
    in an epoch. Within an update, whose gradients are averaged, triplets with images of the same
    sizes share batches. Apart from the weights, the batches depend only on (seed, epoch).

    Args:
        table: The training images.
        config: The augmentation and the batch size of feature extraction.
        size: Size that images are resized to.
        ranking: The mining.
        seed: Seed of the mining and the augmentation.
        workers: The processes that share the images of a mining.

    Attributes:
        batch_size: Triplets of one replica's batch.
        images_per_batch: Their images.
        batches_per_preparation: Batches, over all replicas, of a mining round.
        description: Counts of images and identities.
        state: The mined triplets.
        table: The training images.
        error: Problem of the image that made a dataset fail with a `tf.errors.OpError`, or None.

    Raises:
        UserError: If no identity has two training images.
    """

    def __init__(self, table: ImageTable, config: DataConfig, size: InputSize,
                 ranking: TripletSettings, seed: int, workers: Workers = ALONE):
        super().__init__(table, config)
        if not possible_queries(table.index.labels).size:
            raise UserError(
                f"{config.named}: triplets need two identities and two images of "
                "one, but the train split has none; check its identities.")
        self.batch_size = ranking.triplets_at_once
        self.images_per_batch = 3 * self.batch_size
        per_update = ranking.batch_size // ranking.triplets_at_once
        self.batches_per_preparation = ranking.updates_per_mining * per_update
        self.description = table.description
        self.state = MinedTriplets(ranking.updates_per_mining * ranking.batch_size)
        self._config, self._ranking, self._size, self._seed = config, ranking, size, seed
        self._processes = workers
        every = np.arange(len(table.index))
        self._heights, self._widths = (
            np.broadcast_to(side, len(every)) for side in size.of(*table.index.sizes(every)))
        self._shares = source_shares(table, config.source_balance)
        self._one_size = np.ptp(self._heights) == 0 and np.ptp(self._widths) == 0
        self._predict = None

    def prepare(self, epoch: int, batches: int, first: int,
                model: keras.Model) -> dict[str, float]:
        """Mines triplets where a round begins; within a round those of its beginning stay.

        Args:
            epoch: The epoch, from 0.
            batches: Batches of an epoch.
            first: The first batch of it that is needed.
            model: Embedding model, whose `embedding` is compared.

        Returns:
            Scalars for TensorBoard: the limit of the cut-out; of the drawn triplets the mean loss
            and the share of losses above zero; the mean of the queries' largest losses; the share
            of sampled images that can be queries; and the seconds that it all took.

        Raises:
            UserError: If an image cannot be decoded, or no sampled image can be a query.
        """
        scalars = {"augmentation/cutout_limit": cutout_limit(self._config.augmentation, epoch)}
        mined, within = divmod(epoch * batches + first, self.batches_per_preparation)
        if within and int(self.state.epoch) == mined:
            return scalars
        start = time.perf_counter()
        ranking = self._ranking
        random = np.random.default_rng([self._seed, mined, 2])
        count = min(ranking.mining_images, len(self.table.index))
        sample = np.sort(self._sample(count, random))
        labels = self.table.index.labels[sample]
        possible = len(possible_queries(labels))
        if not possible:
            raise UserError(
                f"triplet.mining_images is {count}, and that many random images have no positive "
                "pair; raise it.")
        number = ranking.updates_per_mining * ranking.batch_size
        triplets, losses, hardest = draw_triplets(
            self._features(model, sample), labels, ranking.margin, number, ranking.hardest, random,
            self._queries(sample, number, random))
        self.state.rows.assign(sample[triplets])
        self.state.epoch.assign(mined)
        return {
            **scalars,
            "mining/mean_loss": losses.mean(),
            "mining/active_share": np.mean(losses > 0),
            "mining/largest_loss": hardest.losses[:, 0].mean(),
            "mining/possible_queries": possible / len(sample),
            "mining/seconds": time.perf_counter() - start,
        }

    def epoch(self, epoch: int, batches: int, first: int = 0,
              part: np.ndarray | slice = slice(None)) -> tf.data.Dataset:
        """Returns the batches of an epoch from `first` to its end or that of the mining round.

        Or those at the positions `part` among them.

        Each element is (pixels, groups, places): the uint8 RGB images of n triplets [bytes], one
        after the other, sorted by size; int32 [m, 3], number, height and width of each run of
        images of one size; and int32 [3, n], the places of the queries, positives and negatives
        among the images.
        """
        # The part of the round that lies in the epoch, in batches from the start of the training.
        zero, every = epoch * batches, self.batches_per_preparation
        mined = (zero + first) // every * every
        begin, end = max(zero, mined), min(zero + batches, mined + every)
        rows = self._arranged().reshape(every, self.images_per_batch)[begin - mined : end - mined]
        heights, widths = self._heights[rows], self._widths[rows]
        random = np.random.default_rng([self._seed, epoch, 1, begin - zero])
        drawn = draw_augmentations(
            self._config.augmentation, rows.size, heights.ravel(), widths.ravel(), random, epoch,
            self.table.index.sizes(rows.ravel()))
        order = np.argsort(heights * (widths.max() + 1) + widths, axis=1, kind="stable")
        plan = {name: values.reshape(*rows.shape, *values.shape[1:])
                for name, values in drawn.items()}
        plan.update(index=rows, height=heights, width=widths)
        line = np.arange(len(rows))[:, np.newaxis], order
        plan = {name: values[line] for name, values in plan.items()}
        places = np.argsort(order, axis=1).astype(np.int32)
        plan["places"] = places.reshape(len(rows), self.batch_size, 3).swapaxes(1, 2)
        plan = {name: values[zero + first - begin :][part] for name, values in plan.items()}
        return self.map_plan(tf.data.Dataset.from_tensor_slices(plan), self._load)

    def _sample(self, count, random):
        """Draws images to mine among; of each source its share of them, or all that it has."""
        if self._shares is None:
            return random.choice(len(self.table.index), count, replace=False)
        (places,) = draw_places(self._shares, count, 1, random)
        return np.concatenate([
            random.choice(rows, min(len(rows), share), replace=False)
            for rows, share in zip(self.table.sources.rows(), places)])

    def _queries(self, sample, number, random):
        """Draws the queries among the sampled images, of each source its share, or returns None."""
        if self._shares is None:
            return None
        possible, sources = possible_queries(self.table.index.labels[sample]), self.table.sources
        (places,) = draw_places(self._shares, number, 1, random)
        drawn = []
        for source, (name, wanted) in enumerate(zip(sources.names, places)):
            own = possible[sources.of_image[sample[possible]] == source]
            if wanted and not own.size:
                raise UserError(
                    f"none of the images of {name} that were sampled has a positive pair; raise "
                    "triplet.mining_images or its share in data.source_balance.")
            drawn.append(own[deal(random, max(1, len(own)), wanted)])
        return random.permutation(np.concatenate(drawn))

    def _features(self, model, rows):
        if self._predict is None:
            self._predict = tf.function(
                lambda images: model(tf.cast(images, tf.float32), training=False)["embedding"],
                input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
        features = np.empty((len(rows), model.output["embedding"].shape[-1]), np.float32)
        with tqdm(total=len(rows), desc="mining", unit="image", leave=False) as bar:
            for places, block in self._processes.rounds(self._own_blocks(rows)):
                features[places] = block
                bar.update(len(places))
        return features

    def _own_blocks(self, rows):
        """Yields places and features of this process's share of the images."""
        size = self._config.eval_batch_size
        share = self._processes.share(len(rows), size)
        own = rows if share is None else rows[share]
        for places, images in self.batches_by_size(own, self._size, size):
            yield places if share is None else share[places], self._predict(images).numpy()

    def _arranged(self):
        """Returns the mined triplets, those of each update sorted by the sizes of their images."""
        triplets = self.state.rows.numpy()
        updates = np.repeat(np.arange(self._ranking.updates_per_mining), self._ranking.batch_size)
        sides = (*self._heights[triplets].T, *self._widths[triplets].T)
        return triplets[np.lexsort((*sides, updates))]

    def _load(self, plan):
        columns = [plan[name] for name in ("height", "width", "index", *DRAWN)]
        pixels, groups = tf.numpy_function(self._make_batch, columns, (tf.uint8, tf.int32))
        count = None
        if self._one_size:
            count = 3 * self.images_per_batch * int(self._heights[0]) * int(self._widths[0])
        pixels = tf.ensure_shape(pixels, (count,))
        return pixels, tf.ensure_shape(groups, (1 if self._one_size else None, 3)), plan["places"]

    def _make_batch(self, heights, widths, rows, *drawn):
        pixels = np.empty(3 * int(np.sum(heights * widths)), np.uint8)
        ends = np.cumsum(3 * heights * widths)
        images = [part.reshape(height, width, 3) for part, height, width
                  in zip(np.split(pixels, ends[:-1]), heights, widths)]
        self.augment(rows, drawn, images)
        starts = np.flatnonzero(np.r_[True, (np.diff(heights) != 0) | (np.diff(widths) != 0)])
        counts = np.diff(np.r_[starts, len(heights)])
        return pixels, np.stack([counts, heights[starts], widths[starts]], 1).astype(np.int32)
