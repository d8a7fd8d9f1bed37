"""Batches of mined triplets: their pixels, sizes and order, and what resuming keeps."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.config import AugmentationConfig, DataConfig
from tfreid.layers.preprocessing import InputSize
from tfreid.records import ImageTable, Records, decode_image, open_training
from tfreid.systems.triplet.batches import TripletBatches
from tfreid.systems.triplet.mining import hardest_triplets
from tfreid.systems.triplet.objective import embed_groups
from tfreid.systems.triplet.settings import Settings as TripletSettings

PLAIN = AugmentationConfig(flip_probability=0.0, pad=0, erasing_probability=0.0)
RANKING = TripletSettings(batch_size=6, triplets_at_once=2, updates_per_mining=3, mining_images=30,
                        hardest=4)
SIZE = InputSize(64, 32, longest_side=48)
BATCHES = 9  # 18 triplets, two at once


@pytest.fixture(scope="module")
def table(records):
    return Records(records)["train"].load()


@pytest.fixture(scope="module")
def model():
    """Mean colours of the upper and of the lower half, as a unit vector."""
    images = keras.Input((None, None, 3))
    halves = keras.layers.Resizing(2, 1, interpolation="area")(images)
    features = keras.layers.Flatten()(halves) - 127.0
    unit = keras.layers.UnitNormalization()(features)
    return keras.Model(images, {"embedding": unit})


def make(table, size=SIZE, augmentation=PLAIN, **ranking) -> TripletBatches:
    settings = TripletSettings(**{**vars(RANKING), **ranking})
    return TripletBatches(table, DataConfig(records="R", augmentation=augmentation, workers=1),
                          size, settings, seed=5)


def cut_up(pixels, groups):
    """The images of a batch, one by one."""
    images, start = [], 0
    for count, height, width in groups.numpy():
        for _ in range(count):
            end = start + height * width * 3
            images.append(pixels.numpy()[start:end].reshape(height, width, 3))
            start = end
    assert start == len(pixels)
    return images


def triplets_of(batches, epoch=0, first=0):
    """Of every batch, its triplets as lists of three images."""
    found = []
    for pixels, groups, places in batches.epoch(epoch, BATCHES, first):
        images = cut_up(pixels, groups)
        sizes = [image.shape[:2] for image in images]
        assert sizes == sorted(sizes) and len(groups) == len(set(sizes))
        assert sorted(places.numpy().ravel()) == list(range(6))
        found.append([[images[place] for place in triplet] for triplet in places.numpy().T])
    return found


@pytest.fixture(scope="module")
def prepared(table, model):
    batches = make(table)
    return batches, batches.prepare(0, BATCHES, 0, model)


def test_a_round_holds_the_mined_triplets_undistorted(prepared, table):
    batches, _ = prepared
    rows = batches.state.rows.numpy()
    assert int(batches.state.epoch) == 0 and rows.shape == (18, 3)
    labels = table.index.labels[rows]
    assert np.all(labels[:, 0] == labels[:, 1]) and np.all(labels[:, 0] != labels[:, 2])
    assert np.all(rows[:, 0] != rows[:, 1])
    read = triplets_of(batches)
    assert [len(triplets) for triplets in read] == [2] * BATCHES
    for update in range(3):
        wanted = {tuple(row) for row in rows[6 * update : 6 * update + 6]}
        seen = set()
        for triplet in sum(read[3 * update : 3 * update + 3], []):
            matched = [row for row in wanted if all(map(_shows, triplet, [table] * 3, row))]
            assert len(matched) == 1
            seen.update(matched)
        assert seen == wanted


def _shows(image, table, row):
    """Whether a batch's image is the table's, resized to a longer side of 48."""
    decoded = decode_image(table.encoded[row]).numpy()
    height, width = decoded.shape[:2]
    if image.shape[:2] != SIZE.of(height, width):
        return False
    expected = tf.image.resize(decoded, image.shape[:2], antialias=True)
    return np.abs(expected - image.astype(float)).mean() < 4


def test_triplets_are_among_the_hardest_of_the_sample(prepared, table, model):
    batches, scalars = prepared
    random = np.random.default_rng([5, 0, 2])
    sample = np.sort(random.choice(len(table.index), 30, replace=False))
    images = [decode_image(table.encoded[row]).numpy() for row in sample]
    features = np.stack([
        model(tf.image.resize(image, SIZE.of(*image.shape[:2]), antialias=True)[None])
        ["embedding"][0].numpy() for image in images])
    labels = table.index.labels[sample]
    order = {row: place for place, row in enumerate(sample)}
    losses = []
    for query, positive, negative in batches.state.rows.numpy():
        query, positive, negative = order[query], order[positive], order[negative]
        hardest = hardest_triplets(features, labels, np.array([query]), 0.1, 4)
        loss = max(0.0, 0.1 + features[query] @ (features[negative] - features[positive]))
        assert loss > hardest.losses[0, -1] - 0.02  # the sample was resized by OpenCV
        losses.append(loss)
    assert scalars["mining/mean_loss"] == pytest.approx(np.mean(losses), abs=0.01)
    assert 0 < scalars["mining/possible_queries"] <= 1
    assert scalars["augmentation/cutout_limit"] == 0


def test_equal_sizes_share_a_batch(table, model):
    """Within an update, no other order has fewer groups here: all of one size, of another, both."""
    index = table.index.take(np.arange(len(table.index)))
    sizes = np.where(np.arange(len(index)) % 2, 60, 30)
    index = type(index)(**{**vars(index), "heights": np.full(len(index), 60), "widths": sizes})
    batches = make(ImageTable(table.encoded, index, 0.0))
    even, odd = [0, 2, 4], [1, 3, 5]
    batches.state.rows.assign(np.array([even, odd] * 9))
    assert [len(groups) for _, groups, _ in batches.epoch(0, BATCHES)] == [1, 2, 1] * 3


@pytest.mark.parametrize("augmentation", [
    AugmentationConfig(pad=0, erasing_probability=0.0, crop_probability=0.5, cutout_probability=1.0,
                       cutout_area_start=0.3), AugmentationConfig().everything()])
def test_batches_hang_on_seed_and_epoch_and_can_start_in_the_middle(prepared, augmentation):
    batches, _ = prepared
    noisy = make(batches.table, augmentation=augmentation)
    noisy.state.rows.assign(batches.state.rows)
    whole, again, rest, other = (
        [pixels.numpy() for pixels, *_ in noisy.epoch(epoch, BATCHES, first)]
        for epoch, first in ((0, 0), (0, 0), (0, 4), (1, 0)))
    assert all(map(np.array_equal, whole, again)) and all(map(np.array_equal, whole[4:], rest))
    assert not any(map(np.array_equal, whole, other))


def test_a_process_takes_its_part(prepared):
    batches, _ = prepared
    whole = [pixels.numpy() for pixels, *_ in batches.epoch(0, BATCHES, 2)]
    part = [pixels.numpy() for pixels, *_ in batches.epoch(0, BATCHES, 2, np.array([1, 4]))]
    assert len(part) == 2
    for found, expected in zip(part, (whole[1], whole[4])):
        np.testing.assert_array_equal(found, expected)


def test_a_round_resumed_in_its_middle_is_not_mined_anew(prepared, model):
    batches, _ = prepared
    before = batches.state.rows.numpy()
    assert batches.prepare(0, BATCHES, 3, None).keys() == {"augmentation/cutout_limit"}
    np.testing.assert_array_equal(batches.state.rows.numpy(), before)
    batches.prepare(1, BATCHES, 0, model)
    assert np.any(batches.state.rows.numpy() != before) and int(batches.state.epoch) == 1
    batches.prepare(0, BATCHES, 0, model)
    np.testing.assert_array_equal(batches.state.rows.numpy(), before)


@pytest.mark.parametrize(("updates", "pieces"), [(2, [6, 9, 12]), (4, [9, 12, 18, 24])])
def test_rounds_begin_anywhere_in_an_epoch_and_go_beyond_its_end(table, model, updates, pieces):
    """An epoch has 9 batches, 3 updates; `pieces` are the ends of epochs and of rounds."""
    batches, position = make(table, updates_per_mining=updates), 0
    for end in pieces:
        epoch, first = divmod(position, BATCHES)
        batches.prepare(epoch, BATCHES, first, model)
        assert int(batches.state.epoch) == position // (3 * updates)
        for triplets in triplets_of(batches, epoch, first):
            start = 6 * (position // 3 % updates)
            wanted = batches.state.rows.numpy()[start : start + 6]
            for triplet in triplets:
                assert any(all(map(_shows, triplet, [table] * 3, row)) for row in wanted)
            position += 1
        assert position == end


def test_images_of_one_fixed_size_have_a_static_shape(table):
    batches = make(table, InputSize(16, 8))
    pixels, groups, places = batches.epoch(0, BATCHES).element_spec
    assert (pixels.shape, groups.shape, places.shape) == ((6 * 16 * 8 * 3,), (1, 3), (3, 2))
    first = next(iter(batches.epoch(0, BATCHES)))
    assert first[1].numpy().tolist() == [[6, 16, 8]]


def test_mistakes_get_one_sentence(table, model):
    with pytest.raises(UserError, match="have no positive pair; raise it") as error:
        alone = type(table.index)(**{**vars(table.index),
                                     "labels": np.r_[0, 0, 2:len(table.index)]})
        batches = make(ImageTable(table.encoded, alone, 0.0), mining_images=3)
        batches.prepare(0, BATCHES, 0, model)
    assert "mining_images is 3" in str(error.value)
    alone = type(table.index)(**{**vars(table.index), "labels": np.arange(len(table.index))})
    with pytest.raises(UserError, match="R: triplets need two identities"):
        make(ImageTable(table.encoded, alone, 0.0))


@pytest.mark.parametrize("compiled", [False, True])
def test_groups_are_embedded_as_their_images_one_by_one(compiled):
    random = np.random.default_rng(0)
    kernel = tf.Variable(random.standard_normal((3, 3, 3, 4)), dtype=tf.float32)

    def embed(images):
        return tf.reduce_max(tf.nn.conv2d(images / 255.0, kernel, 2, "SAME"), axis=[1, 2])

    shapes = [(2, 6, 4), (1, 9, 4), (3, 9, 5)]
    groups = [random.integers(0, 256, (*shape, 3)).astype(np.uint8) for shape in shapes]
    pixels = tf.constant(np.concatenate([group.ravel() for group in groups]))
    shapes = tf.constant(shapes)
    function = tf.function(embed_groups, reduce_retracing=True) if compiled else embed_groups
    slopes = tf.constant(random.standard_normal((6, 4)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        found = function(embed, pixels, shapes, 4)
        singly = tf.concat([embed(tf.cast(image[None], tf.float32))
                            for group in groups for image in group], axis=0)
        sums = [tf.reduce_sum(slopes * values) for values in (found, singly)]
    np.testing.assert_allclose(found, singly, atol=1e-6)
    gradients = [tape.gradient(total, kernel) for total in sums]
    np.testing.assert_allclose(*gradients, atol=1e-5)


@pytest.fixture(scope="module")
def joined(records, other_records):
    """Images of two sources: 48 of 8 identities, then 20 of 5."""
    both = DataConfig(records=[str(records), str(other_records)])
    return open_training(both).load_training()


def balanced(table, balance, **ranking):
    settings = TripletSettings(**{**vars(RANKING), **ranking})
    data = DataConfig(records="R", augmentation=PLAIN, workers=1, source_balance=balance)
    return TripletBatches(table, data, SIZE, settings, seed=5)


def test_sources_have_their_shares_of_the_queries(joined, model):
    """Of 18 triplets, one quarter is 4.5; of 30 sampled images 7.5."""
    sources = joined.sources.of_image
    counts, sampled = [], []
    for mined in range(20):
        batches = balanced(joined, [1, 3])
        random = np.random.default_rng(mined)
        sample = np.sort(batches._sample(30, random))
        assert len(np.unique(sample)) == len(sample)
        sampled.append(np.bincount(sources[sample]).tolist())
        counts.append(np.count_nonzero(sources[sample[batches._queries(sample, 18, random)]] == 0))
    assert {tuple(one) for one in sampled} == {(7, 20), (8, 20)}, "the second has only 20 images"
    assert set(counts) == {4, 5}
    batches = balanced(joined, "equal")
    batches.prepare(0, BATCHES, 0, model)
    rows = batches.state.rows.numpy()
    assert np.bincount(sources[rows[:, 0]]).tolist() == [9, 9]
    assert (joined.index.labels[rows[:, 0]] == joined.index.labels[rows[:, 1]]).all()
    assert (joined.index.labels[rows[:, 0]] != joined.index.labels[rows[:, 2]]).all()
    updates = sources[rows[:, 0]].reshape(3, 6)
    assert (np.ptp(updates, axis=1) == 1).all(), "every update has queries of both"


def test_sources_as_one_are_mined_as_one(joined, model):
    alone = dataclasses.replace(joined, sources=None)
    found = []
    for table in (joined, alone):
        batches = make(table)
        batches.prepare(0, BATCHES, 0, model)
        found.append(batches.state.rows.numpy())
    np.testing.assert_array_equal(*found)


def test_a_source_without_pairs_is_refused(joined, model):
    one_each = np.flatnonzero(joined.sources.of_image == 0)[:30].tolist() + [
        48 + int(place) for place in np.unique(joined.index.labels[48:], return_index=True)[1]]
    batches = balanced(joined.take(np.array(one_each)), "equal")
    with pytest.raises(UserError, match="none of the images of others that were sampled has a pos"):
        batches.prepare(0, BATCHES, 0, model)
