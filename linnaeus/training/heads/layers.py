"""Heads of Keras layers on standardised embeddings, trained batch by batch, many side by side.

The matrix may be larger than memory: each batch is read and standardised once and given to every
head that learns from it. A head learns the same as it would alone.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from linnaeus.training.checkpoints import Checkpoints, NoCheckpoints
from linnaeus.training.config import LayersConfig
from linnaeus.training.data.examples import LabelledEmbeddings
from linnaeus.training.heads.batches import BatchOrder
from linnaeus.training.heads.head import Fit
from linnaeus.training.heads.learner import Learner, Totals, build, means
from linnaeus.training.heads.standardised_batches import TrainingBatches
from linnaeus.training.monitoring import Monitoring
from linnaeus.training.summaries import Summaries

SAVE_SEC = 5.0
"""A training that is killed loses about so much."""
SAVING_SHARE = 0.05
"""Share of the time that goes into checkpoints at most, where they are large or far away."""


def fit(  # noqa: PLR0913, PLR0917 - what all trainers of long runs take
    data: LabelledEmbeddings,
    config: LayersConfig,
    seed: int,
    report: Callable[[int], None] = lambda done: None,
    checkpoints: Checkpoints = NoCheckpoints(),
    monitoring: Monitoring = Monitoring(),
) -> Fit:
    """Trains one head, as `fit_many` does."""
    return fit_many(data, [config], seed, report, checkpoints, monitoring)[0]


def fit_many(  # noqa: PLR0913, PLR0917 - what all trainers of long runs take
    data: LabelledEmbeddings,
    configs: Sequence[LayersConfig],
    seed: int,
    report: Callable[[int], None] = lambda done: None,
    checkpoints: Checkpoints = NoCheckpoints(),
    monitoring: Monitoring = Monitoring(),
) -> list[Fit]:
    """Trains each head until its validation loss stops falling; keeps its best weights.

    A head that has `steps` instead of epochs takes them all and keeps the last weights; it is
    validated every `monitoring.every_steps`. Losses are cross-entropies against smoothed labels,
    without the penalty on weights; an image's weight counts relative to the mean of all.

    Equal data, configuration and seed give equal weights on one machine's CPU, interrupted or not,
    alone or beside others. `report` is told how many epochs (or steps, of heads that count these)
    are done, of all heads together. Summaries of several heads go to folders `head-0`, `head-1`
    and so on; `monitoring.on_step` is called where there is one head only.

    Raises:
        ConfigurationError: If a head's loss became infinite, or a checkpoint is damaged.
    """
    batches = TrainingBatches.of(data)
    monitorings = [_of_head(i, len(configs), monitoring) for i in range(len(configs))]
    fits: dict[int, Fit] = {}
    done = 0
    for members in group_by_batches(configs):
        group = Group(batches, [configs[i] for i in members], seed, checkpoints)
        monitors = [Monitor(monitorings[i], batches, group.step) for i in members]
        for more in group.train(monitors):
            report(done + more)
        done += group.done
        fits |= zip(members, group.fits(), strict=True)
    return [fits[i] for i in range(len(configs))]


def _of_head(head: int, heads: int, monitoring: Monitoring) -> Monitoring:
    if heads == 1:
        return monitoring
    folder = monitoring.summaries_dir and f"{monitoring.summaries_dir}/head-{head}"
    return replace(monitoring, summaries_dir=folder, on_step=None, on_point=None)


def group_by_batches(configs: Sequence[LayersConfig]) -> list[list[int]]:
    """Positions of the configurations that can share batches and moments of validation."""
    groups: dict[Any, list[int]] = {}
    for i, config in enumerate(configs):
        groups.setdefault((config.batch_size, config.sampling, config.steps), []).append(i)
    return list(groups.values())


class Group:
    """Heads that learn side by side from the same batches."""

    def __init__(
        self,
        batches: TrainingBatches,
        configs: Sequence[LayersConfig],
        seed: int,
        checkpoints: Checkpoints,
    ) -> None:
        """Goes on from the checkpoint, where there is one."""
        first = configs[0]
        self.step = 0
        self._batches = batches
        self._counts_steps = first.steps
        self._order = BatchOrder(batches.train.targets, first.batch_size, first.sampling, seed)
        self._heads = [self._learner(config, seed) for config in configs]
        settings = json.dumps([batches.digest(), seed, [asdict(config) for config in configs]])
        self._checkpoint = f"layers-{sha256(settings.encode()).hexdigest()[:16]}"
        self._checkpoints = checkpoints
        self._save_at = time.monotonic() + SAVE_SEC
        self._restore()

    @property
    def done(self) -> int:
        """Epochs, or steps, of all heads together."""
        return sum(head.progress(self.step) for head in self._heads)

    def train(self, monitors: Sequence["Monitor"]) -> Iterator[int]:
        """Trains until every head has finished; gives what is done after each validation."""
        active = self._active()
        while active:
            batch = self._batches.batch(self._order.rows(self.step))
            self.step += 1
            for i in active:
                totals = self._heads[i].learn(*batch)
                monitors[i].after_step(self.step, self._heads[i], batch[0], totals)
            validated = self._validate(active, monitors)
            active = self._active() if validated else active
            if time.monotonic() > self._save_at or not active:
                self._save()
            if validated:
                yield self.done

    def fits(self) -> list[Fit]:
        """The trained heads."""
        return [head.fit(self._batches.scale) for head in self._heads]

    def _learner(self, config: LayersConfig, seed: int) -> Learner:
        batches = self._batches
        network = build(batches.train.embeddings.shape[1], batches.classes, config, seed)
        steps = config.steps or config.epochs * self._order.per_epoch
        return Learner(network, config, batches.task, steps)

    def _active(self) -> list[int]:
        return [i for i, head in enumerate(self._heads) if not head.finished(self.step)]

    def _validate(self, active: list[int], monitors: Sequence["Monitor"]) -> bool:
        """Ends an epoch, or what is one to a head that counts steps; tells TensorBoard, too."""
        stretch = monitors[0].every_steps if self._counts_steps else self._order.per_epoch
        ended = self.step % stretch == 0 or self.step == self._counts_steps
        if not (ended or monitors[0].watches(self.step)):
            return False
        position = self.step if self._counts_steps else self.step // stretch
        for i, totals in zip(active, self._evaluate(active), strict=True):
            monitors[i].after_validation(self.step, self._heads[i], totals)
            if ended:
                self._heads[i].note(position, totals)
                monitors[i].after_note(self._heads[i])
        return ended

    def _evaluate(self, active: list[int]) -> NDArray[np.float64]:
        """Each head's totals of the validation images, [heads, 3]."""
        totals = np.zeros((len(active), 3))
        for block in self._batches.validation_blocks():
            totals += [self._heads[i].evaluate(*block).numpy() for i in active]
        return totals

    def _save(self) -> None:
        began = time.monotonic()
        arrays = {"step": np.array(self.step)}
        for i, head in enumerate(self._heads):
            arrays |= {f"{i}-{name}": array for name, array in head.state().items()}
        self._checkpoints.save(self._checkpoint, arrays)
        now = time.monotonic()
        self._save_at = now + max(SAVE_SEC, (now - began) / SAVING_SHARE)

    def _restore(self) -> None:
        arrays = self._checkpoints.load(self._checkpoint)
        if arrays is None:
            return
        self.step = int(arrays["step"])
        for i, head in enumerate(self._heads):
            own = [name for name in arrays if name.startswith(f"{i}-")]
            head.restore({name.removeprefix(f"{i}-"): arrays[name] for name in own})


class Monitor:
    """Whom the training of one head tells how it goes."""

    def __init__(self, monitoring: Monitoring, batches: TrainingBatches, step: int) -> None:
        """`step`: where the training goes on."""
        self.every_steps = monitoring.every_steps
        self._on_step, self._on_point = monitoring.on_step, monitoring.on_point
        self._batches = batches
        folder = monitoring.summaries_dir
        self._train = folder and Summaries(f"{folder}/train", batches.task, step)
        self._validation = folder and Summaries(f"{folder}/validation", batches.task, step)

    def watches(self, step: int) -> bool:
        """Whether TensorBoard is to know how validation is after this step."""
        return bool(self._validation) and step % self.every_steps == 0

    def after_step(self, step: int, head: Learner, inputs: tf.Tensor, totals: tf.Tensor) -> None:
        """Told of each step with its batch and what it was like before the step."""
        if self._train:
            self._train.write(step, means(totals.numpy()), head.head(), inputs.numpy())
        if self._on_step:
            self._on_step(step, lambda: head.head(self._batches.scale))

    def after_validation(self, step: int, head: Learner, totals: Totals) -> None:
        """Told whenever the head was validated."""
        if self._validation:
            sample = self._batches.validation_sample
            self._validation.write(step, means(totals), head.head(), sample)

    def after_note(self, head: Learner) -> None:
        """Told when the head's curve has a new point."""
        if self._on_point:
            self._on_point(head.curve[-1])
