"""tfreid test on queries of several images, on tracklets, and on a gallery for each query."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import cv2
import keras
import numpy as np
import pytest
import yaml

import test_net
from tfrecords import build
from tfrecords.errors import UserError
from tfrecords.records import build_records
from tfrecords.scan import ImageEntry, Scan
from tfreid.config import load_config
from tfreid.evaluation.evaluator import GalleryEvaluator
from tfreid.evaluation.features import FeatureExtractor
from tfreid.evaluation.picture_images import ranked_rows
from tfreid.evaluation.pooling import expand_features
from tfreid.evaluation.ranking import VARIANTS, evaluate_distances, evaluate_ranking
from tfreid.evaluation.reranking import k_reciprocal_rerank
from tfreid.models.embedding import build_embedding_model
from tfreid.records import Records
from tfreid.weights.files import save_weights

# Person, camera, tracklet of each image.
FRAMES = {
    "query": [(1, 1, 5), (1, 1, 5), (2, 1, 6), (1, 1, 5), (3, 2, 8), (2, 1, 6)],
    "gallery": [(2, 2, 11), (1, 2, 12), (1, 2, 12), (0, 3, 13), (3, 1, 14), (2, 2, 11), (2, 3, 15),
                (0, 3, 16), (0, 3, 16), (1, 3, 17), (3, 1, 14)],
}
GALLERIES = [[1, 2, 5], [0, 3, 9], [0, 5, 7, 8], [4, 9], [1, 3, 5], [0, 2, 3, 4, 5]]


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """Rendered images in Market-1501's layout, with a folder gt_bbox copied from their queries and
    gallery, and the records of both."""
    from tfrecords.rendered import scan_synthetic

    root = tmp_path_factory.mktemp("market")
    scan_synthetic(root / "images", train_identities=2, test_identities=4, cameras=3,
                   cameras_per_identity=3, images_per_camera=2, distractors=2, junk=1)
    (root / "images" / "gt_bbox").mkdir()
    for folder in ("query", "bounding_box_test"):
        for path in (root / "images" / folder).glob("[0-9]*.jpg"):
            shutil.copy(path, root / "images" / "gt_bbox")
    assert build.main(["market1501", "--root", str(root / "images"), "--output",
                       str(root / "records"), "--multi-query", "--workers", "1",
                       "--shards", "2"]) == 0
    return root / "records"


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Folder of noise images, and their entries by split."""
    root = tmp_path_factory.mktemp("frames")
    random, entries = np.random.default_rng(7), {}
    for split, images in FRAMES.items():
        entries[split] = []
        for number, (person, camera, tracklet) in enumerate(images):
            path = f"{split}{number}.png"
            cv2.imwrite(str(root / path), random.integers(0, 256, (32, 16, 3), dtype=np.uint8))
            entries[split].append(ImageEntry(path, person, camera, tracklet))
    return root, entries


@pytest.fixture(scope="module")
def tracklets(frames):
    root, entries = frames
    build_records(Scan(root, entries, distractor_id=0), "tracks", root / "tracklets", shards=2)
    return root / "tracklets"


@pytest.fixture(scope="module")
def searched(frames):
    root, entries = frames
    entries = {split: [ImageEntry(entry.path, entry.person_id) for entry in images]
               for split, images in entries.items()}
    scan = Scan(root, entries, distractor_id=0, query_galleries=list(map(np.array, GALLERIES)))
    build_records(scan, "searched", root / "searched", shards=2)
    return root / "searched"


@pytest.fixture(scope="module")
def trained(tiny_backbone, tmp_path_factory):
    """Folder with a recipe and weights, and a function that runs tfreid test on records."""
    folder = tmp_path_factory.mktemp("trained")
    keras.utils.set_random_seed(4)
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"name": "tiny", "model": {
        "backbone": tiny_backbone, "height": 32, "width": 16, "num_identities": 4}}))
    config = load_config(recipe)
    model = build_embedding_model(config.model)
    save_weights(model, folder / "tiny.weights.h5")

    def run(records, output, *settings, pictures=0):
        return test_net.main([
            "--config", str(recipe), "--weights", str(folder / "tiny.weights.h5"), "--output",
            str(output), "--ranked-queries", str(pictures), f"data.records={records}", *settings])

    def at(records, **evaluation):
        return dataclasses.replace(
            config, data=dataclasses.replace(config.data, records=str(records)),
            evaluation=dataclasses.replace(config.evaluation, **evaluation))

    return run, model, at


def features_of(model, config):
    """Unit features, identities and cameras of a record set's images, by split."""
    extract, found = FeatureExtractor(model, config, Records(config.data.records)), {}
    for split in ("query", "gallery"):
        index = Records(config.data.records)[split].index
        features = extract(split, progress=False)
        found[split] = (features / np.linalg.norm(features, axis=1, keepdims=True), index)
    return found


def test_all_ways_to_rank_share_a_table(market, trained, tmp_path, capsys):
    run, model, at = trained
    assert run(market, tmp_path, "evaluation.multi_query=true", "evaluation.expansion=true",
               "evaluation.expansion_query=2", "evaluation.expansion_gallery=3",
               "evaluation.reranking=true",
               "evaluation.reranking_k1=5") == 0
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())
    for key, title in {"": "plain", **VARIANTS}.items():
        figures = results[key] if key else results
        row = rf"^{title} +{100 * figures['rank_1']:.2f} % .* {100 * figures['mean_inp']:.2f} %$"
        assert len(re.findall(row, printed, re.MULTILINE)) == 1, title
    assert results["expanded"]["query_neighbours"] == 2 and results["reranked"]["k1"] == 5
    assert results["multi_query"]["num_valid_queries"] == results["num_valid_queries"] == 12
    # On so few images two of the eight may agree.
    assert len({results[key]["mean_ap"] for key in VARIANTS} | {results["mean_ap"]}) >= 7
    assert cv2.imread(str(tmp_path / "cmc.png")) is not None
    # A query is the mean over its person's images by its camera: the query and a gallery image.
    found = features_of(model, at(market))
    (query, known), (gallery, labels) = found["query"], found["gallery"]
    means = []
    for person, camera, feature in zip(known.ids, known.cameras, query):
        others = gallery[(labels.ids == person) & (labels.cameras == camera)]
        assert len(others) == 1
        means.append((feature + others[0]) / 2)
    expected = evaluate_ranking(np.array(means), known.ids, known.cameras, gallery, labels.ids,
                                labels.cameras)
    assert results["multi_query"]["mean_ap"] == pytest.approx(expected.mean_ap, abs=1e-6)
    # All three together: re-ranked distances between the expanded multi-queries and gallery.
    distances = k_reciprocal_rerank(*expand_features(np.array(means), gallery, 2, 3), 5,
                                    metric="cosine")
    expected = evaluate_distances(distances, known.ids, known.cameras, labels.ids, labels.cameras,
                                  "cosine")
    together = results["multi_query_expanded_reranked"]
    assert together["mean_ap"] == pytest.approx(expected.mean_ap, abs=1e-6)
    assert {"method": "added", "k1": 5}.items() <= together.items()


def pooled_by_loop(found, reduce):
    """Features, identities and cameras of each tracklet, in the order of the first images."""
    pooled = {}
    for split, (features, index) in found.items():
        order = index.tracklets.tolist()
        rows = list(dict.fromkeys(order))
        first = [order.index(row) for row in rows]
        pooled[split] = (np.array([reduce(features[index.tracklets == row], axis=0)
                                   for row in rows]), index.ids[first], index.cameras[first])
    return pooled


def test_tracklets_are_ranked_by_their_pooled_features(tracklets, trained, tmp_path, capsys):
    run, model, at = trained
    assert run(tracklets, tmp_path, "evaluation.tracklet_pooling=max", "evaluation.expansion=true",
               "data.eval_batch_size=4", pictures=2) == 0
    printed = capsys.readouterr().out
    assert "tracklets (max of their images)\n" in printed
    assert "gallery tracklets" in printed
    results = json.loads((tmp_path / "results.json").read_text())
    assert cv2.imread(str(tmp_path / "ranked_lists.png")) is not None
    # Tracklets 11 to 17 in the gallery; 5, 6 and 8 are the queries.
    assert (results["num_gallery"], results["num_valid_queries"]) == (7, 3)
    assert results["unit"] == results["expanded"]["unit"] == "tracklets"
    pooled = pooled_by_loop(features_of(model, at(tracklets)), np.max)
    expected = evaluate_ranking(*pooled["query"], *pooled["gallery"])
    assert results["mean_ap"] == pytest.approx(expected.mean_ap, abs=1e-6)


def test_rows_of_tracklets_know_their_first_images(frames, tracklets, trained):
    (root, _), (_, model, at) = frames, trained
    evaluator = GalleryEvaluator(model, at(tracklets), Records(tracklets))
    ranked = evaluator.evaluate(progress=False)
    pooled = pooled_by_loop(features_of(model, at(tracklets)), np.mean)
    for found, expected in zip(ranked.arrays(), [*pooled["query"], *pooled["gallery"]]):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert ranked.query_images.tolist() == [0, 2, 4]
    assert ranked.gallery_images.tolist() == [0, 1, 3, 4, 6, 7, 9]
    assert ranked.gallery.paths[2] == "gallery3.png" and ranked.projection() is None
    some = evaluator.evaluate(progress=False, max_queries=2)
    assert some.query_images.tolist() == [0, 4]
    np.testing.assert_allclose(some.query_features, ranked.query_features[[0, 2]], atol=1e-6)
    evaluator.try_out()
    (row,) = ranked_rows(ranked, at(tracklets), np.array([1]))
    np.testing.assert_array_equal(row.query[..., ::-1], cv2.imread(str(root / "query2.png")))
    images = at(tracklets, tracklet_pooling="none")
    single = GalleryEvaluator(model, images, Records(tracklets)).evaluate(progress=False)
    assert single.result.num_gallery == 11 and single.result.unit == "images"


def test_each_query_ranks_its_own_gallery(searched, trained, tmp_path, capsys):
    run, model, at = trained
    assert run(searched, tmp_path) == 0
    printed = capsys.readouterr().out
    assert "gallery images, mean over queries" in printed and "3.3" in printed
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["num_gallery"] == pytest.approx(20 / 6)
    found, precisions = features_of(model, at(searched)), []
    (query, known), (gallery, labels) = found["query"], found["gallery"]
    for person, feature, positions in zip(known.ids, query, GALLERIES):
        order = np.array(positions)[np.argsort(-gallery[positions] @ feature)]
        ranks = 1 + np.flatnonzero(labels.ids[order] == person)
        if len(ranks):
            precisions.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    assert results["num_valid_queries"] == len(precisions) == 5
    assert results["mean_ap"] == pytest.approx(np.mean(precisions))
    evaluator = GalleryEvaluator(model, at(searched), Records(searched))
    assert evaluator.evaluate(progress=False, max_queries=2).galleries[1].tolist() == GALLERIES[5]
    evaluator.try_out()


@pytest.mark.parametrize("records, settings, words", [
    ("tracklets", ["evaluation.multi_query=true"], "--multi-query"),
    ("searched", ["evaluation.expansion=true"], "evaluation.expansion=false"),
    ("searched", ["evaluation.reranking=true"], "evaluation.reranking=false"),
    ("tracklets", ["evaluation.tracklet_pooling=median"], "tracklet_pooling"),
])
def test_what_does_not_go_together_is_one_sentence(request, trained, tmp_path, capsys, records,
                                                   settings, words):
    assert trained[0](request.getfixturevalue(records), tmp_path / "out", *settings) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and words in message and message.count("\n") == 1


def test_tracklets_and_own_galleries_are_not_guessed_at(frames, trained, tmp_path):
    root, entries = frames
    scan = Scan(root, entries, distractor_id=0, query_galleries=list(map(np.array, GALLERIES)))
    build_records(scan, "both", tmp_path / "records", shards=1)
    _, model, at = trained
    both = Records(tmp_path / "records")
    with pytest.raises(UserError, match="set evaluation.tracklet_pooling=none"):
        GalleryEvaluator(model, at(both.directory), both)
    ranked = GalleryEvaluator(model, at(both.directory, tracklet_pooling="none"), both)
    assert ranked.evaluate(progress=False).result.own_galleries
