"""Names that settings had before: they are still read, with a notice."""

from __future__ import annotations

import functools
import sys

from tfrecords.errors import UserError, shortened
from tfreid.config.trees import Tree, leaves, set_value

# Old dotted name, of a setting or a section -> the new one.
RENAMED = {
    "data.split": "data.fold",
    "loss.name": "siamese.loss",
    "loss.id_weight": "loss.id.weight",
    "loss.smoothing": "loss.id.smoothing",
    "loss.triplet_weight": "loss.triplet.weight",
    "loss.triplet_mining": "loss.triplet.mining",
    "loss.triplet_margin": "loss.triplet.margin",
    "loss.triplet_normalize": "loss.triplet.normalize",
    "loss.triplet_across_replicas": "loss.triplet.across_replicas",
    "loss.lin_weight": "loss.lin.weight",
    "loss.lin_positive_boundary": "loss.lin.positive_boundary",
    "loss.lin_negative_boundary": "loss.lin.negative_boundary",
    "loss.lin_temperature": "loss.lin.temperature",
    "loss.lin_decay": "loss.lin.decay",
    "loss.lin_pairs": "loss.lin.pairs",
    "loss.lin_reduction": "loss.lin.reduction",
    "loss.lin_across_replicas": "loss.lin.across_replicas",
    "loss.addons_loss": "loss.addons.name",
    "loss.addons_weight": "loss.addons.weight",
    "loss.addons_margin": "loss.addons.margin",
    "loss.center_weight": "loss.center.weight",
    "loss.center_variant": "loss.center.variant",
    "loss.center_rate": "loss.center.rate",
    "pair_loss.match_weight": "loss.match.weight",
    "pair_loss.contrastive_weight": "loss.contrastive.weight",
    "pair_loss.margin": "loss.contrastive.margin",
    "pair_loss.contrastive_scale": "loss.contrastive.scale",
    "pair_loss.rotation_weight": "loss.regions.rotation",
    "pair_loss.scale_weight": "loss.regions.scale",
    "pair_loss.inside_weight": "loss.regions.inside",
    "evaluation.pair_score": "csn.score",
    "ranking": "triplet",
    "pretraining.epochs": "pretraining.training.epochs",
    "pretraining.batch_size": "pretraining.data.images_per_batch",
    "pretraining.height": "pretraining.model.height",
    "pretraining.width": "pretraining.model.width",
    "pretraining.pooling": "pretraining.model.pooling",
    "pretraining.learning_rate": "pretraining.schedule.learning_rate",
    "pretraining.final_rate": "pretraining.schedule.final_rate",
    "pretraining.momentum": "pretraining.optimizer.momentum",
    "pretraining.weight_decay": "pretraining.optimizer.weight_decay",
    "pretraining.smoothing": "pretraining.loss.id.smoothing",
    "pretraining.augmentation": "pretraining.data.augmentation",
}
_RENAMED = {tuple(old.split(".")): tuple(new.split(".")) for old, new in RENAMED.items()}
_PRETRAINING = {old[1] for old in _RENAMED if old[0] == "pretraining"}
# The recipe of the stage that `system: ranking` had without being asked.
FIRST_STAGE = "classification"


def translate(tree: Tree, renamed: dict[str, str], source: str) -> Tree:
    """Returns a tree of settings with today's names.

    Args:
        tree: Settings as a recipe or a run's `config.yaml` has them, in names of any age.
        renamed: Receives each old name that was found, with the new one.
        source: What an error names first.

    Raises:
        UserError: If a setting has its old and its new name, or is a value and a section.
    """
    new: Tree = {}
    placed: dict[tuple[str, ...], tuple[str, ...]] = {}
    for path, value in leaves(tree):
        place = new_path(path, renamed)
        other = placed.setdefault(place, path)
        blocking = set_value(new, place, value)
        if other != path or blocking is not None:
            raise UserError(f"{source}: `{'.'.join(path)}` and `{blocking or '.'.join(other)}` "
                            "are the same setting; keep one of them.")
    stage = tree.get("pretraining")
    old_stage = isinstance(stage, dict) and not _PRETRAINING.isdisjoint(stage)
    if new.get("system") == "ranking":
        new["system"] = renamed["system: ranking"] = "triplet"
        if isinstance(new.setdefault("pretraining", {}), dict):
            new["pretraining"].setdefault("base", FIRST_STAGE)
    elif old_stage and "system" in new:
        new["pretraining"] = None  # other systems had the section and did not use it
    return new


def new_path(path: tuple[str, ...], renamed: dict[str, str]) -> tuple[str, ...]:
    """Returns today's path of a setting; what was renamed is added to `renamed`."""
    if path[:1] == ("pretraining",) and len(path) > 1 and path[1] not in _PRETRAINING:
        return ("pretraining", *new_path(path[1:], renamed))
    for length in range(len(path), 0, -1):
        new = _RENAMED.get(path[:length])
        if new:
            new = (*new, *path[length:])
            renamed[".".join(path)] = ".".join(new)
            return new
    return path


@functools.cache
def notice(source: str, renamed: tuple[tuple[str, str], ...]) -> None:
    """Says once in a process, on standard error, which old names a source has."""
    said = ", ".join(f"{old} is now {new}" for old, new in renamed[:3])
    more = f" and {len(renamed) - 3} more" if len(renamed) > 3 else ""
    print(f"{source}: settings have been renamed and are read by their old names: "
          f"{shortened(said, 300)}{more}.", file=sys.stderr)
