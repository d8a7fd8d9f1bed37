"""All settings of a run: the common sections and one for each system that has settings."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, Literal, Optional

from tfreid.config.data import DataConfig
from tfreid.config.evaluation import EvaluationConfig, ExportConfig
from tfreid.config.losses import LossConfig
from tfreid.config.model import ModelConfig
from tfreid.config.training import OptimizerConfig, ScheduleConfig, TrainingConfig
from tfreid.setting import Section, section, setting
from tfreid.systems.registry import SYSTEMS, find_settings


@dataclasses.dataclass
class _Common(Section):
    name: str = setting("run", "Name of the run in tables and plots.", resume="free",
                        average="free")
    system: Literal[tuple(SYSTEMS)] = setting(
        "embedding", "What is learned: `embedding` a feature of one image (`loss`); `triplet` one "
        "from mined triplets (`triplet`); `csn` the similarity of two images (`csn`, "
        "`data.pairs`); `siamese` a feature and the probability that two of them show the same "
        "identity, from pairs (`siamese`, `data.pairs`).")
    model: ModelConfig = section(ModelConfig)
    data: DataConfig = section(DataConfig)
    loss: LossConfig = section(LossConfig)
    optimizer: OptimizerConfig = section(OptimizerConfig)
    schedule: ScheduleConfig = section(ScheduleConfig)
    training: TrainingConfig = section(TrainingConfig)
    evaluation: EvaluationConfig = section(EvaluationConfig)
    export: ExportConfig = section(ExportConfig)
    pretraining: Optional[dict[str, Any]] = setting(
        None, "A stage of training before: settings that are laid over all others (other records "
        "or image sizes, too), or the name of a recipe of them, for example `classification`. Its "
        "last weights, but for a classifier's, are the initial ones; null for none.")


def _systems_sections():
    """Yields a field for each system that has settings of its own."""
    for name in SYSTEMS:
        kind = find_settings(name)
        if kind is not None:
            yield name, kind, section(kind)


Config = dataclasses.make_dataclass(
    "Config", _systems_sections(), bases=(_Common,),
    namespace={"__module__": __name__, "__doc__": "All settings of one run."})


@functools.cache
def all_settings() -> dict[str, dataclasses.Field]:
    """Returns the field of every setting, with its rules, by dotted name."""
    return dict(_settings(Config))


def _settings(kind: type, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field]]:
    for field in dataclasses.fields(kind):
        inner = section_type(field)
        if inner is None:
            yield prefix + field.name, field
        else:
            yield from _settings(inner, f"{prefix}{field.name}.")


def section_type(field: dataclasses.Field) -> type | None:
    """Returns the dataclass of a section, None for the field of a setting."""
    return None if field.metadata else field.default_factory


def flat(config: Config) -> dict[str, Any]:
    """Returns the value of every setting by its dotted name."""
    return {key: functools.reduce(getattr, key.split("."), config) for key in all_settings()}
