"""Whom a training tells how it goes, besides the progress bar."""

from collections.abc import Callable
from dataclasses import dataclass

from linnaeus.errors import ConfigurationError
from linnaeus.training.heads.head import CurvePoint, Head

OnStep = Callable[[int, Callable[[], Head]], None]
OnPoint = Callable[[CurvePoint], None]


@dataclass(frozen=True)
class Monitoring:
    """What is written or called while a head or a backbone is trained."""

    summaries_dir: str | None = None
    """Folder for TensorBoard; None: no summaries."""
    every_steps: int = 10
    """Steps between looks at the validation images that go to TensorBoard."""
    on_step: OnStep | None = None
    """Called after each step with its number and a function that gives the head as it is then."""
    on_point: OnPoint | None = None
    """Called with each point of the curve when it is known."""

    def __post_init__(self) -> None:
        if "://" in (self.summaries_dir or ""):
            raise ConfigurationError(
                f"summaries cannot be written to {self.summaries_dir}: "
                "name a folder of this machine"
            )
