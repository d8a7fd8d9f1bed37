"""The training pipeline compared with plain OpenCV."""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np

from tfrecords.errors import UserError
from tfreid.benchmarks.measuring import rounded, timed
from tfreid.config import Config
from tfreid.records import open_training
from tfreid.systems.registry import make_system

# The two sides of a ratio alternate, so that other work on the machine slows both.
_TURNS = 5


def measure_pipeline(config: Config, steps: int, warm_up: int,
                     everything: bool = False) -> dict[str, Any]:
    """Compares the training pipeline with OpenCV decoding and resizing the same number of images.

    Each turn has `steps` batches; `warm_up` batches precede the first one. With `everything` a turn
    also has the pipeline with every step of the augmentation on every image.

    Raises:
        UserError: If there are no records, or they are broken.
    """
    data, height, width = config.data, config.model.height, config.model.width
    if data.records is None:
        raise UserError("--records is missing; name a folder of records with a train split.")
    system = make_system(config)
    table = system.training_images(open_training(data))
    batches = system.make_batches(table)
    sides = {"pipeline": batches}
    if everything:
        data = dataclasses.replace(data, augmentation=data.augmentation.everything())
        sides["everything"] = make_system(
            dataclasses.replace(config, data=data)).make_batches(table)
    count = steps * batches.images_per_batch
    files = [np.frombuffer(encoded, np.uint8) for encoded in table.encoded]
    files = [files[index % len(files)] for index in range(count)]
    turns = []
    for side in sides.values():
        _read(side.epoch(0, warm_up))
    for turn in range(_TURNS):
        # New pipelines, since a running one would have batches prepared in advance.
        epochs = [side.epoch(turn, steps) for side in sides.values()]
        turns.append([timed(lambda: _decode_with_opencv(files, height, width)),
                      *(timed(lambda epoch=epoch: _read(epoch)) for epoch in epochs)])
    seconds = np.array(turns)  # [turns, OpenCV and the pipelines, wall or processor]
    rates = count / seconds
    ratios = np.median(rates[:, 1] / rates[:, 0], axis=0)
    measured = {}
    for place, side in enumerate(["opencv", *sides]):
        wall, processor = np.median(rates[:, place], axis=0)
        measured[f"{side}_images_per_second"] = rounded(wall)
        measured[f"{side}_cpu_microseconds"] = rounded(1e6 / processor)
    return {
        "config": config.name, "size": [height, width], "batch_size": batches.batch_size,
        "images_per_batch": batches.images_per_batch,
        "streamed": table.limit is not None,
        "ratio": rounded(ratios[0]),
        "ratios": [rounded(ratio) for ratio in rates[:, 1, 0] / rates[:, 0, 0]],
        "cpu_time_ratio": rounded(ratios[1]),
        **measured,
    }


def _read(epoch) -> None:
    for _ in epoch:
        pass


def _decode_with_opencv(files, height, width) -> None:
    def load(share):
        for encoded in share:
            image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
            cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)

    threads, cores = cv2.getNumThreads(), os.cpu_count()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(load, [files[core::cores] for core in range(cores)]))
    finally:
        cv2.setNumThreads(threads)
