"""The training loop: epochs of steps, with evaluation, checkpoints and TensorBoard between."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import signal
import time
import warnings

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfrecords.errors import Stopped, UserError
from tfreid.config import Config
from tfreid.evaluation.evaluator import Evaluation, Evaluator
from tfreid.evaluation.results import write_results_json
from tfreid.evaluation.thresholds import save_thresholds
from tfreid.training.checkpoints import Checkpoints
from tfreid.training.evaluations import EvaluationProgress, describe_selection
from tfreid.training.interfaces import Batches, Trainee
from tfreid.training.optimizers import (
    GradientAccumulator,
    GradientApplier,
    WeightAverage,
    learning_rate_at,
)
from tfreid.training.run_folder import RunFolder
from tfreid.training.step import TrainStep
from tfreid.training.summaries import Summaries
from tfreid.weights.choice import TEST, VALIDATION
from tfreid.weights.files import save_weights
from tfreid.workers import ALONE, Workers


class Trainer:
    """Trains one model in one run folder.

    Args:
        config: Resolved settings.
        run: The run's folder.
        strategy: The strategy under whose scope the model was made.
        system: The system that made the model and the batches.
        model: The model.
        batches: Training batches.
        evaluator: Tests the model, or None if the records have no images for it.
        workers: The processes that train together.
        tested: The model that the evaluator tests and the batches are prepared with: another one
            where several processes train, outside of the strategy, so that a process can use it
            without the others.

    Attributes:
        selection: What its evaluations are on and choose, in words.

    Raises:
        UserError: If the run's newest checkpoint cannot be restored, or the evaluation fails.
    """

    def __init__(self, config: Config, run: RunFolder, strategy: tf.distribute.Strategy,
                 system: Trainee, model: keras.Model, batches: Batches,
                 evaluator: Evaluator | None, workers: Workers = ALONE,
                 tested: keras.Model | None = None):
        self._config = config
        self._workers = workers
        self._tested = model if tested is None else tested
        self._statistics = [place for place, weight in enumerate(model.weights)
                            if not weight.trainable]
        self._run = run
        self._strategy = strategy
        self._system = system
        self._model = model
        self._batches = batches
        self._evaluator = evaluator
        images = evaluator.evaluated_on if evaluator else None
        self._choosing = images == VALIDATION or config.training.choose_best_on == TEST
        self.selection = describe_selection(images, self._choosing)
        with strategy.scope():
            self._objective = system.make_objective(model)
            self._applier = GradientApplier(
                config.optimizer, list(model.trainable_variables),
                loss_scaling=config.training.precision == "mixed_float16",
            )
            steps = config.training.accumulate_steps or 1
            self._accumulator = (
                GradientAccumulator(list(model.trainable_variables), steps) if steps > 1 else None)
        momentum = config.optimizer.average_momentum
        self._average = WeightAverage(model, momentum) if momentum else None
        parts = {"average": self._average, "accumulator": self._accumulator,
                 "batches": batches.state}
        parts = {name: part for name, part in parts.items() if part is not None}
        self._checkpoints = Checkpoints(
            run.checkpoints, config.training.keep_checkpoints, model=model,
            optimizer=self._applier.trackable, objective=self._objective, **parts,
        )
        replicas = strategy.num_replicas_in_sync
        self._steps_per_epoch = config.training.steps_per_epoch
        self._items_per_step = batches.batch_size * replicas
        self._train_step: TrainStep | None = None
        self._frozen = False
        self._profiling = False
        self._steps_here = 0  # steps since the start or resumption
        self._pending: list[tuple[int, dict[str, tf.Tensor]]] = []
        self._first_step = self._checkpoints.restore()
        workers.check_same({"newest checkpoint": self._first_step})
        self._progress = EvaluationProgress.read(run.progress, self._first_step)
        if self._evaluator:
            if self._choosing:
                self._progress.choose_on(images)
            self._evaluator.try_out()

    def train(self) -> None:
        """Trains from the newest checkpoint, if any.

        Raises:
            UserError: If the loss is not finite, an image cannot be decoded, or the disk is full.
            Stopped: If SIGINT or SIGTERM arrived; what was trained is saved.
        """
        training, step = self._config.training, self._first_step
        if step:
            print(f"resuming after step {step}")
        self._summaries = Summaries(self._run.tensorboard)
        self._summaries.text("evaluation", self.selection, step)
        end = training.epochs * self._steps_per_epoch
        end = min(end, training.max_steps or end)
        with StopSignals(self._workers) as signals:
            self._evaluate_if_due(step, end)
            stop = signals.agreed()
            while step < end and not stop:
                epoch, first = divmod(step, self._steps_per_epoch)
                last = min(self._steps_per_epoch, end - epoch * self._steps_per_epoch,
                           first + self._steps_until_preparation(step))
                step = self._train_epoch(epoch, first, last, signals)
                stop = signals.agreed()
                if step == end or step % self._steps_per_epoch == 0:
                    self._save(step)
                if not stop:
                    self._evaluate_if_due(step, end)
                    stop = signals.agreed()
            if stop:
                self._save(step)
        self._stop_profile()
        self._summaries.flush()
        if stop:
            raise Stopped(signals.received, f"after step {step}; run again with --resume")
        with self._evaluated_weights():
            save_weights(self._tested, self._run.last_weights)

    def _train_epoch(self, epoch, first, last, signals) -> int:
        training = self._config.training
        self._begin_epoch(epoch)
        rate = learning_rate_at(self._config.schedule, epoch, training.epochs)
        self._applier.set_learning_rate(rate)
        step = epoch * self._steps_per_epoch + first
        replicas = self._strategy.num_replicas_in_sync
        self._summaries.scalars(self._batches.prepare(
            epoch, self._steps_per_epoch * replicas, first * replicas, self._prepared()), step)
        self._logged = (time.perf_counter(), step)
        with tqdm(total=self._steps_per_epoch, initial=first, unit="step",
                  desc=f"epoch {epoch + 1}/{training.epochs}") as bar:
            for batch in self._epoch_batches(epoch, first, last):
                if step == 0:
                    local = self._strategy.experimental_local_results
                    self._objective.show_batch(
                        self._summaries, tuple(local(part)[0] for part in batch))
                self._profile()
                scalars, watched = self._train_step(batch, step)
                step += 1
                self._pending.append((step, scalars))
                bar.update()
                if step % training.log_every == 0 or step == training.max_steps:
                    self._log(step, rate, bar)
                    self._objective.summarize(self._summaries, watched, step)
                every = training.checkpoint_every_steps
                if every and step % every == 0:
                    self._log(step, rate, bar)
                    self._save(step)
                if signals.agreed():
                    break
            self._log(step, rate, bar)
        return step

    def _steps_until_preparation(self, step):
        batches = self._batches.batches_per_preparation
        every = batches // self._strategy.num_replicas_in_sync if batches else self._steps_per_epoch
        return every - step % every

    def _begin_epoch(self, epoch):
        """Freezes or unfreezes the backbone, which requires a new train step."""
        frozen = epoch < self._config.training.frozen_backbone_epochs
        if self._train_step is not None and frozen == self._frozen:
            return
        if frozen != self._frozen:
            self._frozen = frozen
            self._system.set_backbone_trainable(self._model, not frozen)
        self._train_step = TrainStep(
            self._strategy, self._model, self._objective, self._applier, self._average,
            self._config.training.jit_compile, self._accumulator,
        )

    def _epoch_batches(self, epoch, first, last):
        """Yields per-replica batches; the replicas of all processes take batches in turn."""
        replicas = self._strategy.num_replicas_in_sync
        dataset = self._batches.epoch(
            epoch, self._steps_per_epoch * replicas, first * replicas,
            self._workers.part((last - first) * replicas))
        batches = iter(dataset)
        try:
            for _ in range(first, last):
                # The iterators of a distributed dataset wait when they are deleted, for up to a
                # minute: for a thread that tunes them and sleeps ever longer.
                batch = self._strategy.experimental_distribute_values_from_function(
                    lambda _: next(batches))
                self._train_step.specify(batch, dataset.element_spec)
                yield batch
        except tf.errors.OpError:
            if self._batches.error is not None:
                raise self._batches.error from None
            raise

    def _log(self, step, rate, bar):
        """Checks and writes the scalars since the last call."""
        if not self._pending:
            return
        start, first = self._logged
        elapsed = time.perf_counter() - start
        rows = [(at, {k: float(v) for k, v in row.items()}) for at, row in self._pending]
        self._pending = []
        self._logged = (time.perf_counter(), step)
        for at, row in rows:
            if not math.isfinite(row["loss/total"]):
                raise self._diverged("the loss", row["loss/total"], at)
        means = {name: float(np.mean([row[name] for _, row in rows])) for name in rows[0][1]}
        warning = self._objective.warning(means)
        if warning:
            warnings.warn(f"step {step}: {warning}", stacklevel=2)
        unit, per_second = self._system.unit, (step - first) * self._items_per_step / elapsed
        means.update({"learning_rate": rate, f"{unit}_per_second": per_second})
        self._summaries.scalars(means, step)
        bar.set_postfix({"loss": f"{means['loss/total']:.3f}",
                         f"{unit}/s": f"{per_second:.0f}", "lr": f"{rate:.2g}"})

    def _save(self, step):
        """Writes a checkpoint, if the weights are finite."""
        for weight in self._model.trainable_variables:
            if not np.isfinite(weight.numpy()).all():
                raise self._diverged("a weight", "not finite", step)
        self._run.restore_files()
        self._checkpoints.save(step)

    def _diverged(self, what, value, step):
        stage = self._run.section
        return UserError(
            f"{what} became {value} at step {step}; the last good checkpoint is kept in "
            f"{self._run.checkpoints}, so lower {stage}schedule.learning_rate or set "
            f"{stage}optimizer.clip_norm and resume."
        )

    def _profile(self):
        """Profiles some steps, without the first two, which build graphs."""
        self._steps_here += 1
        steps = self._config.training.profile_steps
        if steps and self._steps_here == 3:
            self._profiling = True
            self._summaries.attempt(tf.profiler.experimental.start, str(self._run.tensorboard))
        if self._steps_here == 3 + steps:
            self._stop_profile()

    def _stop_profile(self):
        if self._profiling:
            self._profiling = False
            self._summaries.attempt(tf.profiler.experimental.stop)

    def _evaluate_if_due(self, step, end):
        training = self._config.training
        if self._evaluator is None or step == self._progress.evaluated_step:
            return
        if step == 0 and not training.evaluate_untrained:
            return
        epoch, rest = divmod(step, self._steps_per_epoch)
        every = training.evaluate_every
        if step in (0, end) or (rest == 0 and every and epoch % every == 0):
            self._evaluate(step)

    def _evaluate(self, step):
        with self._evaluated_weights():
            queries = self._config.training.evaluate_queries
            evaluation = self._evaluator.evaluate(max_queries=queries)
            figures = {"step": step, **evaluation.progress()}
            if step:
                self._keep_if_best(evaluation, figures)
        if step == 0:
            self._progress.untrained = figures
        self._progress.evaluated_step = step
        write_results_json(self._run.progress, dataclasses.asdict(self._progress))
        scalars, images = evaluation.scalars(), ""
        if not evaluation.names_images:
            images = f", {self._evaluator.evaluated_on} images"
            if self._evaluator.evaluated_on == VALIDATION:
                scalars = {tag.replace("evaluation/", "evaluation/validation/", 1): value
                           for tag, value in scalars.items()}
        headline = (f"step {step}: {evaluation.headline()}{images}"
                    + (" (untrained)" if step == 0 else ""))
        print("\n".join(filter(None, [headline, evaluation.table()])))
        self._summaries.scalars(scalars, step)
        self._summaries.flush()

    def _keep_if_best(self, evaluation: Evaluation, figures: dict):
        """Keeps the figures, and the weights if figures choose them, of the best evaluation.

        Where they do not, the newest figures count, at the end those of the last weights.
        """
        chosen_on = None
        if self._choosing:
            best = self._progress.best_figure
            if best is not None and evaluation.main_figure <= best:
                return
            self._progress.best = figures
            self._progress.best_figure = evaluation.main_figure
            chosen_on = self._progress.chosen_on
            save_weights(self._tested, self._run.best_weights, chosen_on)
        write_results_json(self._run.results, {
            **evaluation.as_dict(), **figures, "evaluated_on": self._evaluator.evaluated_on,
            "weights_chosen_on": chosen_on})
        thresholds = evaluation.thresholds()
        if thresholds is not None:
            save_thresholds(thresholds, self._run.thresholds)
        count, projection = self._config.training.projector_images, evaluation.projection()
        if count and projection is not None:
            self._summaries.attempt(self._summaries.projector, projection, count)

    @contextlib.contextmanager
    def _evaluated_weights(self):
        """Gives the model its average weights, if any, and the tested model those of the model."""
        with self._average.swapped_in() if self._average else contextlib.nullcontext():
            self._copy_to_tested()
            yield

    def _prepared(self):
        """Returns the tested model with the model's weights, if preparations need them."""
        if self._batches.batches_per_preparation:
            self._copy_to_tested()
        return self._tested

    def _copy_to_tested(self):
        if self._tested is self._model:
            return
        values = self._model.get_weights()
        # Those of the first device on Keras 3, where each keeps its own.
        statistics = self._workers.from_chief([values[place] for place in self._statistics])
        for place, value in zip(self._statistics, statistics):
            values[place] = value
        self._tested.set_weights(values)


class StopSignals:
    """Records SIGINT and SIGTERM inside a `with` block; a second one of a kind acts as usual.

    Args:
        workers: The processes that stop together, when one of them received a signal.

    Attributes:
        received: The last signal, or None.
    """

    def __init__(self, workers: Workers = ALONE):
        self._workers = workers
        self.received: signal.Signals | None = None
        self._previous = {}

    def __enter__(self) -> StopSignals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def agreed(self) -> bool:
        """Returns whether to stop; all processes ask together, and have the same answer."""
        stop = self._workers.any(self.received is not None)
        if stop and self.received is None:
            self.received = signal.SIGTERM
        return stop  # not whether one was received since the others were asked

    def _note(self, number, _frame):
        self.received = signal.Signals(number)
        signal.signal(number, self._previous[number])
        text = (f"\n{self.received.name}: finishing the step and saving; once more to stop at "
                "once.\n")
        with contextlib.suppress(OSError):  # a closed terminal
            os.write(2, text.encode())  # `print` may not interrupt itself
