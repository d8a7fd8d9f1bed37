"""Every setting, typed: a YAML recipe, `key.sub=value` overrides, and errors that name the mend."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

import pydantic
import yaml
from pydantic import Field, TypeAdapter, ValidationError

from tfrecords.errors import UserError

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
# Floats as people write them: YAML 1.1 reads 1e-4 as text because it has no dot.
_SCIENTIFIC = re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$")


class _Strict:
    """Refuses unknown keys in every section."""

    __pydantic_config__ = pydantic.ConfigDict(extra="forbid")


@dataclasses.dataclass
class ModelConfig(_Strict):
    """What the network is.

    backbone: name in `tfreid.backbones.BACKBONES`.
    last_stride: stride of the last stage of a ResNet; 1 keeps a finer map (Bag of Tricks).
    weights: initial weights: `imagenet` (Keras Applications, ResNet-50), a `.weights.h5`, or null.
    imagenet_weights: file of the Keras Applications weights where they cannot be downloaded.
    height, width: pixels to which every image is resized.
    normalization: `torch` (ImageNet mean and deviation of RGB in 0-1), `caffe` (BGR minus mean) or
        `unit` (RGB in 0-1).
    embedding_size: width of a linear layer before the neck; null keeps the backbone's own feature.
    embedding_head: `linear` or `linear_bn_relu` (the stock OSNet's) when `embedding_size` is set.
    neck: batch normalisation between the metric-loss feature and the classifier.
    neck_beta: whether the neck's beta is trained; Bag of Tricks freezes it at zero.
    classifier_bias: whether the identity classifier has a bias.
    num_identities: width of the classifier; null takes it from the training records.
    stride_in_1x1: put a ResNet bottleneck's stride on its first convolution, as the ImageNet
        weights of Keras Applications need; the torchvision layout puts it on the 3x3.
    """

    backbone: str = "resnet50"
    last_stride: Literal[1, 2] = 1
    weights: Optional[str] = None
    imagenet_weights: Optional[str] = None
    height: Annotated[int, Field(ge=16)] = 256
    width: Annotated[int, Field(ge=16)] = 128
    normalization: Literal["torch", "caffe", "unit"] = "torch"
    pooling: Literal["average", "max", "gem"] = "average"
    embedding_size: Optional[Positive] = None
    embedding_head: Literal["linear", "linear_bn_relu"] = "linear"
    neck: bool = True
    neck_beta: bool = False
    classifier_bias: bool = False
    num_identities: Optional[Positive] = None
    stride_in_1x1: bool = False


@dataclasses.dataclass
class AugmentationConfig(_Strict):
    """How training images are varied; each `probability` of 0 turns its step off.

    pad: zero pixels added on each side before cropping back to the size at a random place.
    erasing_*: random erasing (Zhong et al. 2020): share of the area and aspect ratio of the
        rectangle, filled with the mean colour.
    brightness, contrast, saturation, hue: largest relative change (hue: share of the circle);
        hue and saturation change in YIQ space.
    """

    flip_probability: Share = 0.5
    pad: NotNegative = 10
    erasing_probability: Share = 0.5
    erasing_area_min: Share = 0.02
    erasing_area_max: Share = 0.4
    erasing_aspect_min: Annotated[float, Field(gt=0, le=1)] = 0.3
    color_probability: Share = 0.0
    brightness: Share = 0.2
    contrast: Share = 0.15
    saturation: Share = 0.1
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02

    def __post_init__(self):
        if self.erasing_area_min > self.erasing_area_max:
            raise ValueError("erasing_area_min is above erasing_area_max")


@dataclasses.dataclass
class DataConfig(_Strict):
    """Which records, and how they become batches.

    records: folder written by `python -m tfrecords.build`.
    identities_per_batch, images_per_identity: P and K of every replica's batch.
    verify: `size` checks that shards are whole; `checksum` also reads them through.
    workers: threads that decode; 0 chooses by the number of cores.
    """

    records: Optional[str] = None
    identities_per_batch: Positive = 16
    images_per_identity: Annotated[int, Field(ge=2)] = 4
    eval_batch_size: Positive = 64
    verify: Literal["size", "checksum"] = "size"
    workers: NotNegative = 0
    augmentation: AugmentationConfig = dataclasses.field(default_factory=AugmentationConfig)


@dataclasses.dataclass
class LossConfig(_Strict):
    """L = id_weight * ID + triplet_weight * triplet + center_weight * center.

    smoothing: label smoothing of the ID loss.
    triplet_margin: a number for the hinge, or `soft` for log(1 + exp(.)).
    triplet_normalize: whether distances are taken between L2-normalised features.
    triplet_across_replicas: whether anchors also mine in the other replicas' images.
    center_variant: `bag_of_tricks` (batch mean, centres by SGD) or `wen` (Wen et al. 2016).
    center_rate: learning rate of the centres (Wen et al.'s alpha).
    """

    id_weight: NotNegativeFloat = 1.0
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    triplet_weight: NotNegativeFloat = 1.0
    triplet_mining: Literal["batch_hard", "batch_all"] = "batch_hard"
    triplet_margin: Union[PositiveFloat, Literal["soft"]] = 0.3
    triplet_normalize: bool = False
    triplet_across_replicas: bool = False
    center_weight: NotNegativeFloat = 0.0005
    center_variant: Literal["bag_of_tricks", "wen"] = "bag_of_tricks"
    center_rate: NotNegativeFloat = 0.5


@dataclasses.dataclass
class OptimizerConfig(_Strict):
    """How weights are updated.

    weight_decay_mode: `coupled` adds the decay to the gradient (as PyTorch's Adam and SGD do, so as
        the published recipes); `decoupled` shrinks the weights beside the update (AdamW).
    decay_biases_and_norms: whether the decay also reaches biases and batch-norm parameters.
    clip_norm: largest global gradient norm; null for no clipping.
    average_momentum: exponential moving average of the weights, used for evaluation and export;
        null for none. 0.999 remembers about the last 1,000 steps.
    """

    name: Literal["adam", "sgd"] = "adam"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: NotNegativeFloat = 0.0005
    weight_decay_mode: Literal["coupled", "decoupled"] = "coupled"
    decay_biases_and_norms: bool = True
    clip_norm: Optional[PositiveFloat] = None
    average_momentum: Optional[Annotated[float, Field(gt=0, lt=1)]] = None


@dataclasses.dataclass
class ScheduleConfig(_Strict):
    """Learning rate by epoch: linear warm-up, then steps or a cosine.

    warmup_start: rate of the first epoch.
    warmup_epochs: epochs until `learning_rate` is reached; 0 for none.
    decay_epochs, decay_factor: epochs at which the rate is multiplied by the factor (`steps`).
    final_rate: rate at the end of a `cosine`.
    """

    learning_rate: PositiveFloat = 3.5e-4
    warmup_start: NotNegativeFloat = 3.5e-5
    warmup_epochs: NotNegative = 10
    decay: Literal["steps", "cosine"] = "steps"
    decay_epochs: list[Positive] = dataclasses.field(default_factory=lambda: [40, 70])
    decay_factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    final_rate: NotNegativeFloat = 0.0


@dataclasses.dataclass
class TrainingConfig(_Strict):
    """How long and on what.

    steps_per_epoch: batches an epoch; null goes once over the training images.
    max_steps: stops after this many steps in all, mid-epoch if need be; null for no limit.
    frozen_backbone_epochs: first epochs in which only the head learns.
    evaluate_every: epochs between evaluations; 0 evaluates only at the end.
    evaluate_untrained: whether the untrained network is evaluated too, to see what training adds.
    evaluate_queries: how many queries those evaluations use; null for all.
    checkpoint_every_steps: steps between checkpoints besides those at the ends of epochs; 0 for
        none.
    keep_checkpoints: how many resumable checkpoints stay on disk.
    precision: `mixed_float16` for GPUs with tensor cores, `mixed_bfloat16` for newer ones and TPUs.
    jit_compile: compile the step with XLA; helps on GPUs, and slows convolutions down on CPUs.
    deterministic: deterministic TensorFlow operations: slower, and the same bits each time.
    devices: devices to train on, such as [GPU:0, GPU:1]; null takes all GPUs, or the CPU.
    projector_images: gallery images in TensorBoard's embedding projector; 0 for none.
    profile_steps: profile these first steps for TensorBoard; 0 for none.
    """

    epochs: Positive = 120
    steps_per_epoch: Optional[Positive] = None
    max_steps: Optional[Positive] = None
    frozen_backbone_epochs: NotNegative = 0
    evaluate_every: NotNegative = 10
    evaluate_untrained: bool = False
    evaluate_queries: Optional[Positive] = None
    checkpoint_every_steps: NotNegative = 0
    keep_checkpoints: Positive = 2
    log_every: Positive = 20
    seed: NotNegative = 0
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    jit_compile: bool = False
    deterministic: bool = False
    devices: Optional[list[str]] = None
    projector_images: NotNegative = 512
    profile_steps: NotNegative = 0


@dataclasses.dataclass
class EvaluationConfig(_Strict):
    """How a gallery is ranked.

    feature: `neck` ranks with the feature after the batch-norm neck, `embedding` with the one
        before it.
    metric: distance between features, a name in `tfreid.evaluation.distances.METRICS`.
    max_rank: length of the CMC curve.
    """

    feature: Literal["neck", "embedding"] = "neck"
    metric: str = "cosine"
    max_rank: Positive = 50


@dataclasses.dataclass
class ExportConfig(_Strict):
    """What the served model returns: `normalize` makes embeddings unit vectors."""

    normalize: bool = True


@dataclasses.dataclass
class Config(_Strict):
    """All settings of one run. `name` labels it in tables and plots."""

    name: str = "run"
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = dataclasses.field(default_factory=ScheduleConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
    export: ExportConfig = dataclasses.field(default_factory=ExportConfig)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a recipe and applies `key.sub=value` overrides.

    Args:
        path: YAML recipe. Its key `base` names another recipe, relative to it, that it refines.
        overrides: such as `["data.records=records/market1501", "schedule.learning_rate=1e-4"]`.

    Returns:
        The checked configuration.

    Raises:
        UserError: a missing or broken file, an unknown key (with the nearest valid one), a value
            of the wrong type or out of range.
    """
    tree = _read_recipe(Path(path), seen=())
    for override in overrides:
        _apply_override(tree, override)
    return _validate(tree, source=str(path))


def save_config(config: Config, path: str | Path) -> None:
    """Writes the resolved configuration as YAML that `load_config` reads back equal."""
    temporary = Path(f"{path}.tmp")
    temporary.write_text(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False))
    os.replace(temporary, path)


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-4 as a number."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _SCIENTIFIC, list("-+0123456789"))


def _read_recipe(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise UserError(f"{path}: its `base` leads back to itself; remove the loop.")
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (safe)
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path}: no such recipe; configs/ holds those that ship.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not valid YAML ({reason}).") from None
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise UserError(f"{path}: a recipe is a mapping of settings, not {type(tree).__name__}.")
    base = tree.pop("base", None)
    if base is None:
        return tree
    return _merge(_read_recipe(path.parent / str(base), (*seen, path.resolve())), tree)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


def _apply_override(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"override `{override}`: write it as key.sub=value.")
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 (safe)
    except yaml.YAMLError:
        raise UserError(f"override `{override}`: its value is not valid YAML.") from None
    *sections, last = key.split(".")
    for section in sections:
        inner = tree.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UserError(f"override `{override}`: `{section}` is a value, not a section.")
        tree = inner
    tree[last] = value


def _validate(tree: dict[str, Any], source: str) -> Config:
    try:
        text = json.dumps(tree, default=str)
    except (TypeError, ValueError) as error:
        raise UserError(f"{source}: not a plain tree of settings ({error}).") from None
    try:
        # JSON mode in strict form: lists may become lists, but "3" never a number nor true a 1.
        return TypeAdapter(Config).validate_json(text, strict=True)
    except ValidationError as error:
        problems = [_explain(problem) for problem in _distinct(error.errors())]
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise UserError(f"{source}: {'; '.join(problems[:3])}{more}.") from None


def _distinct(problems: list[Any]) -> list[Any]:
    """Keeps one problem a setting: a union reports one for each of its members."""
    known = {}
    for problem in problems:
        known.setdefault(_setting(problem["loc"]), problem)
    return list(known.values())


def _setting(location: tuple[Any, ...]) -> str:
    """The dotted key of a problem, without the union members that pydantic appends."""
    keys: list[str] = []
    section: Any = Config
    for part in location:
        if not dataclasses.is_dataclass(section):
            break
        keys.append(str(part))
        section = next((_section_type(f) for f in dataclasses.fields(section) if f.name == part),
                       None)
    return ".".join(keys)


def _section_type(field: dataclasses.Field) -> Any:
    factory = field.default_factory
    return factory if dataclasses.is_dataclass(factory) else None


def _explain(problem: Any) -> str:
    key = _setting(problem["loc"])
    if problem["type"] == "unexpected_keyword_argument":
        close = difflib.get_close_matches(key, list(_all_keys(Config)), n=1, cutoff=0.0)
        return f"unknown setting `{key}`; the nearest is `{close[0]}`"
    message = problem["msg"]
    return f"`{key}` is {json.dumps(problem['input'])}: {message[0].lower()}{message[1:]}"


def _all_keys(section: Any, prefix: str = "") -> Any:
    for field in dataclasses.fields(section):
        yield prefix + field.name
        inner = _section_type(field)
        if inner is not None:
            yield from _all_keys(inner, f"{prefix}{field.name}.")
