"""The record schema: one serialized `tf.train.Example` per image."""

from __future__ import annotations

import os

SCHEMA_VERSION = 1
NO_LABEL = -1
NO_CAMERA = -1
NO_TRACKLET = -1


def encode_record(
    encoded: bytes,
    image_format: str,
    height: int,
    width: int,
    path: str,
    person_id: int,
    label: int = NO_LABEL,
    camera_id: int = NO_CAMERA,
    tracklet_id: int | None = None,
) -> bytes:
    """Serializes one image and its annotation.

    Args:
        encoded: JPEG or PNG bytes, the pixels of which are upright and opaque.
        image_format: "jpeg" or "png".
        height: Height of the stored image in pixels.
        width: Width of the stored image in pixels.
        path: POSIX path relative to the dataset's root.
        person_id: The dataset's own number of the identity.
        label: Index among the sorted training identities, from 0; -1 outside training.
        camera_id: The dataset's own number of the camera, -1 if unknown.
        tracklet_id: Number of the tracklet; None leaves it out of the record.

    Raises:
        ValueError: If `image_format` is neither "jpeg" nor "png".
    """
    if image_format not in ("jpeg", "png"):
        raise ValueError(f"`image_format` must be 'jpeg' or 'png'. Received: {image_format!r}")
    import tensorflow as tf

    example = tf.train.Example()
    feature = example.features.feature
    feature["image/encoded"].bytes_list.value.append(encoded)
    feature["image/format"].bytes_list.value.append(image_format.encode())
    feature["image/path"].bytes_list.value.append(os.fsencode(path))
    integers = {
        "image/height": height,
        "image/width": width,
        "person/id": person_id,
        "person/label": label,
        "camera/id": camera_id,
    }
    if tracklet_id is not None:
        integers["tracklet/id"] = tracklet_id
    for name, value in integers.items():
        feature[name].int64_list.value.append(value)
    return example.SerializeToString(deterministic=True)


def parse_records(serialized):
    """Parses a batch of serialized records, also inside a `tf.data` graph.

    Args:
        serialized: String tensor, [n].

    Returns:
        A dict of tensors, [n] each: `image/encoded`, `image/format` and `image/path` are strings;
        `image/height`, `image/width`, `person/id`, `person/label`, `camera/id` and `tracklet/id`
        are int64. If a record has no camera or tracklet, the value is -1.
    """
    import tensorflow as tf

    required = {
        "image/encoded": tf.string,
        "image/format": tf.string,
        "image/path": tf.string,
        "image/height": tf.int64,
        "image/width": tf.int64,
        "person/id": tf.int64,
    }
    optional = {"person/label": NO_LABEL, "camera/id": NO_CAMERA, "tracklet/id": NO_TRACKLET}
    features = {name: tf.io.FixedLenFeature([], dtype) for name, dtype in required.items()}
    for name, default in optional.items():
        features[name] = tf.io.FixedLenFeature([], tf.int64, default_value=default)
    return tf.io.parse_example(serialized, features)
