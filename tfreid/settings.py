"""The sections of a recipe and every setting in them, typed, with its default."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal, Optional, Union

from pydantic import Field

from tfreid.setting_types import (
    NotNegative,
    NotNegativeFloat,
    Positive,
    PositiveFloat,
    Section,
    Share,
)
from tfreid.settings_of_augmentation import AugmentationConfig
from tfreid.settings_of_pairs import (
    CsnConfig,
    PairDataConfig,
    PairLossConfig,
    PairScoreConfig,
    SingleShotConfig,
)
from tfreid.settings_of_ranking import PretrainingConfig, RankingConfig
from tfreid.settings_of_siamese import SiameseConfig, SubsetConfig


@dataclasses.dataclass
class ModelConfig(Section):
    """What the network is.

    backbone: name in `tfreid.backbones.BACKBONES`.
    last_stride: stride of the last stage, 1 or 2; 1 keeps a finer map (Bag of Tricks); null is the
        backbone's published one.
    weights: initial weights: `imagenet` (Keras Applications; resnet50, resnet101, resnet152 and
        vgg16), a `.weights.h5`, or null.
    imagenet_weights: file of the Keras Applications weights where they cannot be downloaded.
    height, width: pixels to which every image is resized.
    longest_side: instead of them, pixels of every image's longer side; the aspect ratio is kept, so
        no image is distorted (Almazan et al. 2018 use 416). null for height x width.
    normalization: `torch` (ImageNet mean and deviation of RGB in 0-1), `caffe` (BGR minus mean) or
        `unit` (RGB in 0-1).
    pooling: how a feature map becomes a vector: `average`, `max`, `gem`, or `flatten`, which keeps
        every cell and so needs images of one size.
    embedding_size: width of a linear layer before the neck; null keeps the backbone's own feature.
    embedding_head: `linear`, `sigmoid` (of the linear layer; the MARS Siamese network's) or
        `linear_bn_relu` (the stock OSNet's) when `embedding_size` is set.
    dropout: share of the embedding's entries that training drops and, with `backbone:
        siamese_twin`, of those behind each of its blocks.
    normalize_embedding: whether embeddings are unit vectors, so that dot products are cosine
        similarities.
    neck: batch normalisation between the metric-loss feature and the classifier.
    neck_beta: whether the neck's beta is trained; Bag of Tricks freezes it at zero.
    classifier: whether there is an identity classifier; `system: ranking` and `siamese` learn
        without one.
    classifier_bias: whether the identity classifier has a bias.
    num_identities: width of the classifier; null takes it from the training records.
    stride_in_1x1: put a ResNet bottleneck's stride on its first convolution, as the ImageNet
        weights of Keras Applications need; the torchvision layout puts it on the 3x3.
    stem: whose first layers a ResNet has: `torchvision`, `bag_of_tricks` (plain networks without
        the ReLU before the max pooling) or `fast_reid` (plain and IBN, max pooling without
        padding). All take the same weights, so the one they were trained with must be set.
    """

    backbone: str = "resnet50"
    last_stride: Optional[Literal[1, 2]] = None
    weights: Optional[str] = None
    imagenet_weights: Optional[str] = None
    height: Annotated[int, Field(ge=16)] = 256
    width: Annotated[int, Field(ge=16)] = 128
    longest_side: Optional[Annotated[int, Field(ge=16)]] = None
    normalization: Literal["torch", "caffe", "unit"] = "torch"
    pooling: Literal["average", "max", "gem", "flatten"] = "average"
    embedding_size: Optional[Positive] = None
    embedding_head: Literal["linear", "sigmoid", "linear_bn_relu"] = "linear"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    normalize_embedding: bool = False
    neck: bool = True
    neck_beta: bool = False
    classifier: bool = True
    classifier_bias: bool = False
    num_identities: Optional[Positive] = None
    stride_in_1x1: bool = False
    stem: Literal["torchvision", "bag_of_tricks", "fast_reid"] = "torchvision"


@dataclasses.dataclass
class DataConfig(Section):
    """Which records, and how they become batches.

    records: folder written by `python -m tfrecords.build`.
    split: which of the identity splits drawn by the builder, where the records hold several
        (VIPeR, CUHK01, CUHK03's original protocol).
    sampling: `identities` draws P x K batches; `images` goes through all images in random order,
        for losses that compare no images with each other.
    identities_per_batch, images_per_identity: P and K of every replica's batch.
    images_per_batch: size of every replica's batch where `sampling` is `images`.
    verify: `size` checks that shards are whole; `checksum` also reads them through.
    workers: threads that decode; 0 chooses by the number of cores.
    memory_limit_mb: megabytes of training images up to which they are held in memory; more are
        read from the records as batches need them. null is half of the memory that is free.
    """

    records: Optional[str] = None
    split: NotNegative = 0
    subset: SubsetConfig = dataclasses.field(default_factory=SubsetConfig)
    sampling: Literal["identities", "images"] = "identities"
    identities_per_batch: Positive = 16
    images_per_identity: Annotated[int, Field(ge=2)] = 4
    images_per_batch: Positive = 128
    eval_batch_size: Positive = 64
    verify: Literal["size", "checksum"] = "size"
    workers: NotNegative = 0
    memory_limit_mb: Optional[PositiveFloat] = None
    augmentation: AugmentationConfig = dataclasses.field(default_factory=AugmentationConfig)
    pairs: PairDataConfig = dataclasses.field(default_factory=PairDataConfig)


@dataclasses.dataclass
class LossConfig(Section):
    """The loss is the sum of weight * loss over the losses whose weight is above 0.

    name: the loss of `system: siamese`, which has one of these instead of that sum: `contrastive`,
        `verification` (cross-entropy of the merge network's probability), `combined` (their sum,
        weighted, with margin and scale, by the section `pair_loss`) or `triplet` (by the settings
        triplet_mining, _margin and _normalize). With the first and the last the merge network
        learns beside the twins, without changing them.
    smoothing: label smoothing of the ID loss.
    metric_feature: what the triplet, Lin and Addons losses see: `embedding`, before the neck, or
        `neck`, after it. The center loss sees the embedding.
    triplet_margin: a number for the hinge, or `soft` for log(1 + exp(.)).
    triplet_normalize: whether distances are taken between L2-normalised features.
    triplet_across_replicas: whether anchors also mine in the other replicas' images.
    lin_*: the Lin loss on L2-normalised features; `tfreid/losses/lin.py` has its equations.
    lin_positive_boundary: r, the distance up to which images of one identity cost nothing.
    lin_negative_boundary: the distance from which images of two identities cost nothing; 2 is the
        largest there is.
    lin_temperature: T, how much nearer negatives outweigh farther ones.
    lin_decay: whether the weights have the factor exp(-d).
    lin_pairs: `all` averages over all pairs of a query, `active` over those that cost something.
        The ranked list loss of Wang et al. 2019 is 0.8, 1.2, 10, false and `active`.
    lin_reduction: `sum` or `mean` over the queries of a replica's batch. The sum grows with the
        batch, so the weight has to shrink with it.
    lin_across_replicas: whether queries also rank the other replicas' images.
    addons_loss: a loss of TensorFlow Addons, where that is installed: `triplet_semi_hard`,
        `lifted_structure` or `npairs` (see `tfreid.addons.metric_loss`); null for none.
    addons_margin: margin of the first two.
    center_variant: `bag_of_tricks` (batch mean, centres by SGD) or `wen` (Wen et al. 2016).
    center_rate: learning rate of the centres (Wen et al.'s alpha).
    """

    name: Optional[Literal["contrastive", "verification", "combined", "triplet"]] = None
    id_weight: NotNegativeFloat = 1.0
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    metric_feature: Literal["embedding", "neck"] = "embedding"
    triplet_weight: NotNegativeFloat = 1.0
    triplet_mining: Literal["batch_hard", "batch_all"] = "batch_hard"
    triplet_margin: Union[PositiveFloat, Literal["soft"]] = 0.3
    triplet_normalize: bool = False
    triplet_across_replicas: bool = False
    lin_weight: NotNegativeFloat = 0.0
    lin_positive_boundary: Annotated[float, Field(ge=0, le=2)] = 0.7
    lin_negative_boundary: Annotated[float, Field(gt=0, le=2)] = 2.0
    lin_temperature: NotNegativeFloat = 1.0
    lin_decay: bool = True
    lin_pairs: Literal["all", "active"] = "all"
    lin_reduction: Literal["sum", "mean"] = "sum"
    lin_across_replicas: bool = False
    addons_loss: Optional[Literal["triplet_semi_hard", "lifted_structure", "npairs"]] = None
    addons_weight: NotNegativeFloat = 1.0
    addons_margin: PositiveFloat = 1.0
    center_weight: NotNegativeFloat = 0.0005
    center_variant: Literal["bag_of_tricks", "wen"] = "bag_of_tricks"
    center_rate: NotNegativeFloat = 0.5

    def __post_init__(self):
        if self.lin_positive_boundary > self.lin_negative_boundary:
            raise ValueError("lin_positive_boundary is above lin_negative_boundary")


@dataclasses.dataclass
class OptimizerConfig(Section):
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
class ScheduleConfig(Section):
    """Learning rate by epoch: linear warm-up, then steps, a cosine or an exponential decay.

    warmup_start: rate of the first epoch.
    warmup_epochs: epochs until `learning_rate` is reached; 0 for none.
    decay_epochs, decay_factor: epochs at which the rate is multiplied by the factor (`steps`).
    final_rate: rate at the end of a `cosine`, or of an `exponential` without a half-life.
    half_life: epochs in which an `exponential` halves the rate.
    """

    learning_rate: PositiveFloat = 3.5e-4
    warmup_start: NotNegativeFloat = 3.5e-5
    warmup_epochs: NotNegative = 10
    decay: Literal["steps", "cosine", "exponential"] = "steps"
    decay_epochs: list[Positive] = dataclasses.field(default_factory=lambda: [40, 70])
    decay_factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    final_rate: NotNegativeFloat = 0.0
    half_life: Optional[PositiveFloat] = None

    def __post_init__(self):
        if self.decay == "exponential" and not (self.half_life or self.final_rate):
            raise ValueError("an exponential decay needs a half_life or a final_rate above 0")


@dataclasses.dataclass
class TrainingConfig(Section):
    """How long and on what.

    steps_per_epoch: batches an epoch; null goes once over the training images. With `system:
        ranking` an epoch is always one mining round.
    accumulate_steps: steps whose gradients are averaged before the weights change, for batches
        that the memory does not hold; null is 1 or, with `system: ranking`, what makes up
        `ranking.batch_size`. Every other setting counts steps, not updates.
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
    accumulate_steps: Optional[Positive] = None
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
class EvaluationConfig(Section):
    """How a gallery is ranked.

    protocol: `full` ranks the whole gallery for every query (CMC and mAP); `single_shot` averages
        the CMC of trials with one query and one gallery image per identity.
    feature: `neck` ranks with the feature after the batch-norm neck, `embedding` with the one
        before it.
    metric: distance between features: `cosine`, `euclidean`, `cityblock`, `minkowski`,
        `correlation` or `dot`, as `tfreid.evaluation.pairwise_distances` explains them. With
        `system: siamese` also `probability`: by the merge network.
    minkowski_p: exponent of the `minkowski` distance.
    max_rank: length of the CMC curve.
    reranking: whether test_net.py also reports the figures after k-reciprocal re-ranking (Zhong et
        al. 2017), beside the plain ones. It works on squared Euclidean distances: of the features
        as they are for `euclidean`, of unit vectors for `cosine` and `correlation`; other metrics
        cannot be re-ranked. Evaluations while training stay plain.
    reranking_k1, reranking_k2, reranking_lambda: k1 reciprocal neighbours, the k2 nearest that an
        encoding is averaged over, and lambda, the share of the original distance.
    multi_query: whether test_net.py also reports the figures of queries that are the mean of all
        the images of a query's person by its camera in split `multi_query` (Zheng et al. 2015).
    expansion: whether test_net.py also reports the figures after queries and gallery became means
        of their nearest gallery images (Almazan et al. 2018; `tfreid/evaluation/expansion.py`).
    expansion_query, expansion_gallery: how many such images; a gallery image is its own first.
    tracklet_pooling: where the records have tracklets, how the features of a tracklet's images
        become the one that is ranked: their `mean` or the `max` of each dimension; `none` ranks
        single images. This and both means above take unit vectors for `cosine` and `correlation`.
    verification_pairs: how many pairs, half of them matching, `system: siamese` is validated and
        tested on.
    """

    protocol: Literal["full", "single_shot"] = "full"
    single_shot: SingleShotConfig = dataclasses.field(default_factory=SingleShotConfig)
    pair_score: PairScoreConfig = dataclasses.field(default_factory=PairScoreConfig)
    feature: Literal["neck", "embedding"] = "neck"
    metric: str = "cosine"
    minkowski_p: Annotated[float, Field(ge=1, le=32)] = 3.0
    max_rank: Positive = 50
    reranking: bool = False
    reranking_k1: Positive = 20
    reranking_k2: Positive = 6
    reranking_lambda: Share = 0.3
    multi_query: bool = False
    expansion: bool = False
    expansion_query: Positive = 5
    expansion_gallery: Positive = 10
    tracklet_pooling: Literal["mean", "max", "none"] = "mean"
    verification_pairs: Annotated[int, Field(ge=2)] = 4000


@dataclasses.dataclass
class ExportConfig(Section):
    """What the served model returns.

    normalize: makes embeddings unit vectors; the descriptors of a Siamese network stay as they are.
    """

    normalize: bool = True


@dataclasses.dataclass
class Config(Section):
    """All settings of one run.

    name: labels it in tables and plots.
    system: `embedding` learns a feature of one image (`loss`); `ranking` learns one from mined
        triplets, after a training as a classifier of identities (`pretraining`, `ranking`); `csn`
        compares two images (`csn`, `pair_loss`, `data.pairs`) and takes height, width,
        normalization and weights of `model`; `siamese` learns a feature and the probability that
        two of them are of one person, from pairs (`siamese`, `loss.name`, `data.pairs`,
        `data.subset`).
    """

    name: str = "run"
    system: Literal["embedding", "ranking", "csn", "siamese"] = "embedding"
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    pretraining: PretrainingConfig = dataclasses.field(default_factory=PretrainingConfig)
    ranking: RankingConfig = dataclasses.field(default_factory=RankingConfig)
    csn: CsnConfig = dataclasses.field(default_factory=CsnConfig)
    siamese: SiameseConfig = dataclasses.field(default_factory=SiameseConfig)
    pair_loss: PairLossConfig = dataclasses.field(default_factory=PairLossConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = dataclasses.field(default_factory=ScheduleConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
    export: ExportConfig = dataclasses.field(default_factory=ExportConfig)
