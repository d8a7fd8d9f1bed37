"""The shipped recipes: their heads, and what the papers fix about them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from tfreid.backbones import BACKBONES
from tfreid.config import load_config

ROOT = Path(__file__).parents[1]
RECIPES = {path.stem: path for path in sorted((ROOT / "configs").glob("*.yaml"))}
OF_PAPERS = [name for name in RECIPES if name.startswith(("lin_", "report_"))]
FIGURE = re.compile(r"(?:paper|report|checkpoint)'s figure[^:]*: "
                    r"(?:rank-1 ([\d.]+) %, mAP ([\d.]+) %|a CMC plot)")
LIN = "lin_resnet50_ibn_a_market1501"
# The paper's rows: (rank-1, mAP) on Market-1501, then on DukeMTMC-reID, and what the row changes.
LIN_ROWS = {
    "": (94.9, 88.9, 90.9, 80.8, {}),
    "_lin_before": (58.3, 40.1, 46.2, 29.5, {
        "loss.id.weight": 0.0, "loss.lin.weight": 1.0, "loss.metric_feature": "embedding",
        "evaluation.feature": "embedding"}),
    "_lin_after": (80.1, 65.3, 73.6, 57.4, {"loss.id.weight": 0.0, "loss.lin.weight": 1.0}),
    "_softmax": (94.1, 85.6, 88.2, 77.3, {"loss.lin.weight": 0.0, "model.neck": False}),
    "_softmax_neck": (94.6, 86.1, 88.5, 77.3, {"loss.lin.weight": 0.0}),
    "_t0_5": (95.1, 88.7, 90.6, 80.4, {"loss.lin.temperature": 0.5}),
    "_t5_0": (94.7, 88.5, 90.6, 80.3, {"loss.lin.temperature": 5.0}),
    "_r0_6": (94.6, 88.7, 90.6, 80.3, {"loss.lin.positive_boundary": 0.6}),
    "_r0_8": (94.8, 88.8, 90.4, 80.8, {"loss.lin.positive_boundary": 0.8}),
    "_w0_2": (95.3, 88.7, 90.1, 80.2, {"loss.lin.weight": 0.2}),
    "_w0_6": (95.1, 89.0, 90.2, 80.6, {"loss.lin.weight": 0.6}),
}
LIN_BACKBONES = {
    "resnet34": (93.7, 84.5, 87.0, 74.9),
    "resnet50": (95.0, 87.2, 88.5, 77.9),
    "se_resnet50": (94.5, 87.7, 88.3, 78.0),
    "se_resnext50": (95.3, 88.6, 89.5, 79.0),
}
REPORT_ROWS = {
    "resnet50": (89.4, 75.5, 80.4, 66.1, "resnet50", None),
    "osnet_x025": (77.3, 56.3, 69.9, 50.8, "osnet_x0_25", 1000),
    "mobilenet_v3": (77.0, 56.3, 51.4, 31.8, "mobilenet_v3_large", None),
}

# Almazan et al. 2018, Tables 3 and 4: rank-1, where the paper gives it, and mAP.
DONE_RIGHT_FIGURES = {
    "resnet50_market1501": (None, 76.3), "resnet101_market1501": (92.2, 81.2),
    "resnet152_market1501": (None, 81.4), "resnet50_dukemtmc": (None, 67.6),
    "resnet101_dukemtmc": (85.2, 72.8), "resnet152_dukemtmc": (None, 74.0),
    "resnet101_mars": (85.8, 79.7), "resnet101_person_search": (None, 92.6),
}
DONE_RIGHT = [f"resnet{depth}_{dataset}" for depth in (50, 101, 152) for dataset in
              ("market1501", "dukemtmc", "mars", "person_search", "synthetic")]

# Guo and Cheung 2018, Table 2: rank-1 of (L2, L3) and of (L2, L3, L4); Section 4.2: pairs in a
# batch, and how many samples of an image.
CSN_ROWS = {
    "cuhk03_detected": (79.45, 86.45, 256, 2),
    "cuhk03_labeled": (80.30, 87.50, 256, 2),
    "cuhk01": (86.55, 88.20, 128, 5),
    "viper": (48.03, 50.10, 128, 5),
}


def flat(tree, prefix=""):
    settings = {}
    for key, value in tree.items():
        settings.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict)
                        else {prefix + key: value})
    return settings


def settings_of(name):
    return flat(dataclasses.asdict(load_config(RECIPES[name])))


def changes(name, base):
    """Settings, other than the name, in which a recipe differs from another."""
    theirs = settings_of(base)
    return {key: value for key, value in settings_of(name).items()
            if value != theirs[key] and key != "name"}


def head_of(name):
    lines = RECIPES[name].read_text().splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(line[2:] for line in lines[:end])


def figure_of(name):
    """Rank-1 and mAP, nothing where the paper only draws a plot, None where no figure is stated."""
    found = FIGURE.search(head_of(name))
    return tuple(float(number) for number in found.groups() if number) if found else None


@pytest.mark.parametrize("name", RECIPES)
def test_names_itself_and_a_backbone_and_states_its_command(name):
    config = load_config(RECIPES[name])
    assert config.name == name
    assert config.model.backbone in BACKBONES
    head = head_of(name)
    assert re.search(rf"python (train|test)_net\.py --config configs/{name}\.yaml", head)
    for dataset in ("market1501", "dukemtmc"):
        if name.endswith(dataset):
            assert f"data.records=records/{dataset}" in head


@pytest.mark.parametrize("name", OF_PAPERS)
def test_recipes_of_papers_state_cost_and_figure(name):
    assert "Cost: " in head_of(name)
    assert figure_of(name) is not None
    assert f"--output runs/{name} " in head_of(name)


@pytest.mark.parametrize("row", LIN_ROWS)
def test_rows_of_the_lin_loss_paper(row):
    *figures, changed = LIN_ROWS[row]
    duke = f"lin_resnet50_ibn_a_dukemtmc{row}"
    assert figure_of(LIN + row) == tuple(figures[:2])
    assert figure_of(duke) == tuple(figures[2:])
    assert changes(LIN + row, LIN) == changed
    assert changes(duke, LIN + row) == {}


@pytest.mark.parametrize("backbone", LIN_BACKBONES)
def test_backbones_of_the_lin_loss_paper(backbone):
    figures = LIN_BACKBONES[backbone]
    market, duke = f"lin_{backbone}_market1501", f"lin_{backbone}_dukemtmc"
    assert figure_of(market) == figures[:2]
    assert figure_of(duke) == figures[2:]
    changed = changes(market, LIN)
    assert changed["model.backbone"] == backbone
    assert all(key.startswith("model.") for key in changed)
    assert changes(duke, market) == {}


def test_what_the_lin_loss_paper_fixes():
    settings = settings_of(LIN)
    fixed = {
        "model.backbone": "resnet50_ibn_a", "model.last_stride": 1, "model.neck": True,
        "model.neck_beta": False, "model.classifier_bias": False, "model.embedding_size": None,
        "data.identities_per_batch": 16, "data.images_per_identity": 4,
        "data.augmentation.erasing_probability": 0.5,
        "loss.id.weight": 1.0, "loss.id.smoothing": 0.1, "loss.triplet.weight": 0.0,
        "loss.center.weight": 0.0, "loss.metric_feature": "neck", "loss.lin.weight": 0.4,
        "loss.lin.positive_boundary": 0.7, "loss.lin.negative_boundary": 2.0,
        "loss.lin.temperature": 1.0, "loss.lin.decay": True, "loss.lin.pairs": "all",
        "loss.lin.reduction": "mean",
        "schedule.warmup_epochs": 10, "schedule.decay_epochs": [40, 70], "training.epochs": 120,
        "evaluation.feature": "neck", "evaluation.metric": "cosine",
    }
    assert {key: settings[key] for key in fixed} == fixed


@pytest.mark.parametrize("model", REPORT_ROWS)
def test_models_of_the_report(model):
    *figures, backbone, embedding_size = REPORT_ROWS[model]
    market, duke = f"report_{model}_market1501", f"report_{model}_dukemtmc"
    assert figure_of(market) == tuple(figures[:2])
    assert figure_of(duke) == tuple(figures[2:])
    settings = settings_of(market)
    fixed = {
        "model.backbone": backbone, "model.embedding_size": embedding_size,
        "model.embedding_head": "linear", "model.neck": True, "model.neck_beta": True,
        "model.classifier_bias": True, "model.num_identities": 751,
        "data.identities_per_batch": 16, "data.images_per_identity": 4,
        "loss.id.weight": 1.0, "loss.triplet.weight": 1.0, "loss.center.weight": 0.0005,
        "optimizer.name": "adam", "schedule.warmup_start": 3.5e-5,
        "schedule.learning_rate": 3.5e-4, "training.epochs": 120,
    }
    assert {key: settings[key] for key in fixed} == fixed
    assert changes(duke, market) == {"model.num_identities": 702}


@pytest.mark.parametrize("model", ["resnet50", "mobilenet_v3"])
@pytest.mark.parametrize(("start", "end"), [("market1501", "dukemtmc"), ("dukemtmc", "market1501")])
def test_fine_tunings_of_the_report(model, start, end):
    changed = changes(f"report_{model}_{start}_to_{end}", f"report_{model}_{end}")
    weights = f"runs/report_{model}_{start}/checkpoints/best.weights.h5"
    assert changed == {"model.weights": weights, "training.epochs": 10}
    assert f"--output runs/report_{model}_{start} " in head_of(f"report_{model}_{start}")


def test_the_stock_osnet_is_that_of_the_public_checkpoint():
    changed = changes("osnet_x025_market1501", "osnet_x1_0_market1501")
    assert changed == {"model.backbone": "osnet_x0_25"}
    assert figure_of("osnet_x025_market1501") == (91.48, 77.38)


@pytest.mark.parametrize("dataset", CSN_ROWS)
def test_rows_of_the_csn_paper(dataset):
    smaller, larger, batch_size, samples = CSN_ROWS[dataset]
    settings = settings_of(f"csn_l23_{dataset}")
    fixed = {
        "system": "csn", "csn.levels": [2, 3], "csn.divide": True, "csn.attention": "transformer",
        "csn.ranking_net": True, "model.height": 160, "model.width": 60,
        "data.pairs.batch_size": batch_size, "data.pairs.samples": samples,
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
    changed = changes(f"csn_l234_{dataset}", f"csn_l23_{dataset}")
    assert changed == {"csn.levels": [2, 3, 4]}
    for name, figure in (("csn_l23_", smaller), ("csn_l234_", larger)):
        head = head_of(name + dataset)
        assert f"Table 2: rank-1 {figure:.2f}, " in head
        assert f"data.records=records/{dataset} data.fold=0" in head


@pytest.mark.parametrize("row", DONE_RIGHT)
def test_rows_of_re_id_done_right(row):
    name, head = f"done_right_{row}", head_of(f"done_right_{row}")
    rank_1, mean_ap = DONE_RIGHT_FIGURES.get(row, (None, None))
    found = re.search(r"The paper's figure \(Table [34]\):(?: rank-1 ([\d.]+) %,)? mAP ([\d.]+) %",
                      head)
    figures = found and tuple(number and float(number) for number in found.groups())
    assert figures == (None if mean_ap is None else (rank_1, mean_ap))
    assert "Cost: " in head
    changed = changes(name, "done_right_resnet101_market1501")
    network = {} if "101" in row else {"model.backbone": row.split("_")[0]}
    scratch = {} if not row.endswith("synthetic") else {
        "model.weights": None, "model.normalization": "torch", "model.stride_in_1x1": False}
    assert changed == {**network, **scratch}


def test_what_re_id_done_right_fixes():
    settings = settings_of("done_right_resnet101_market1501")
    fixed = {
        "system": "triplet", "model.backbone": "resnet101", "model.longest_side": 416,
        "model.pooling": "max", "model.embedding_size": 2048, "model.normalize_embedding": True,
        "model.neck": False,
        "triplet.margin": 0.1, "triplet.batch_size": 64, "triplet.updates_per_mining": 16,
        "triplet.mining_images": 5000, "triplet.hardest": 25, "optimizer.name": "sgd",
        "schedule.learning_rate": 1e-3, "data.augmentation.cutout_probability": 1.0,
        "data.augmentation.crop_probability": 0.0, "data.augmentation.flip_probability": 0.0,
    }
    assert {key: settings[key] for key in fixed} == fixed
    assert settings["schedule.half_life"] * settings["triplet.updates_per_mining"] == 512
    assert settings["training.epochs"] * settings["triplet.updates_per_mining"] == 4096


def test_what_the_siamese_report_fixes():
    settings = settings_of("mars_siamese_mars")
    fixed = {
        "system": "siamese", "model.backbone": "siamese_twin", "model.height": 256,
        "model.width": 128, "model.embedding_size": 4096, "model.dropout": 0.2,
        "siamese.merge": "absolute", "siamese.loss": "contrastive", "loss.contrastive.margin": 1.0,
        "loss.contrastive.scale": "mean", "data.subset.identities": 100,
        "data.subset.images": 100_000, "data.subset.validation": 0.2,
        "data.subset.validation_by": "identity", "data.pairs.batch_size": 32,
        "data.pairs.negatives_per_positive": 1, "data.augmentation.flip_probability": 0.5,
        "optimizer.name": "adam", "optimizer.weight_decay": 0.0, "schedule.learning_rate": 5e-5,
    }
    assert {key: settings[key] for key in fixed} == fixed
    head = head_of("mars_siamese_mars")
    assert "accuracy about 82 %" in head and "Cost: " in head


def test_the_documented_table_has_every_recipe_with_the_figure_of_its_head():
    rows = {}
    for line in (ROOT / "docs" / "recipes.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            rows[cells[0].strip("`")] = cells[-1]
    assert set(rows) == set(RECIPES)
    for name in OF_PAPERS:
        figure = figure_of(name)
        assert rows[name] == (" / ".join(map(str, figure)) if figure else "a CMC plot")
    for row in DONE_RIGHT:
        rank_1, mean_ap = DONE_RIGHT_FIGURES.get(row, (None, None))
        figure = f"{rank_1} / {mean_ap}" if rank_1 else f"mAP {mean_ap}" if mean_ap else "-"
        assert rows[f"done_right_{row}"] == figure
    for dataset, (smaller, larger, *_) in CSN_ROWS.items():
        assert rows[f"csn_l23_{dataset}"] == f"{smaller:.2f}"
        assert rows[f"csn_l234_{dataset}"] == f"{larger:.2f}"
