"""Groups of hostile inputs: for each reader, a function that prepares good material in a folder.

It returns a function that makes one input from a `Random` and reads it: the reader may accept it or
raise a `UserError`; an `AssertionError` says that what was accepted is wrong.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import struct
from pathlib import Path
from random import Random

import numpy as np

from campaign.damage import damaged, odd_json
from campaign.runner import Attempt

TESTS = Path(__file__).resolve().parents[2]
RENDERED = {"train_identities": 4, "test_identities": 3, "cameras": 2, "cameras_per_identity": 2,
            "images_per_camera": 2, "distractors": 1, "junk": 1}


def build_records(folder: Path) -> Path:
    """Renders a few people and builds records, without another process."""
    from tfrecords.records import build_records as build
    from tfrecords.rendered import scan_synthetic

    build(scan_synthetic(folder / "images", **RENDERED), "synthetic", folder / "records", shards=1)
    return folder / "records"


def manifest(folder: Path) -> Attempt:
    """A changed manifest.json of records."""
    from tfreid.records import Records

    records = build_records(folder)
    good = json.loads((records / "manifest.json").read_text())

    def attempt(random: Random, folder: Path) -> None:
        text = odd_json(good, random)
        (records / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
        found = Records(records)
        for split in found.splits:
            len(found[split])

    return attempt


def shard(folder: Path) -> Attempt:
    """A damaged shard: it is found by its checksum or, if that is right too, by its reader."""
    from tfrecords.files import file_checksum
    from tfreid.layers.preprocessing import InputSize
    from tfreid.records import Records

    records = build_records(folder)
    content = json.loads((records / "manifest.json").read_text())
    entry = content["splits"]["query"]["shards"][0]
    path = records / entry["file"]
    good = path.read_bytes()

    def attempt(random: Random, folder: Path) -> None:
        data = damaged(good, random)
        path.write_bytes(data)
        hidden = random.random() < 0.5
        if hidden:
            entry.update(bytes=len(data), checksum=file_checksum(path))
        else:
            entry.update(bytes=len(good), checksum=checksum)
        (records / "manifest.json").write_text(json.dumps(content))
        split = Records(records, verify="checksum")["query"]
        split.load()
        for _ in split.batches(InputSize(32, 16), 4):
            pass
        assert hidden or data == good, "a damaged shard was accepted"

    checksum = file_checksum(path)
    return attempt


def record_values(folder: Path) -> Attempt:
    """Records with odd labels, sizes and images in a valid shard."""
    from tfrecords.files import file_checksum
    from tfrecords.schema import encode_record
    from tfreid.records import Records

    records = build_records(folder)
    content = json.loads((records / "manifest.json").read_text())
    image = next(folder.rglob("*.jpg")).read_bytes()
    numbers = (-2, -1, 0, 1, 2, 10 ** 9, 2 ** 31, 2 ** 62, -2 ** 63)

    def attempt(random: Random, folder: Path) -> None:
        import tensorflow as tf

        data = damaged(image, random) if random.random() < 0.3 else image
        entry = content["splits"]["train"]["shards"][0]
        count, people = (content["splits"]["train"][name] for name in ("images", "identities"))
        with tf.io.TFRecordWriter(str(records / entry["file"])) as writer:
            for number in range(count):
                odd = [random.choice(numbers) for _ in range(5)]
                person = number * people // count
                values = [64, 32, person, person, number % 2]
                place = random.randrange(5)
                if number == 0:
                    values[place] = odd[place]
                writer.write(encode_record(data if number == 0 else image, "jpeg", values[0],
                                           values[1], f"a/{number}.jpg", *values[2:]))
        path = records / entry["file"]
        entry.update(bytes=path.stat().st_size, checksum=file_checksum(path))
        (records / "manifest.json").write_text(json.dumps(content))
        split = Records(records)["train"]
        labels = split.index.labels
        assert labels.max() < count, f"label {labels.max()} of {count} images"
        split.load()

    return attempt


def json_reader(good: dict, name: str, read) -> Attempt:
    """Inputs like a JSON object, written to a file of that name."""
    def attempt(random: Random, folder: Path) -> None:
        path = folder / name
        path.write_bytes(odd_json(good, random).encode(errors="surrogateescape"))
        read(path)

    return attempt


def results(folder: Path) -> Attempt:
    """A changed results.json for the CMC plot."""
    from tfreid.evaluation.results import read_curves

    good = {"protocol": "market1501", "metric": "cosine", "cmc": [0.5, 0.75, 1.0],
            "mean_ap": 0.5, "mean_inp": 0.4, "num_valid_queries": 4, "num_gallery": 10}

    def read(path):
        for curve in read_curves([path]):
            assert np.all(np.isfinite(curve.cmc))

    return json_reader(good, "results.json", read)


def table(folder: Path) -> Attempt:
    """A CSV table of odd cells."""
    from tfrecords.csv_table import scan_csv

    build_records(folder)
    root = folder / "images"
    files = [str(path.relative_to(root)) for path in sorted(root.rglob("*.jpg"))]
    cells = ("", "-1", "0051", "051", "2147483648", "9" * 30, "\x1b[31m", "a\0b", "Jos\u00e9",
             "Jose\u0301", "../../etc/passwd", "/etc/passwd", "a" * 300, "cam1", "train", "query",
             "gallery", "TRAIN", "1.0", "nan", '"', "=1+1", "\udcff", "/dev/zero", ".")

    def attempt(random: Random, folder: Path) -> None:
        separator = random.choice((",", ",", ";", "\t"))
        lines = [["path", "person_id", "camera_id", "split"]]
        random.shuffle(files)
        for number, (person, camera) in enumerate((p, c) for p in range(6) for c in range(2)):
            split = "train" if person < 3 else ("query", "gallery")[camera]
            lines.append([files[number], str(person), str(camera), split])
        for _ in range(random.choice((0, 1, 1, 5))):
            random.choice(lines)[random.randrange(4)] = random.choice(cells)
        text = "\n".join(separator.join(line) for line in lines).encode(errors="surrogateescape")
        if random.random() < 0.2:
            text = damaged(text, random)
        path = folder / "table.csv"
        path.write_bytes(text)
        scan_csv(root, table=path)

    return attempt


def folders(folder: Path) -> Attempt:
    """Folders of images in odd arrangements, for the `folder` builder."""
    from tfrecords.folder import scan_folder

    image = b"\xff\xd8\xff\xe0 no image, but the scan does not open it"
    names = ("0001", "0051", "051", "anna", "Jos\u00e9", "train", "query", "gallery", "cam1",
             "cam2", "camera_3", "c1", "bounding_box_train", "images", ".hidden", "a b",
             "\udcff", "[x]", "0001_c1s1_000151_01", "9" * 25, "-1", "__MACOSX")

    def attempt(random: Random, folder: Path) -> None:
        root = folder / "tree"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        for number in range(4):
            _images(root / str(number), image, "ab")
        for _ in range(random.choice((0, 1, 1, 2, 10))):
            place = root.joinpath(*random.choices(names, k=random.randint(0, 4)))
            with contextlib.suppress(OSError):
                _images(place, image, random.sample(names, random.randint(0, 3)),
                        random.choice((".jpg", ".png", ".JPG", ".txt", "")))
        if random.random() < 0.1:
            (root / "loop").symlink_to(root, target_is_directory=True)
        scan_folder(root)

    return attempt


def _images(folder, content, names, suffix=".jpg"):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}{suffix}").write_bytes(content)


def image(folder: Path) -> Attempt:
    """Damaged images: what the builder accepts, both decoders read, to one size."""
    import cv2
    import tensorflow as tf

    from tfrecords.images import stored_image
    from tfreid.records.images import decode_image

    pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 3), np.uint8)
    good = [cv2.imencode(suffix, pixels)[1].tobytes() for suffix in (".jpg", ".png", ".bmp")]
    good.append(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes())
    good.append(cv2.imencode(".png", pixels[:, :, 0].astype(np.uint16) * 256)[1].tobytes())

    def attempt(random: Random, folder: Path) -> None:
        data = random.choice(good)
        data = _with_size(data, random) if random.random() < 0.3 else damaged(data, random)
        data, info = stored_image(data)
        found = (info.height, info.width)
        ours = cv2.imdecode(np.frombuffer(data, np.uint8),
                            cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        assert ours is not None and ours.shape[:2] == found, "OpenCV disagrees"
        try:
            theirs = decode_image(tf.constant(data)).shape
        except tf.errors.InvalidArgumentError:
            theirs = None
        assert theirs is not None and tuple(theirs[:2]) == found, "TensorFlow disagrees"

    return attempt


def _with_size(data, random):
    """A header that claims other pixels than there are."""
    height, width = (random.choice((0, 1, 64, 20_000, 65_535)) for _ in range(2))
    if data.startswith(b"\x89PNG"):
        import zlib

        header = data[12:16] + struct.pack(">II", width, height) + data[24:29]
        return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    if data.startswith(b"BM"):
        return data[:18] + struct.pack("<ii", width, height) + data[26:]
    for marker in (b"\xff\xc0", b"\xff\xc2"):
        place = data.find(marker)
        if place >= 0:
            return data[:place + 5] + struct.pack(">HH", height, width) + data[place + 9:]
    return data


def checkpoint(folder: Path) -> Attempt:
    """Damaged PyTorch checkpoints and safetensors."""
    import safetensors.numpy

    from tfreid.weights.checkpoints import read_state_dict

    weights = {f"layer{n}.weight": np.full((4, 3), n, np.float32) for n in range(5)}
    good = [(TESTS / "golden" / name).read_bytes()
            for name in ("checkpoint_zip.pth", "checkpoint_legacy.pth")]
    good.append(safetensors.numpy.save(weights))

    def attempt(random: Random, folder: Path) -> None:
        path = folder / "a.pth"
        path.write_bytes(damaged(random.choice(good), random))
        total = sum(array.nbytes for array in read_state_dict(str(path)).values())
        assert total < 1 << 20, f"{total} bytes of weights"

    return attempt


def weight_file(folder: Path) -> Attempt:
    """Damaged .weights.h5 files: refused, or their weights are the good ones."""
    import h5py
    import keras

    from tfreid.weights.files import load_weights, save_weights, weight_keys

    inputs = keras.Input((8,))
    model = keras.Model(inputs, keras.layers.Dense(40, name="b")(
        keras.layers.Dense(50, name="a")(inputs)))
    path = folder / "a.weights.h5"
    save_weights(model, str(path))
    good = {name: np.array(value) for name, value in weight_keys(model).items()}
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    odd = (np.zeros(()), np.zeros((0,)), np.array("text", h5py.string_dtype()), np.zeros((50,)),
           np.full((40,), np.nan, np.float32))

    def attempt(random: Random, folder: Path) -> None:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        changed = random.random() < 0.3
        if changed:
            with h5py.File(path, "r+") as file:
                names = []
                file.visit(lambda name: names.append(name)
                           if isinstance(file[name], h5py.Dataset) else None)
                name = random.choice(names)
                if random.random() < 0.7:
                    del file[name]
                else:
                    name += "_more"
                if random.random() < 0.2:
                    file.create_dataset(name, (3_000_000_000,), "f4", chunks=(1000,))
                elif random.random() < 0.8:
                    file.create_dataset(name, data=random.choice(odd))
        else:
            name = random.choice(sorted(files))
            (folder / name).write_bytes(damaged(files[name], random))
        load_weights(model, str(path))
        for name, value in weight_keys(model).items():
            assert np.array_equal(np.array(value), good[name]), f"{name} was changed unnoticed"

    return attempt


GROUPS = {function.__name__: function for function in (
    manifest, shard, record_values, results, table, folders, image, checkpoint, weight_file)}
