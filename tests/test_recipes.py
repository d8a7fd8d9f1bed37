"""The shipped recipes: their heads, what the papers fix about them, and the recipes of before."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tfreid.backbones import BACKBONES
from tfreid.config import Config, flat, load_config, save_config, stage_config
from tfreid.config.old_names import new_path
from tfreid.config.recipes import renamed_recipe, shipped_recipes, update_tables
from tfreid.training.optimizers import learning_rate_at

ROOT = Path(__file__).parents[1]
RECIPES = {name: yaml.safe_load(path.read_text()) for name, path in shipped_recipes().items()}
VARIANTS = [(name, variant) for name, tree in RECIPES.items()
            for variant in tree.get("variants", ())]
# Settings of all recipes before they were renamed and merged, as differences to the defaults, and
# of the first stages, as differences to their recipes.
BEFORE = json.loads((ROOT / "tests" / "golden" / "old_recipes.json").read_text())
# What was not as published and has changed since: Lin's default, initial weights that recipes did
# not name, the stem and the erasing of the public code of Bag of Tricks and Lin.
ERASING = {"data.augmentation.erasing_color": [152, 142, 127]}
WITHOUT_RELU = {"model.stem": "bag_of_tricks"}
CORRECTED = {
    "bot_resnet50": {**ERASING, **WITHOUT_RELU},
    "bot_osnet_x025": ERASING,
    "lin_resnet50_ibn_a": {**ERASING, "model.weights": "resnet50_ibn_a.weights.h5"},
    "lin_resnet34": {**ERASING, **WITHOUT_RELU, "model.weights": "resnet34.weights.h5"},
    "lin_resnet50": {**ERASING, **WITHOUT_RELU},
    "lin_se_resnet50": {**ERASING, "model.weights": "se_resnet50.weights.h5"},
    "lin_se_resnext50": {**ERASING, "model.weights": "se_resnext50.weights.h5"},
    "report_osnet_x025": {"model.weights": "osnet_x0_25.weights.h5"},
    "report_mobilenet_v3": {"model.weights": "mobilenet_v3_large.weights.h5"},
}
LIN = "lin_resnet50_ibn_a"
# The paper's rows: (rank-1, mAP) on Market-1501, then on DukeMTMC-reID, and what the row changes.
LIN_ROWS = {
    "": (94.9, 88.9, 90.9, 80.8, {}),
    "lin_before": (58.3, 40.1, 46.2, 29.5, {
        "loss.id.weight": 0.0, "loss.lin.weight": 1.0, "loss.metric_feature": "embedding",
        "evaluation.feature": "embedding"}),
    "lin_after": (80.1, 65.3, 73.6, 57.4, {"loss.id.weight": 0.0, "loss.lin.weight": 1.0}),
    "softmax": (94.1, 85.6, 88.2, 77.3, {"loss.lin.weight": 0.0, "model.neck": False}),
    "softmax_neck": (94.6, 86.1, 88.5, 77.3, {"loss.lin.weight": 0.0}),
    "t0_5": (95.1, 88.7, 90.6, 80.4, {"loss.lin.temperature": 0.5}),
    "t5_0": (94.7, 88.5, 90.6, 80.3, {"loss.lin.temperature": 5.0}),
    "r0_6": (94.6, 88.7, 90.6, 80.3, {"loss.lin.positive_boundary": 0.6}),
    "r0_8": (94.8, 88.8, 90.4, 80.8, {"loss.lin.positive_boundary": 0.8}),
    "w0_2": (95.3, 88.7, 90.1, 80.2, {"loss.lin.weight": 0.2}),
    "w0_6": (95.1, 89.0, 90.2, 80.6, {"loss.lin.weight": 0.6}),
}
LIN_BACKBONES = {
    "resnet34": (93.7, 84.5, 87.0, 74.9),
    "resnet50": (95.0, 87.2, 88.5, 77.9),
    "se_resnet50": (94.5, 87.7, 88.3, 78.0),
    "se_resnext50": (95.3, 88.6, 89.5, 79.0),
}
# Bhanushali's Table I: rank-1 and mAP on Market-1501, on DukeMTMC-reID and on LaST's validation
# set; what the text or, where it is silent, the code fixes about the model.
REPORT_ROWS = {
    "resnet50": (89.4, 75.5, 80.4, 66.1, 35.0, 6.9, {
        "model.backbone": "resnet50", "model.last_stride": 2, "model.embedding_size": None,
        "model.neck": True, "model.neck_beta": True, "model.classifier_dropout": 0.0,
        "loss.metric_feature": "neck", "loss.center_feature": "neck"}),
    "osnet_x025": (77.3, 56.3, 69.9, 50.8, 23.0, 4.3, {
        "model.backbone": "osnet_x0_25", "model.embedding_size": 1000,
        "model.embedding_head": "linear_bn_relu", "model.neck": False, "model.neck_beta": False,
        "model.classifier_dropout": 0.0}),
    "mobilenet_v3": (77.0, 56.3, 51.4, 31.8, 25.0, 5.2, {
        "model.backbone": "mobilenet_v3_large", "model.last_stride": None,
        "model.embedding_size": None, "model.neck": True, "model.neck_beta": True,
        "model.classifier_dropout": 0.5, "loss.metric_feature": "embedding",
        "loss.center_feature": "embedding"}),
}

# Almazan et al. 2018, Tables 3 and 4: rank-1, where the paper gives it, and mAP.
DONE_RIGHT = {
    "resnet50": {"market1501": (None, 76.3), "dukemtmc": (None, 67.6)},
    "resnet101": {"market1501": (92.2, 81.2), "dukemtmc": (85.2, 72.8),
                  "person_search": (None, 92.6)},
    "resnet152": {"market1501": (None, 81.4), "dukemtmc": (None, 74.0)},
}
_AUGMENTATION = "data.augmentation."
_CROPS = {_AUGMENTATION + "crop_probability": 1.0, _AUGMENTATION + "crop_area_min": 0.64}
# Tables 1 to 3: mAP on Market-1501 and on DukeMTMC-reID, and what the row changes.
DONE_RIGHT_ROWS = {
    "no_augmentation": (75.9, 69.6, {_AUGMENTATION + "cutout_probability": 0.0}),
    "flips": (77.2, 69.7, {_AUGMENTATION + "cutout_probability": 0.0,
                           _AUGMENTATION + "flip_probability": 0.5}),
    "crops": (76.8, 69.4, {_AUGMENTATION + "cutout_probability": 0.0, **_CROPS}),
    "all_augmentation": (81.2, 72.9, {_AUGMENTATION + "flip_probability": 0.5, **_CROPS}),
    "side256": (78.2, 69.2, {"model.longest_side": 256}),
    "side640": (81.2, 73.1, {"model.longest_side": 640}),
    "average": (80.1, 71.4, {"model.pooling": "average"}),
    "no_classification": (77.1, 71.1, {"pretraining": None}),
}

# Guo and Cheung 2018, Table 2: rank-1 of (L2, L3) and of (L2, L3, L4); Section 4.2: pairs in a
# batch, and how many samples of an image.
CSN_ROWS = {
    "CUHK03, detected boxes": (79.45, 86.45, 256, 2),
    "CUHK03, labeled boxes": (80.30, 87.50, 256, 2),
    "cuhk01": (86.55, 88.20, 128, 5),
    "viper": (48.03, 50.10, 128, 5),
}


def settings_of(name, *variants):
    return flat(load_config(name, variants=variants))


def changes(one, other):
    """Settings, other than the name, in which a recipe with variants differs from another."""
    theirs = settings_of(*other)
    return {key: value for key, value in settings_of(*one).items()
            if value != theirs[key] and key != "name"}


def head_of(name):
    lines = shipped_recipes()[name].read_text().splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(line[2:] for line in lines[:end])


def figures_of(name, variant=""):
    """Rank-1 and mAP by dataset, as a recipe states them for itself or a variant."""
    tree = RECIPES[name]["variants"][variant] if variant else RECIPES[name]
    return {row["dataset"]: (row.get("rank_1"), row.get("map")) for row in tree.get("paper", ())}


@pytest.mark.parametrize("name", RECIPES)
def test_names_itself_and_a_backbone_and_states_its_command(name, tmp_path):
    config = load_config(name)
    assert config.name == name
    assert config.model.backbone in BACKBONES
    assert RECIPES[name]["about"]
    assert re.search(rf"tfreid train --config {name} |tools/quickstart.sh", head_of(name))
    assert name == "quickstart" or "Cost: " in head_of(name) or "two processor" in head_of(name)
    assert not re.search("market|duke|cuhk|viper|mars|synthetic", name)
    save_config(config, tmp_path / "saved.yaml")
    assert load_config(tmp_path / "saved.yaml") == config


@pytest.mark.parametrize("name, variant", VARIANTS)
def test_variants_load_and_change_something(name, variant):
    assert load_config(name, variants=[variant]).name == f"{name}-{variant}"
    if "about" in RECIPES[name]["variants"][variant]:
        assert changes((name, variant), (name,))


@pytest.mark.parametrize("old", BEFORE["recipes"])
def test_recipes_of_before_have_the_same_settings_under_their_new_names(old):
    def renamed(settings):
        return {".".join(new_path(tuple(key.split(".")), {})):
                "triplet" if value == "ranking" else value
                for key, value in settings.items() if not key.startswith("pretraining.")}

    name, *variants = renamed_recipe(old)
    config = load_config(name, variants=variants)
    before = renamed(BEFORE["defaults"])
    # Settings that came later have the default that leaves everything as it was.
    later = {key: value for key, value in flat(Config()).items() if key not in before}
    expected = {**later, **before, "loss.lin.reduction": "mean", **CORRECTED.get(name, {}),
                **renamed(BEFORE["recipes"][old])}
    if name.startswith("report_"):
        # They were other networks of the same size, which ranked without flips, and fine-tuned
        # the weights that were best on the test images.
        weights = expected["model.weights"]
        expected.update(REPORT_ROWS[name.replace("report_", "")][-1], **ERASING, **{
            "evaluation.flip": True, "model.weights": weights and weights.replace("best", "last")})
    if "mars" in variants:  # The mean of the images was not what MARS's authors rank by.
        expected["evaluation.tracklet_pooling"] = "max"
    if name.startswith("csn_") and not {"market1501", "synthetic"} & set(variants):
        expected["data.pairs.matching"] = "enlarged"  # The pairs of the work that the paper names.
    if name.startswith("csn_") and "cpu" in variants:  # Chosen again, on people held out of VIPeR.
        expected.update({
            "model.height": 128, "model.width": 48, "data.pairs.batch_size": 32,
            "data.augmentation.color_probability": 1.0, "training.epochs": 15,
            "training.steps_per_epoch": 500})
    assert {**flat(config), "name": "run", "pretraining": None} == {
        **expected, "pretraining": None}
    stage = stage_config(config)
    assert (stage is not None) == (old in BEFORE["first_stages"])
    if stage is not None:
        expected.update(renamed(BEFORE["first_stages"][old]))
        assert {**flat(stage), "name": "run"} == {**expected, "pretraining": None}


@pytest.mark.parametrize("name, variant", [*((name, "") for name in RECIPES), *VARIANTS])
def test_initial_weights_are_named_where_a_method_needs_them(name, variant):
    told = RECIPES[name].get("initial_weights", "-")
    if variant:
        told = RECIPES[name]["variants"][variant].get("initial_weights", told)
    weights = load_config(name, variants=[variant] if variant else []).model.weights
    named = {"-": None, "Keras": "imagenet", "rendered": "rendered"}.get(
        told, f"{told}.weights.h5")
    assert weights == named or (variant.startswith("from_") and weights.startswith("runs/"))


@pytest.mark.parametrize("name", ["bot_resnet50", LIN])
def test_the_schedule_of_the_public_code(name):
    # `WarmupMultiStepLR` with factor 0.01 and 10 epochs of warm-up, before PyTorch 1.1; its
    # epochs are counted from 0.
    code = load_config(name, variants=["public_code"])
    paper = load_config(name)
    for epoch in range(120):
        share = min(epoch / 10, 1)
        decay = 0.1 ** ((epoch >= 40) + (epoch >= 70))
        expected = 3.5e-4 * (0.01 * (1 - share) + share) * decay
        assert learning_rate_at(code.schedule, epoch, 120) == pytest.approx(expected)
        if epoch >= 10:
            assert learning_rate_at(paper.schedule, epoch, 120) == pytest.approx(expected)
    assert learning_rate_at(paper.schedule, 0, 120) == 3.5e-5


@pytest.mark.parametrize("name", ["bot_resnet50", "lin_resnet50"])
def test_the_published_resnet50_is_that_of_torchvision(name):
    assert changes((name, "torchvision"), (name,)) == {
        "model.weights": "resnet50.weights.h5", "model.normalization": "torch",
        "model.stride_in_1x1": False}


@pytest.mark.parametrize("row", LIN_ROWS)
def test_rows_of_the_lin_loss_paper(row):
    *figures, changed = LIN_ROWS[row]
    assert figures_of(LIN, row) == {"market1501": tuple(figures[:2]),
                                    "dukemtmc": tuple(figures[2:])}
    assert changes((LIN, *filter(None, [row])), (LIN,)) == changed


@pytest.mark.parametrize("backbone", LIN_BACKBONES)
def test_backbones_of_the_lin_loss_paper(backbone):
    figures = LIN_BACKBONES[backbone]
    assert figures_of(f"lin_{backbone}") == {"market1501": figures[:2], "dukemtmc": figures[2:]}
    changed = changes((f"lin_{backbone}",), (LIN,))
    assert changed["model.backbone"] == backbone
    assert all(key.startswith("model.") for key in changed)


def test_what_the_lin_loss_paper_fixes():
    settings = settings_of(LIN)
    fixed = {
        "model.backbone": "resnet50_ibn_a", "model.last_stride": 1, "model.neck": True,
        "model.neck_beta": False, "model.classifier_bias": False, "model.embedding_size": None,
        "data.identities_per_batch": 16, "data.images_per_identity": 4,
        "data.augmentation.erasing_probability": 0.5, **ERASING,
        "loss.id.weight": 1.0, "loss.id.smoothing": 0.1, "loss.triplet.weight": 0.0,
        "loss.center.weight": 0.0, "loss.metric_feature": "neck", "loss.lin.weight": 0.4,
        "loss.lin.positive_boundary": 0.7, "loss.lin.negative_boundary": 2.0,
        "loss.lin.temperature": 1.0, "loss.lin.decay": True, "loss.lin.pairs": "all",
        "loss.lin.weight_gradient": False, "loss.lin.reduction": "mean",
        "schedule.warmup_epochs": 10, "schedule.decay_epochs": [40, 70], "training.epochs": 120,
        "evaluation.feature": "neck", "evaluation.metric": "cosine",
    }
    assert {key: settings[key] for key in fixed} == fixed
    assert changes((LIN, "public_code"), (LIN,)) == {
        "loss.lin.decay": False, "loss.lin.weight_gradient": True,
        "schedule.warmup_start": 3.5e-6, "schedule.warmup_epochs": 11}
    stems = {name: settings_of(f"lin_{name}")["model.stem"] for name in LIN_BACKBONES}
    assert {name for name, stem in stems.items() if stem == "bag_of_tricks"} == {
        "resnet34", "resnet50"}


@pytest.mark.parametrize("model", REPORT_ROWS)
def test_models_of_the_report(model):
    *figures, fixed = REPORT_ROWS[model]
    name = f"report_{model}"
    assert figures_of(name, "market1501")["market1501"] == tuple(figures[:2])
    assert figures_of(name, "dukemtmc")["dukemtmc"] == tuple(figures[2:4])
    assert figures_of(name)["LaST, val"] == tuple(figures[4:])
    settings = settings_of(name, "market1501")
    fixed = {
        **fixed, "model.classifier_bias": True, "model.classifier_sigmoid": False,
        "model.num_identities": 751,
        "data.identities_per_batch": 16, "data.images_per_identity": 4,
        "loss.id.weight": 1.0, "loss.id.smoothing": 0.1, "loss.triplet.weight": 1.0,
        "loss.triplet.margin": 0.3, "loss.triplet.normalize": False,
        "loss.center.weight": 0.0005, "loss.center.rate": 0.5,
        "optimizer.name": "adam", "schedule.warmup_start": 3.5e-5,
        "schedule.learning_rate": 3.5e-4, "training.epochs": 120,
        "evaluation.feature": "neck", "evaluation.metric": "cosine", "evaluation.flip": True,
    }
    assert {key: settings[key] for key in fixed} == fixed
    assert changes((name, "dukemtmc"), (name, "market1501")) == {"model.num_identities": 702}


@pytest.mark.parametrize("model", REPORT_ROWS)
def test_what_the_reports_code_does_otherwise(model):
    name = f"report_{model}"
    assert changes((name, "market1501", "public_code"), (name, "market1501")) == {
        "data.augmentation.color_probability": 1.0, "data.augmentation.brightness": 0.1,
        "data.augmentation.contrast": 0.1, "data.augmentation.hue": 0.1,  # as the saturation is
        "loss.center.rate": 0.0, "optimizer.name": "sgd", "optimizer.momentum": 0.95,
        "schedule.warmup_start": 3.5e-6, "schedule.warmup_epochs": 11,
        **({"model.classifier_sigmoid": True} if model == "mobilenet_v3" else {})}
    # Its rate in epoch e from 0 is 0.01 (1 - e / 10) + e / 10 of the full one, up to e = 10, and a
    # tenth of the rate before from e = 40 and e = 70 on.
    schedule = load_config(name, variants=["public_code"]).schedule
    for epoch, share in {0: 0.01, 5: 0.505, 10: 1.0, 39: 1.0, 40: 0.1, 69: 0.1, 70: 0.01}.items():
        assert learning_rate_at(schedule, epoch, 120) == pytest.approx(3.5e-4 * share)


@pytest.mark.parametrize("model", ["resnet50", "mobilenet_v3"])
@pytest.mark.parametrize(("start", "end"), [("market1501", "dukemtmc"), ("dukemtmc", "market1501")])
def test_fine_tunings_of_the_report(model, start, end):
    name = f"report_{model}"
    changed = changes((name, end, f"from_{start}"), (name, end))
    weights = f"runs/report_{model}_{start}/checkpoints/last.weights.h5"
    assert changed == {"model.weights": weights, "training.epochs": 10}
    assert f"--output runs/report_{model}_market1501 " in head_of(name)


def test_the_stock_osnet_is_that_of_the_public_checkpoint():
    assert changes(("osnet", "x0_25"), ("osnet",)) == {"model.backbone": "osnet_x0_25"}
    assert figures_of("osnet", "x0_25") == {"market1501": (91.48, 77.38)}


@pytest.mark.parametrize("dataset", CSN_ROWS)
def test_rows_of_the_csn_paper(dataset):
    smaller, larger, batch_size, samples = CSN_ROWS[dataset]
    variant = "" if "CUHK03" in dataset else dataset
    variants = tuple(filter(None, [variant]))
    settings = settings_of("csn_l23", *variants)
    fixed = {
        "system": "csn", "csn.levels": [2, 3], "csn.divide": True, "csn.attention": "transformer",
        "csn.ranking_net": True, "model.height": 160, "model.width": 60,
        "data.pairs.batch_size": batch_size, "data.pairs.samples": samples,
        "data.pairs.matching": "enlarged",
        "data.pairs.negatives_per_positive": 2, "data.pairs.negatives": "dataset",
        "data.augmentation.flip_probability": 0.5, "data.augmentation.erasing_probability": 0.0,
        "loss.match.weight": 1.0, "loss.contrastive.weight": 1.0,
        "loss.contrastive.margin": 1.0, "loss.contrastive.scale": "half",
        "optimizer.name": "adam", "optimizer.weight_decay": 0.0005,
        "schedule.learning_rate": 0.0005, "schedule.warmup_epochs": 0,
        "schedule.decay_epochs": [], "training.epochs": 5,
        "evaluation.protocol": "single_shot", "csn.score.distance_weight": 0.2,
        "csn.score.epsilon": 1e-4,
    }
    assert {key: settings[key] for key in fixed} == fixed
    assert changes(("csn_l234", *variants), ("csn_l23", *variants)) == {"csn.levels": [2, 3, 4]}
    assert figures_of("csn_l23", variant)[dataset] == (smaller, None)
    assert figures_of("csn_l234", variant)[dataset] == (larger, None)


@pytest.mark.parametrize(("name", "variant", "changed", "rank_1"), [
    ("csn_l23", "cls", {"csn.ranking_net": False}, 75.90),
    ("csn_l23", "l2", {"csn.levels": [2]}, 74.70),
    ("csn_l23", "l3", {"csn.levels": [3]}, 76.55),
    ("csn_l23", "l4", {"csn.levels": [4]}, 79.15),
    ("csn_l234", "c1", {"csn.divide": False}, 79.40),
    ("csn_l234", "c2", {"csn.attention": "center"}, 82.00),
])
def test_ablations_of_the_csn_paper(name, variant, changed, rank_1):
    """Tables 3 and 4; a dataset's variant may come before."""
    assert changes((name, variant), (name,)) == changed
    assert changes((name, "viper", variant), (name, "viper")) == changed
    assert figures_of(name, variant) == {"CUHK03, detected boxes": (rank_1, None)}


@pytest.mark.parametrize("network", DONE_RIGHT)
def test_rows_of_re_id_done_right(network):
    name = f"done_right_{network}"
    assert figures_of(name) == DONE_RIGHT[network]
    changed = changes((name,), ("done_right_resnet101",))
    assert changed == ({} if network == "resnet101" else {"model.backbone": network})
    assert changes((name, "scratch"), (name,)) == {
        "model.weights": None, "model.normalization": "torch", "model.stride_in_1x1": False}


@pytest.mark.parametrize("row", DONE_RIGHT_ROWS)
def test_ablations_of_re_id_done_right(row):
    market, duke, changed = DONE_RIGHT_ROWS[row]
    name = "done_right_resnet101"
    assert figures_of(name, row) == {"market1501": (None, market), "dukemtmc": (None, duke)}
    assert changes((name, row), (name,)) == changed


def test_mars_is_evaluated_as_by_its_authors():
    name = "done_right_resnet101"
    assert figures_of(name, "mars") == {"mars": (85.8, 79.7)}
    assert changes((name, "mars"), (name,)) == {"evaluation.tracklet_pooling": "max"}
    guide = (ROOT / "docs" / "triplet.md").read_text()
    for text in (head_of(name), guide):
        commands = " ".join(text.replace("\\\n", " ").split())
        assert "tfreid build mars --root MARS --queries-in-gallery --output " in commands
        assert f"--config {name} --variant mars --output runs/{name}_mars" in commands


def test_what_re_id_done_right_fixes():
    config = load_config("done_right_resnet101")
    settings, first = flat(config), flat(stage_config(config))
    fixed = {
        "system": "triplet", "model.backbone": "resnet101", "model.longest_side": 416,
        "model.pooling": "max", "model.embedding_size": 2048, "model.normalize_embedding": True,
        "model.neck": False, "triplet.margin": 0.1, "triplet.batch_size": 64,
        "triplet.updates_per_mining": 16, "triplet.mining_images": 5000, "triplet.hardest": 25,
        "evaluation.expansion_query": 5, "evaluation.expansion_gallery": 10,
        "optimizer.name": "sgd", "schedule.learning_rate": 1e-3,
        "data.augmentation.cutout_probability": 1.0, "data.augmentation.crop_probability": 0.0,
        "data.augmentation.flip_probability": 0.0,
    }
    assert {key: settings[key] for key in fixed} == fixed
    updates = settings["triplet.updates_per_epoch"]
    assert settings["schedule.half_life"] * updates == 512
    assert settings["training.epochs"] * updates == 4096
    assert settings["data.augmentation.cutout_epochs"] * updates == 4096
    fixed = {
        "data.images_per_batch": 128, "model.height": 224, "model.width": 224,
        "schedule.learning_rate": 1e-2, "schedule.final_rate": 1e-4, "optimizer.momentum": 0.9,
        "optimizer.weight_decay": 5e-5, "data.augmentation.crop_probability": 1.0,
    }
    assert {key: first[key] for key in fixed} == fixed


def test_what_the_siamese_report_fixes():
    settings = settings_of("siamese_twin")
    fixed = {
        "system": "siamese", "model.backbone": "siamese_twin", "model.height": 256,
        "model.width": 128, "model.embedding_size": 4096, "model.embedding_head": "sigmoid",
        "siamese.merge": "absolute", "siamese.loss": "contrastive", "loss.contrastive.margin": 1.0,
        "loss.contrastive.scale": "mean", "data.subset.identities": 100,
        "data.subset.images": 100_000, "data.subset.validation": 0.2,
        "data.subset.validation_by": "identity", "data.pairs.batch_size": 32,
        "data.pairs.negatives_per_positive": 1, "data.augmentation.flip_probability": 0.5,
        "optimizer.name": "adam", "optimizer.weight_decay": 0.0, "schedule.learning_rate": 5e-5,
    }
    assert {key: settings[key] for key in fixed} == fixed
    # Dropout of the sigmoids hides the margin, so that is a variant, with the report's figure.
    assert changes(("siamese_twin", "report"), ("siamese_twin",)) == {
        "model.dropout": 0.2, "model.block_dropout": None, "model.normalize_embedding": False}
    assert settings["model.block_dropout"] == 0.2 and settings["model.dropout"] == 0
    (row,) = RECIPES["siamese_twin"]["variants"]["report"]["paper"]
    assert row["dataset"] == "mars" and "about 82, on pairs of which about 99 %" in row["figure"]
    assert settings["evaluation.verification_apart"] == "cameras"


def test_the_documented_tables_are_those_of_the_recipes():
    text = (ROOT / "docs" / "recipes.md").read_text()
    assert update_tables(text) == text, "python -m tfreid.config --recipes docs/recipes.md"
    for name, variant in [*((name, "") for name in RECIPES), *VARIANTS]:
        cell = f"`{variant}`" if variant else ""
        assert f"| `{name}` | {cell} |" in text
    row = f"| `{LIN}` | `t0_5` | T 0.5 | `{LIN[4:]}` | Market-1501 | II | 95.1 / 88.7 |"
    assert row in text
    assert "| `csn_l234` | `viper` |" in text and " | 50.10 |" in text
