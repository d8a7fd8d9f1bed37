"""A gallery of rendered people that a network of one convolution embedded, and its service."""

from __future__ import annotations

import csv
import itertools
import runpy
import shutil
import threading
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import keras
import numpy as np
import pytest

from tfreid.config import Config, DataConfig, ModelConfig


class Crops(NamedTuple):
    """Crops of people on the disk: the table that names them, and who each shows."""

    table: Path
    query: Path
    person: str
    people: dict[str, str]


@pytest.fixture(scope="session")
def model(tmp_path_factory, records) -> Path:
    """The export of an untrained network of one convolution."""
    from tfreid.backbones import BACKBONES
    from tfreid.commands import export
    from tfreid.config import save_config
    from tfreid.models.embedding import build_embedding_model
    from tfreid.weights.files import save_weights

    folder = tmp_path_factory.mktemp("gallery-model")
    (folder / "run" / "checkpoints").mkdir(parents=True)
    config = Config(name="tiny", data=DataConfig(records=str(records)),
                    model=ModelConfig(backbone="tiny", height=32, width=16, num_identities=8))
    tiny = runpy.run_path(str(Path(__file__).parents[2] / "tiny_backbone.py"))["TINY"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "tiny", tiny)
        keras.utils.set_random_seed(3)
        save_config(config, folder / "run" / "config.yaml")
        save_weights(build_embedding_model(config.model),
                     folder / "run" / "checkpoints" / "last.weights.h5")
        assert export.main(["--run", str(folder / "run"), "--output", str(folder / "export")]) == 0
    return folder / "export"


def draw_person(person: int, image: int) -> bytes:
    """Returns a JPEG of a person, known by the colours of jacket and trousers."""
    random = np.random.default_rng([person, image])
    pixels = np.full((64, 32, 3), 128, np.float64)
    colours = np.random.default_rng(person).uniform(0, 255, (2, 3))
    pixels[8:36, 6:26], pixels[36:62, 9:23] = colours
    pixels = (pixels + random.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


@pytest.fixture(scope="session")
def crops(tmp_path_factory) -> Crops:
    """Six people in two cameras, three images of each track, and one more image of person 2."""
    folder, people = tmp_path_factory.mktemp("gallery-crops"), {}
    with open(folder / "crops.csv", "w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("path", "person_id", "camera_id", "split", "tracklet_id", "time"))
        for camera, name in enumerate(("entrance", "yard")):
            (folder / name).mkdir()
            for person, image in itertools.product(range(6), range(3)):
                path = folder / name / f"{person}_{image}.jpg"
                path.write_bytes(draw_person(person, 10 * camera + image))
                track = f"{name}-{person}"
                table.writerow((f"{name}/{path.name}", track, name, "gallery", track,
                                60 * camera + 5 * person + image))
                people[str(path)] = str(person)
    (folder / "query.jpg").write_bytes(draw_person(2, 99))
    return Crops(folder / "crops.csv", folder / "query.jpg", "2", people)


@pytest.fixture(scope="session")
def filled(model, crops, tmp_path_factory) -> Path:
    """A store with the crops; copy it to change it."""
    from tfreid.commands import gallery

    folder = tmp_path_factory.mktemp("filled")
    assert gallery.main(["add", str(crops.table), "--gallery", str(folder / "people.db"),
                         "--model", str(model)]) == 0
    return folder / "people.db"


class Service(NamedTuple):
    """A running service: its address, and a query with the person it shows."""

    url: str
    query: Path
    person: str
    people: dict[str, str]
    folder: Path

    def person_of(self, key: str) -> str:
        """Returns who an entry shows."""
        return self.people[key]


@pytest.fixture
def gallery_service(filled, model, crops, tmp_path):
    """A service on a free port, over a copy of the gallery."""
    import uvicorn

    from tfreid.gallery.embedder import Limits
    from tfreid.gallery.gallery import Gallery
    from tfreid.gallery.service import make_app

    shutil.copy(filled, tmp_path / "people.db")
    with Gallery(str(tmp_path / "people.db"), str(model), limits=Limits(0.01, 0.11)) as gallery:
        server = uvicorn.Server(uvicorn.Config(make_app(gallery), port=0, log_level="warning"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Service(f"http://127.0.0.1:{port}", crops.query, crops.person, crops.people,
                      crops.table.parent)
        server.should_exit = True
        thread.join()
