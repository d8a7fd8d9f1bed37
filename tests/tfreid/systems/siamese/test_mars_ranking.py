"""From a small tree in MARS's layout to a ranking of tracklets that was worked on paper."""

from __future__ import annotations

import cv2
import keras
import numpy as np
import pytest
from scipy.io import savemat

from tfrecords.build import main
from tfreid.config import Config, DataConfig, EvaluationConfig, ModelConfig
from tfreid.records import open_records
from tfreid.systems.siamese.network import build_siamese, siamese_parts
from tfreid.systems.siamese.testing import make_siamese_ranker

# Person, camera, number and the grey level of each frame. The fourth is junk, the third a
# distractor.
TEST = [("0002", 1, 1, (10, 30)), ("0002", 2, 1, (60, 40)), ("0000", 3, 1, (25, 25)),
        ("00-1", 1, 1, (20,)), ("0004", 1, 1, (90,)), ("0004", 5, 1, (100, 100)),
        ("0002", 1, 2, (21,)), ("0004", 3, 1, (55, 55))]
TRAIN = [("0001", 1, 1, (0, 0)), ("0003", 2, 1, (9,))]
QUERIES = [1, 5]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    root = tmp_path_factory.mktemp("mars")
    (root / "info").mkdir()
    for half, tracklets in (("train", TRAIN), ("test", TEST)):
        names, table = [], []
        for person, camera, number, levels in tracklets:
            first = len(names) + 1
            for frame, level in enumerate(levels, 1):
                name = f"{person}C{camera}T{number:04}F{frame:03}.jpg"
                path = root / f"bbox_{half}" / person / name
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), np.full((64, 32), level, np.uint8))
                names.append(name)
            table.append((first, len(names), -1 if person == "00-1" else int(person), camera))
        (root / "info" / f"{half}_name.txt").write_text("\n".join(names))
        savemat(root / "info" / f"tracks_{half}_info.mat",
                {f"track_{half}_info": np.array(table, np.int32)})
    savemat(root / "info" / "query_IDX.mat", {"query_IDX": np.array([QUERIES])})
    assert main(["mars", "--root", str(root), "--output", str(root / "records"), "--workers",
                 "1"]) == 0
    return root / "records"


def configure(records, tiny_backbone, **evaluation):
    return Config(
        system="siamese", data=DataConfig(records=str(records)),
        model=ModelConfig(backbone=tiny_backbone, height=32, width=16, normalization="unit",
                          embedding_size=1, neck=False, classifier=False),
        evaluation=EvaluationConfig(feature="embedding", **evaluation))


def grey_network(config):
    """A network whose embedding is the mean grey level, and who finds near ones likely alike."""
    keras.utils.set_random_seed(0)
    model = build_siamese(config)
    embed, compare = (getattr(siamese_parts(model), name) for name in ("embed", "compare"))
    kernel = np.zeros((3, 3, 3, 8), np.float32)
    kernel[1, 1, :, 0] = 255 / 3
    embed.get_layer("stem_conv").set_weights([kernel])
    weights = np.zeros((8, 1), np.float32)
    weights[0] = 1
    embed.get_layer("fc").set_weights([weights, np.zeros(1)])
    compare.get_layer("verdict").set_weights([np.array([[-0.1]]), np.array([3.0])])
    return model


def rank(config):
    ranker = make_siamese_ranker(grey_network(config), config, open_records(config.data))
    return ranker.evaluate(progress=False).result


# Means: queries 20 (person 2, camera 1) and 90 (person 4, camera 1); the gallery has 50 (person 2,
# camera 2), 25 (a distractor), 100 (4, 5), 21 (2, 1) and 55 (4, 3).
# Query 20 ignores 21 of its own camera, so 25 is first and its match 50 second: AP 1/2.
# Query 90 finds 100, then 55: AP 1.
@pytest.mark.parametrize("metric", ["euclidean", "probability"])
def test_tracklets_rank_as_worked_on_paper(records, tiny_backbone, metric):
    config = configure(records, tiny_backbone, metric=metric)
    result = rank(config)
    assert (result.unit, result.num_gallery, result.metric) == ("tracklets", 5, metric)
    assert result.cmc[:2].tolist() == [0.5, 1.0]
    assert result.average_precision.tolist() == [0.5, 1.0]
    assert result.mean_ap == 0.75
    # mINP: 1/2 and 2/2.
    assert result.mean_inp == 0.75


# Without pooling the queries are 10, 30 and 90. Query 10 meets 25, 25, 40, 55, 55, 60 (21 is
# ignored): its matches 40 and 60 come third and sixth. Query 30: 25, 25, 40, 55, 55, 60: the same.
# Query 90 meets 100, 100, 60, 55, 55: its matches come first, second, fourth and fifth.
def test_single_frames_rank_as_worked_on_paper(records, tiny_backbone):
    config = configure(records, tiny_backbone, metric="euclidean", tracklet_pooling="none")
    result = rank(config)
    assert (result.unit, result.num_gallery) == ("images", 9)
    expected = [(1 / 3 + 2 / 6) / 2] * 2 + [(1 + 1 + 3 / 4 + 4 / 5) / 4]
    np.testing.assert_allclose(result.average_precision, expected)
