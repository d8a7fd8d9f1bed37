"""The record schema."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tfrecords.schema import encode_record, parse_records


def test_a_batch_comes_back_as_it_went_in(encode_image):
    jpeg, png = encode_image(1), encode_image(2, suffix=".png")
    records = [
        encode_record(jpeg, "jpeg", 24, 12, "query/0001_c3.jpg", 1, 0, 3, 8),
        encode_record(png, "png", 25, 13, "train/b.png", 1501, 750, 6, 9),
    ]
    parsed = parse_records(tf.constant(records))
    expected = {
        "image/encoded": [jpeg, png],
        "image/format": [b"jpeg", b"png"],
        "image/height": [24, 25],
        "image/width": [12, 13],
        "image/path": [b"query/0001_c3.jpg", b"train/b.png"],
        "person/id": [1, 1501],
        "person/label": [0, 750],
        "camera/id": [3, 6],
        "tracklet/id": [8, 9],
    }
    assert {name: tensor.numpy().tolist() for name, tensor in parsed.items()} == expected
    assert all(tensor.dtype == tf.int64 for name, tensor in parsed.items()
               if tensor.dtype != tf.string)


def test_label_camera_and_tracklet_default_to_minus_one():
    record = encode_record(b"x", "png", 1, 1, "a.png", 4)
    parsed = parse_records([record])
    assert parsed["person/id"].numpy().tolist() == [4]
    for name in ("person/label", "camera/id", "tracklet/id"):
        assert parsed[name].numpy().tolist() == [-1]
    assert "tracklet/id" not in tf.train.Example.FromString(record).features.feature


def test_parsing_works_inside_a_dataset():
    records = [encode_record(b"x", "jpeg", 1, 1, "a.jpg", person) for person in (5, 6, 7)]
    batches = tf.data.Dataset.from_tensor_slices(records).batch(2).map(parse_records)
    assert [batch["person/id"].numpy().tolist() for batch in batches] == [[5, 6], [7]]


def test_the_same_image_gives_the_same_bytes():
    assert len({encode_record(b"x", "jpeg", 1, 1, "a.jpg", 5, 1, 2, 3) for _ in range(20)}) == 1


def test_another_format_is_refused():
    with pytest.raises(ValueError, match="'gif'"):
        encode_record(b"x", "gif", 1, 1, "a.gif", 1)
