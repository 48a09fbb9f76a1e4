"""Whom a fine-tuning tells how it goes, besides the progress bar."""

from linnaeus.training.fine_tuning.training_loop import TrainingLoop
from linnaeus.training.monitoring import Monitoring
from linnaeus.training.summaries import Summaries


class Monitor:
    """Writes TensorBoard's runs `train` and `validation`, and calls who wants to be called."""

    def __init__(self, monitoring: Monitoring, loop: TrainingLoop) -> None:
        self._monitoring, self._loop = monitoring, loop
        self._runs: dict[str, Summaries] = {}

    def after_step(self, step: int, scores: tuple[float, float]) -> None:
        """Told of each step with the loss and accuracy of its batch before it."""
        if step % self._monitoring.every_steps == 0:
            self._write("train", step, scores)
        if self._monitoring.on_step is not None:
            self._monitoring.on_step(step, self._loop.head)

    def after_epoch(self) -> None:
        """Told after each epoch, when validation is known."""
        point = self._loop.curve[-1]
        accuracy = point.validation_accuracy or 0.0
        self._write("validation", self._loop.steps, (point.validation_loss, accuracy))
        if self._monitoring.on_point is not None:
            self._monitoring.on_point(point)

    def _write(self, run: str, step: int, scores: tuple[float, float]) -> None:
        """The scores, and what the last layer makes of some validation images."""
        folder = self._monitoring.summaries_dir
        if folder is None:
            return
        if run not in self._runs:
            self._runs[run] = Summaries(f"{folder}/{run}", self._loop.task, step - 1)
        loop = self._loop
        self._runs[run].write(step, scores, loop.head(), loop.embedded_sample())
