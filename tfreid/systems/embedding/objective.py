"""The training objective of an embedding model: the weighted sum of its losses."""

from __future__ import annotations

import dataclasses

import keras
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid import addons
from tfreid.config import LossConfig
from tfreid.losses import LOSSES
from tfreid.losses.center import CenterLoss, center_step, center_terms
from tfreid.losses.classification import LabelSmoothedSoftmax
from tfreid.losses.lin import LinLoss
from tfreid.losses.margin_softmax import ArcFaceLoss, CircleClassifierLoss, CosFaceLoss
from tfreid.losses.statistics import batch_statistics, collapsed
from tfreid.losses.triplet import TripletLoss
from tfreid.setting import Section
from tfreid.training.dropout_noise import Margin
from tfreid.training.interfaces import Batch, Objective
from tfreid.training.summaries import Summaries

# The ID losses of a classifier of cosines, by the value of `loss.classifier`.
_MARGIN_LOSSES = {"arcface": ArcFaceLoss, "cosface": CosFaceLoss, "circle": CircleClassifierLoss}
# The losses of anchors' cosines with the images of a batch, by their sections.
_COSINE_LOSSES = ("circle", "multi_similarity", "supervised_contrastive")


def check_losses(config: LossConfig, jit_compile: bool = False, replicas: int = 1) -> None:
    """Refuses losses that are not available here, to fail fast.

    Args:
        config: The `loss` section.
        jit_compile: Whether XLA compiles them.
        replicas: Number of devices.

    Raises:
        UserError: If no loss has a weight, settings of the ID loss contradict each other,
            `loss.addons.name` is set and TensorFlow Addons is not installed, or XLA cannot compile
            a loss.
    """
    addons_weight = config.addons.weight if config.addons.name else 0.0
    batch_losses = weighted_batch_losses(config)
    others = make_other_losses(config)
    if not any((config.id.weight, config.center.weight, addons_weight, *batch_losses, *others)):
        raise UserError("no loss has a weight; set loss.id.weight or another loss's weight "
                        "above 0.")
    _check_classifier(config)
    if addons_weight:
        addons.require(f"loss.addons.name={config.addons.name}")
    uncompilable = {
        **{f"loss.{name}.across_replicas": replicas > 1 and section.across_replicas
           for name, section in batch_losses.items()},
        "loss.addons.name=npairs": config.addons.name == "npairs" and config.addons.weight,
    }
    blockers = [name for name, is_on in uncompilable.items() if is_on]
    if jit_compile and blockers:
        raise UserError(
            f"training.jit_compile cannot be combined with {blockers[0]} here; turn one of them "
            "off."
        )


def weighted_batch_losses(config: LossConfig) -> dict[str, Section]:
    """Returns the sections, by name, of the losses that have a weight and compare images.

    All of them can look at the images of the other replicas.
    """
    sections = {name: getattr(config, name) for name in ("triplet", "lin", *_COSINE_LOSSES)}
    return {name: section for name, section in sections.items() if section.weight}


def make_id_loss(config: LossConfig) -> keras.losses.Loss:
    """Makes the loss of the identity classifier, a value per image."""
    smoothing = config.id.smoothing
    if config.classifier == "softmax":
        return LabelSmoothedSoftmax(smoothing, reduction="none")
    return _MARGIN_LOSSES[config.classifier](
        **_given_margin(config), smoothing=smoothing, reduction="none")


def make_other_losses(config: LossConfig) -> dict[str, tuple[float, keras.losses.Loss]]:
    """Makes the losses of `loss.others`: name -> weight and loss.

    Raises:
        UserError: If a loss does not exist or does not take its arguments.
    """
    losses = {}
    for name, arguments in config.others.items():
        if name not in LOSSES:
            raise UserError(f"loss.others names {name}, which does not exist; choose from "
                            f"{', '.join(LOSSES)}.")
        if LOSSES[name] in (*_MARGIN_LOSSES.values(), LabelSmoothedSoftmax):
            raise UserError(f"loss.others names {name}, a loss of the classifier; use loss.id and "
                            "loss.classifier instead.")
        if getattr(getattr(config, name, None), "weight", 0):
            raise UserError(f"loss.others names {name}, which loss.{name}.weight turns on as well; "
                            "use one of them.")
        arguments = {"weight": 1.0, **arguments}
        try:
            weight = float(arguments.pop("weight"))
            losses[name] = weight, LOSSES[name](**arguments, reduction="none")
        except (TypeError, ValueError) as error:
            raise UserError(f"loss.others.{name}: {error}; correct its arguments.") from None
    return losses


class EmbeddingObjective(Objective):
    """Adds up the losses of one replica's batch, and owns the class centers.

    By default L = L_ID + L_triplet + beta * L_center (Luo et al., "Bag of Tricks and a Strong
    Baseline for Deep Person Re-identification", 2019, Eq. 6); L_ID + w * Lin is Eq. 6 of
    `tfreid.losses.lin`'s paper. Losses of weight 0 are not computed. Made under the strategy's
    scope, called in replica context.

    Args:
        config: The `loss` section.
        num_identities: Number of class centers.
        embedding_size: Length of an embedding.
        accumulates: Whether the weights, and so the centers, change only after several steps.
    """

    def __init__(self, config: LossConfig, num_identities: int, embedding_size: int,
                 accumulates: bool = False):
        super().__init__(name="objective")
        check_losses(config)
        self._config = config
        self.centers = None
        self._center_sums: list[tf.Variable] = []
        if config.center.weight:
            shape = (num_identities, embedding_size)
            self.centers = _shared(tf.random.stateless_normal(shape, seed=(0, 0)), "centers")
            if accumulates:
                self._center_sums = [_shared(tf.zeros(shape), "center_differences"),
                                     _shared(tf.zeros(num_identities), "center_counts")]
        self._id_loss = make_id_loss(config)
        self._triplet_loss = make_triplet_loss(config)
        lin = config.lin
        self._lin_loss = LinLoss(lin.positive_boundary, lin.negative_boundary, lin.temperature,
                                 lin.decay, lin.pairs, lin.weight_gradient, reduction="none")
        self._cosine_losses = {
            name: _make_cosine_loss(name, section)
            for name, section in weighted_batch_losses(config).items() if name in _COSINE_LOSSES}
        self._other_losses = make_other_losses(config)
        self._center_loss = CenterLoss(self.centers, config.center.variant, reduction="none")

    def forward(self, model: keras.Model,
                batch: Batch) -> tuple[tf.Tensor, dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Computes the loss of images [n, h, w, 3] and their labels [n], as `__call__`."""
        images, labels = batch
        outputs = model(images, training=True)
        loss, scalars = self(outputs, labels)
        return loss, scalars, outputs

    def __call__(self, outputs: dict[str, tf.Tensor],
                 labels: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Computes the loss of one batch.

        Args:
            outputs: Outputs of the embedding model, `embedding` [n, d], `neck` [n, d] and `logits`
                [n, c], which are cosines unless `loss.classifier` is `softmax`.
            labels: [n] integers.

        Returns:
            The scalar loss, and the scalars worth plotting, among them `loss/total`.
        """
        config = self._config
        features = outputs[config.metric_feature]
        losses, scalars = {}, {}
        if config.id.weight:
            entropies = self._id_loss.call(labels, outputs["logits"])
            losses["id"] = config.id.weight * tf.reduce_mean(entropies)
        if config.triplet.weight:
            candidates = _candidates(features, labels, config.triplet.across_replicas)
            losses["triplet"] = config.triplet.weight * mean_triplet(
                self._triplet_loss, features, labels, **candidates)
        if config.lin.weight:
            loss, scalars = self._lin(features, labels)
            losses["lin"] = config.lin.weight * loss
        for name, loss in self._cosine_losses.items():
            section = getattr(config, name)
            values = loss.call(labels, features,
                               **_candidates(features, labels, section.across_replicas))
            losses[name] = section.weight * tf.reduce_mean(values)
        if config.addons.name and config.addons.weight:
            losses[config.addons.name] = config.addons.weight * addons.metric_loss(
                config.addons.name, features, labels, config.addons.margin
            )
        for name, (weight, loss) in self._other_losses.items():
            losses[name] = weight * tf.reduce_mean(loss.call(labels, features))
        if config.center.weight:
            pulls = self._center_loss.call(labels, outputs[config.center_feature])
            losses["center"] = config.center.weight * tf.reduce_mean(pulls)
        total = tf.add_n(list(losses.values()))
        scalars.update({f"loss/{name}": value for name, value in losses.items()})
        predicted = tf.argmax(outputs["logits"], axis=1, output_type=tf.int32)
        scalars["accuracy/id"] = tf.reduce_mean(tf.cast(predicted == labels, tf.float32))
        scalars["loss/total"] = total
        scalars.update(self._statistics(outputs, labels))
        return total, scalars

    def after_step(self, outputs: dict[str, tf.Tensor], batch: Batch) -> None:
        """Moves the class centers towards the batches of all replicas, or adds these up."""
        if self.centers is None:
            return
        _, labels = batch
        features = outputs[self._config.center_feature]
        terms = center_terms(features, labels, self.centers)
        context = tf.distribute.get_replica_context()
        terms = context.all_reduce(tf.distribute.ReduceOp.SUM, list(terms))
        for total, term in zip(self._center_sums, terms):
            total.assign_add(term)
        if not self._center_sums:
            self._move_centers(*terms)

    def after_update(self) -> None:
        """Moves the class centers towards all batches since the last update."""
        if self._center_sums:
            self._move_centers(*(total.read_value() for total in self._center_sums))
        for total in self._center_sums:
            total.assign(tf.zeros(total.shape))

    def watched(self, outputs: dict[str, tf.Tensor], batch: Batch) -> Batch:
        """Returns the features [n, d] that the metric losses saw, and their labels [n]."""
        _, labels = batch
        return outputs[self._config.metric_feature], labels

    def summarize(self, summaries: Summaries, watched: Batch, step: int) -> None:
        """Writes histograms of the distances that the metric losses saw."""
        features, labels = watched
        summaries.distances(features, labels, self._compares_unit_vectors(), step)

    def warning(self, means: dict[str, float]) -> str | None:
        """Warns if all embeddings have collapsed to one."""
        if not collapsed(means):
            return None
        return (
            f"all embeddings are nearly the same (spread {means['embedding/spread']:.3f}): "
            "training has collapsed; lower the learning rate, lengthen the warm-up or set "
            "loss.triplet.margin=soft"
        )

    def _move_centers(self, differences, counts):
        center = self._config.center
        self.centers.assign_sub(center_step(differences, counts, center.variant, center.rate))

    def _compares_unit_vectors(self):
        """Whether the metric losses see distances of L2-normalised features."""
        others = weighted_batch_losses(self._config).keys() - {"triplet"}
        triplet = self._config.triplet
        return bool(triplet.normalize or others and not triplet.weight)

    def _lin(self, features, labels):
        config = self._config
        terms = self._lin_loss.terms(
            labels, features, **_candidates(features, labels, config.lin.across_replicas))
        reduce = tf.reduce_sum if config.lin.reduction == "sum" else tf.reduce_mean
        shares = {
            "lin/active_positives": tf.reduce_mean(terms.active_positives),
            "lin/active_negatives": tf.reduce_mean(terms.active_negatives),
        }
        return reduce(terms.positive_losses + terms.negative_losses), shares

    def _statistics(self, outputs, labels):
        """Returns distances as the metric losses see them, lengths and spread before the neck."""
        config = self._config
        settings = (labels, config.triplet.margin, self._compares_unit_vectors())
        statistics = batch_statistics(outputs["embedding"], *settings)
        if config.metric_feature == "neck":
            # A collapse shows before the neck, which stretches whatever it is given.
            seen = batch_statistics(outputs["neck"], *settings)
            statistics.update(
                {k: v for k, v in seen.items() if not k.startswith("embedding/")}
            )
        return statistics


def _make_cosine_loss(name, section):
    """Makes a loss of the settings of its section, a value per anchor."""
    settings = dataclasses.asdict(section)
    del settings["weight"], settings["across_replicas"]
    return LOSSES[name](**settings, reduction="none")


def _given_margin(config):
    """Returns the settings of a loss with a margin that are not left to its defaults."""
    settings = {"scale": config.classifier_scale, "margin": config.classifier_margin}
    return {name: value for name, value in settings.items() if value is not None}


def _check_classifier(config):
    """Refuses settings of the ID loss that nothing would read."""
    if config.classifier == "softmax":
        for name in _given_margin(config):
            raise UserError(f"loss.classifier_{name} is for loss.classifier "
                            f"{', '.join(_MARGIN_LOSSES)}; set it to null for softmax.")
    elif not config.id.weight:
        raise UserError(f"loss.classifier={config.classifier} is an ID loss and loss.id.weight is "
                        "0; set the weight above 0, or the classifier to softmax.")


def _shared(value, name):
    """Makes a variable that every replica computes alike, from the batches of all."""
    return tf.Variable(value, trainable=False, name=name,
                       aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)


def make_triplet_loss(config: LossConfig) -> TripletLoss:
    """Makes the triplet loss of the settings `loss.triplet`, a value per anchor."""
    triplet = config.triplet
    return TripletLoss(triplet.mining, triplet.margin, triplet.normalize, reduction="none")


def triplet_margin(config: LossConfig, feature: str = "embedding") -> Margin | None:
    """Returns the margin of `loss.triplet` on an output of the model; the soft one has no end."""
    triplet = config.triplet
    if triplet.margin == "soft":
        return None
    return Margin(triplet.margin, f"loss.triplet.margin={triplet.margin:g}", feature,
                  triplet.normalize)


def mean_triplet(loss: TripletLoss, features: tf.Tensor, labels: tf.Tensor,
                 **candidates) -> tf.Tensor:
    """Computes the mean triplet loss of a batch, zero if no anchor has a positive and a negative.

    Args:
        loss: The loss.
        features: [n, d].
        labels: Integers [n].
        candidates: Further arguments of `triplet_terms`.
    """
    sums, counts = loss.terms(labels, features, **candidates)
    return tf.math.divide_no_nan(tf.reduce_sum(sums), tf.reduce_sum(counts))


def _candidates(features, labels, across_replicas):
    """Returns the images of all replicas as candidates, see `tfreid.losses.distances`."""
    context = tf.distribute.get_replica_context()
    if not across_replicas or context.num_replicas_in_sync == 1:
        return {}
    return {
        "candidates": context.all_gather(features, axis=0),
        "candidate_labels": context.all_gather(labels, axis=0),
        "anchor_offset": context.replica_id_in_sync_group * tf.shape(labels)[0],
    }
