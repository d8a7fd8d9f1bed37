"""Settings: sections with their explanations, recipes, overrides, and the names of before."""

from tfreid.config.config import Config, all_settings, flat
from tfreid.config.data import AugmentationConfig, DataConfig, PairDataConfig, SubsetConfig
from tfreid.config.evaluation import EvaluationConfig, ExportConfig, SingleShotConfig
from tfreid.config.loading import load_config, save_config, stage_config, with_derived
from tfreid.config.losses import (
    AddonsLossConfig,
    CenterLossConfig,
    CircleLossConfig,
    ContrastiveLossConfig,
    IdLossConfig,
    LinLossConfig,
    LossConfig,
    MatchLossConfig,
    MultiSimilarityLossConfig,
    RegionLossConfig,
    SupervisedContrastiveLossConfig,
    TripletLossConfig,
)
from tfreid.config.model import ModelConfig
from tfreid.config.training import OptimizerConfig, ScheduleConfig, TrainingConfig

__all__ = [
    "AddonsLossConfig", "AugmentationConfig", "CenterLossConfig", "CircleLossConfig", "Config",
    "ContrastiveLossConfig", "DataConfig", "EvaluationConfig", "ExportConfig", "IdLossConfig",
    "LinLossConfig", "LossConfig", "MatchLossConfig", "ModelConfig", "MultiSimilarityLossConfig",
    "OptimizerConfig", "PairDataConfig", "RegionLossConfig", "ScheduleConfig", "SingleShotConfig",
    "SubsetConfig", "SupervisedContrastiveLossConfig", "TrainingConfig", "TripletLossConfig",
    "all_settings", "flat", "load_config", "save_config", "stage_config", "with_derived",
]
