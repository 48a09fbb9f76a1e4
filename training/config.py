"""What a person may choose about training, with the defaults; one value, passed around whole."""

from dataclasses import dataclass, field
from typing import Literal

from linnaeus.errors import ConfigurationError

HEADS = ("linear", "layers")
OPTIMIZERS = ("adam", "rmsprop", "sgd")


@dataclass(frozen=True)
class SplitConfig:
    """Which images are held out where the manifest does not say so itself."""

    validation_percentage: float = 10.0
    testing_percentage: float = 10.0
    by: Literal["root-relative", "full-path"] = "root-relative"
    """What of a URI is hashed; `full-path` reproduces retrain.py to the digit."""


@dataclass(frozen=True)
class LinearConfig:
    """The linear softmax head, fitted by full-batch L-BFGS."""

    l2: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
    """Candidate strengths: half of each times the squared weights is added to the mean loss."""

    def __post_init__(self) -> None:
        if not self.l2 or min(self.l2) < 0:
            raise ConfigurationError("l2 needs at least one strength, and none below 0")


@dataclass(frozen=True)
class LayersConfig:
    """The head of Keras layers: hidden ReLU layers with dropout, then a softmax."""

    hidden: tuple[int, ...] = ()
    dropout: float = 0.2
    l2: float = 1e-4
    label_smoothing: float = 0.1
    batch_size: int = 64
    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"
    learning_rate: float = 1e-3
    epochs: int = 50
    patience: int = 5
    """Epochs without a lower validation loss before training stops; the best weights are kept."""

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ConfigurationError(
                f"unknown optimizer {self.optimizer!r}: choose one of {', '.join(OPTIMIZERS)}"
            )
        if min((*self.hidden, self.batch_size, self.epochs, self.patience)) < 1:
            raise ConfigurationError("hidden sizes, batch_size, epochs and patience are at least 1")
        if not (0 <= self.dropout < 1 and 0 <= self.label_smoothing < 1):
            raise ConfigurationError("dropout and label_smoothing lie in [0, 1)")
        if self.learning_rate <= 0 or self.l2 < 0:
            raise ConfigurationError("learning_rate is above 0, and l2 not below it")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what `train` makes of a manifest."""

    backbone: str = "efficientnet-lite0"
    precision: str = "float32"
    head: Literal["linear", "layers"] = "linear"
    split: SplitConfig = field(default_factory=SplitConfig)
    linear: LinearConfig = field(default_factory=LinearConfig)
    layers: LayersConfig = field(default_factory=LayersConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise ConfigurationError(
                f"unknown head {self.head!r}: choose one of {', '.join(HEADS)}"
            )
