"""The sections `optimizer`, `schedule` and `training`: how weights change, how long, on what."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal, Optional

from pydantic import Field

from tfrecords.errors import UserError
from tfreid.setting import (
    NotNegativeFloat,
    PositiveFloat,
    Section,
    Seed,
    ShareBelowOne,
    Whole,
    setting,
)


@dataclasses.dataclass
class OptimizerConfig(Section):
    """How weights are updated."""

    name: Literal["adam", "sgd"] = setting("adam", "The optimizer.")
    momentum: ShareBelowOne = setting(0.9, "Momentum of `sgd`.")
    nesterov: bool = setting(False, "Whether the momentum of `sgd` is Nesterov's.")
    weight_decay: NotNegativeFloat = setting(0.0005, "Weight decay; 0 for none.")
    weight_decay_mode: Literal["coupled", "decoupled"] = setting(
        "coupled", "`coupled` adds the decay to the gradient (as Adam and SGD of PyTorch do, and "
        "so the published recipes); `decoupled` shrinks the weights beside the update (AdamW).")
    decay_biases_and_norms: bool = setting(
        True, "Whether biases and the parameters of batch normalisation decay, too.")
    clip_norm: Optional[PositiveFloat] = setting(
        None, "Largest global norm of the gradient; null for no clipping.", resume="free")
    average_momentum: Optional[Annotated[float, Field(gt=0, lt=1)]] = setting(
        None, "Momentum of an exponential moving average of the weights, which evaluation and "
        "export then use; null for none. 0.999 averages over about the last 1,000 steps.")


@dataclasses.dataclass
class ScheduleConfig(Section):
    """Learning rate by epoch: linear warm-up, then steps, a cosine or an exponential decay."""

    learning_rate: PositiveFloat = setting(3.5e-4, "Learning rate after the warm-up.",
                                           resume="free")
    warmup_start: NotNegativeFloat = setting(3.5e-5, "Learning rate of the first epoch.",
                                             resume="free")
    warmup_epochs: Whole[0, 10**6] = setting(
        10, "Epochs until `learning_rate` is reached; 0 for no warm-up.", resume="free")
    decay: Literal["steps", "cosine", "exponential"] = setting(
        "steps", "How the learning rate falls.", resume="free")
    decay_epochs: list[Whole[1, 10**6]] = setting(
        [40, 70], "Epochs at which `steps` multiplies the rate by `decay_factor`.", resume="free")
    decay_factor: Annotated[float, Field(gt=0, lt=1)] = setting(
        0.1, "Factor of `steps`.", resume="free")
    final_rate: NotNegativeFloat = setting(
        0.0, "Learning rate at the end of `cosine`, or of `exponential` without a half-life.",
        resume="free")
    half_life: Optional[PositiveFloat] = setting(
        None, "Epochs in which `exponential` halves the learning rate.", resume="free")
    scale_rate: Literal["none", "sqrt", "linear"] = setting(
        "none", "By what all rates are multiplied where several devices have a batch each: their "
        "number (`linear`), its square root, or not at all.", resume="free")

    def __post_init__(self):
        if self.decay == "exponential" and not (self.half_life or self.final_rate):
            raise ValueError("an exponential decay needs a half_life or a final_rate above 0")


@dataclasses.dataclass
class TrainingConfig(Section):
    """How long training takes, and on what it runs."""

    epochs: Whole[1, 10**6] = setting(120, "Number of epochs.", resume="free")
    steps_per_epoch: Optional[Whole[1, 10**6]] = setting(
        None, "Batches of an epoch; null goes once over the training images. With `system: "
        "triplet` it follows from `triplet.updates_per_epoch`.", average="free")
    accumulate_steps: Optional[Whole[1, 10**5]] = setting(
        None, "Steps whose gradients are averaged before the weights change, for batches that do "
        "not fit into memory; null is 1 or, with `system: triplet`, what makes up "
        "`triplet.batch_size`. Every other setting counts steps, not updates.")
    max_steps: Optional[Whole[1, 10**9]] = setting(
        None, "Total number of steps after which training stops, even in the middle of an epoch; "
        "null for no limit.", resume="free")
    frozen_backbone_epochs: Whole[0, 10**6] = setting(
        0, "First epochs in which only the head learns.")
    evaluate_every: Whole[0, 10**6] = setting(
        10, "Epochs between evaluations; 0 evaluates only at the end.", resume="free")
    evaluate_untrained: bool = setting(
        False, "Whether the untrained network is evaluated, too, to see what training adds.",
        resume="free", average="free")
    choose_best_on: Literal["validation", "test"] = setting(
        "validation", "On which images the evaluations choose the `best` weights: `validation` "
        "those that `data.subset.validation` holds out, or the records' own validation identities; "
        "without either none are chosen, and the last weights are the result. `test` evaluates and "
        "chooses on the test images, whose figures are then too good and marked wherever they "
        "appear.", resume="free", average="free")
    evaluate_queries: Optional[Whole[1, 10**7]] = setting(
        None, "Number of queries of those evaluations; null for all.", resume="free")
    checkpoint_every_steps: Whole[0, 10**9] = setting(
        0, "Steps between checkpoints, besides those at the ends of epochs; 0 for none.",
        resume="free", average="free")
    keep_checkpoints: Whole[1, 10**4] = setting(
        2, "Number of resumable checkpoints that stay on disk.", resume="free", average="free")
    log_every: Whole[1, 10**9] = setting(
        20, "Steps between lines of the log.", resume="free", average="free")
    seed: Seed = setting(0, "Seed of weights, batches and augmentation.", average="free")
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = setting(
        "float32", "Arithmetic: `mixed_float16` for GPUs with tensor cores, `mixed_bfloat16` for "
        "newer ones and TPUs.")
    jit_compile: bool = setting(
        False, "Whether XLA compiles the step; helps on GPUs, and slows convolutions down on CPUs.",
        resume="free")
    deterministic: bool = setting(
        False, "Whether TensorFlow runs deterministic operations: slower, and the same bits each "
        "time; on a CPU that needs the variable TF_ENABLE_ONEDNN_OPTS=0 too.", resume="free")
    devices: Optional[list[str]] = setting(
        None, "Devices to train on, such as [GPU:0, GPU:1]; null takes all GPUs, or the CPU.",
        resume="free", average="free")
    cluster: Optional[Literal["slurm"]] = setting(
        None, "How the processes of a training on several machines find each other: null by the "
        "variable TF_CONFIG, if it is set; `slurm` by the variables of a Slurm job step.",
        resume="free", average="free")
    cluster_timeout: Whole[1, 10**6] = setting(
        600, "Seconds in which all processes of such a training must have started.",
        resume="free", average="free")
    projector_images: Whole[0, 10**5] = setting(
        512, "Gallery images in the embedding projector of TensorBoard; 0 for none. Above 16384 "
        "their thumbnails are smaller than 64x32 pixels.",
        resume="free", average="free")
    profile_steps: Whole[0, 10**4] = setting(
        0, "First steps that are profiled for TensorBoard; 0 for none.",
        resume="free", average="free")


def check_length(name: str, training: TrainingConfig, schedule: ScheduleConfig) -> None:
    """Refuses a training that would end before settings of it take effect.

    Args:
        name: Name of the training, for the message.
        training: The section, with its number of steps per epoch.
        schedule: The learning rates.

    Raises:
        UserError: If the warm-up or the frozen epochs go beyond the last epoch, or the weights
            would never be updated.
    """
    for key, epochs in (("schedule.warmup_epochs", schedule.warmup_epochs),
                        ("training.frozen_backbone_epochs", training.frozen_backbone_epochs)):
        if epochs > training.epochs:
            raise UserError(f"{name}: {key} is {epochs}, but training.epochs only "
                            f"{training.epochs}; set {key} to {training.epochs} or less.")
    steps = training.epochs * training.steps_per_epoch
    steps = min(steps, training.max_steps or steps)
    if (training.accumulate_steps or 1) > steps:
        raise UserError(f"{name}: gradients of {training.accumulate_steps} steps make an update, "
                        f"but the training has only {steps}, so no weight would ever change; train "
                        "longer, or accumulate fewer.")
