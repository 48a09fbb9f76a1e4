"""What a job tells its progress to.

A job gets a `Progress` and opens one `Step` at a time:

    with progress.step("Embed", total=2624) as step:
        step.update(done=512, failed=1)
        step.note("2,624 images embedded, 1 failed")
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from linnaeus.progress.meter import Figures, Meter


class Step(Protocol):
    """One stretch of work whose progress is shown."""

    def update(self, done: int, failed: int = 0, figures: Figures | None = None) -> None:
        """Say how many units are finished so far, how many of them failed, and what else is known.

        Without `figures`, rate and time left are those since the step's beginning.
        """

    def note(self, line: str) -> None:
        """Set the one line shown when the step is done, in place of the counts."""

    def warn(self, line: str) -> None:
        """Say at once what a person should know while the step goes on."""


class Progress(Protocol):
    """Where steps are shown."""

    def step(
        self, name: str, total: int | None, unit: str = "images"
    ) -> AbstractContextManager[Step]:
        """Show a step of `total` units (`None`: not known) until the context is left."""


@contextmanager
def ending(meter: Meter, finish: Callable[[str], None]) -> Iterator[None]:
    """Say the last line of a step; where it fails before anything is done, the error says it."""
    try:
        yield
    except BaseException:
        if meter.total is not None and meter.done:
            finish(meter.stopped())
        raise
    finish(meter.finished())
