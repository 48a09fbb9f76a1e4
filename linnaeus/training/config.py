"""What a person may choose about training, with the defaults; one value, passed around whole.

The `help` of each field is also what `linnaeus train --help` says of its option.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, get_args, get_type_hints

from linnaeus.augmentation_settings import Augmentation, setting
from linnaeus.choices import DEFAULT_BACKBONE, Balance, HeadKind
from linnaeus.errors import ConfigurationError

Optimizer = Literal["sgd", "adam", "adamw", "rmsprop"]
Activation = Literal["relu", "gelu", "swish", "tanh", "sigmoid"]
Decay = Literal["none", "cosine", "exponential"]
Sampling = Literal["shuffled", "balanced"]
STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)


@dataclass(frozen=True)
class SplitConfig:
    """Which images are held out where the manifest does not say so itself."""

    validation_percentage: float = setting(10.0, "Held out to choose.")
    testing_percentage: float = setting(10.0, "Held out to test.")
    by: Literal["root-relative", "full-path"] = setting(
        "root-relative",
        "What of a path is hashed: that below IMAGES, which survives a move, or all of it, as "
        "retrain.py did. A split column comes before both.",
    )
    root: str | None = setting(
        None,
        "What stands for IMAGES in a full path that is hashed; retrain.py took it as it was typed.",
    )
    near_duplicates: Literal["report", "together"] = setting(
        "report",
        "Pictures that are nearly equal but in different splits are reported, or kept together.",
    )


@dataclass(frozen=True)
class LinearConfig:
    """The linear head, fitted by full-batch L-BFGS."""

    l2: tuple[float, ...] = STRENGTHS
    """Candidate strengths: half of each times the squared weights is added to the mean loss."""

    def __post_init__(self) -> None:
        _check_finite(self)
        _check_strengths(self.l2)


@dataclass(frozen=True)
class KernelConfig:
    """A linear head, as above, on radial basis functions around some training images."""

    centres: int = setting(1000, "Training images around which the radial basis functions lie.")
    gamma: tuple[float, ...] = setting(
        (0.1, 0.3), "Candidate widths: exp(-gamma / D * squared distance) of D standardised values."
    )
    l2: tuple[float, ...] = STRENGTHS

    def __post_init__(self) -> None:
        _check_finite(self)
        _check_strengths(self.l2)
        if self.centres < 1 or not self.gamma or min(self.gamma) <= 0:
            raise ConfigurationError("centres is at least 1, and every gamma above 0")


@dataclass(frozen=True)
class LayersConfig:
    """A head of Keras layers: hidden ones with dropout, then the logits, trained by batches."""

    hidden: tuple[int, ...] = setting((), "Sizes of hidden layers.")
    activation: Activation = setting("relu", "Of the hidden layers.")
    dropout: float = setting(0.2, "Share of activations dropped before each layer.")
    l1: float = setting(0.0, "Times the absolute weights, added to the loss.")
    l2: float = setting(1e-4, "Times the squared weights, added to the loss.")
    label_smoothing: float = setting(0.1, "Share of a label spread over all classes.")
    batch_size: int = setting(64, "Images a step.")
    sampling: Sampling = setting(
        "shuffled", "Every image once an epoch, or balanced: a label at random, then its image."
    )
    optimizer: Optimizer = setting("adam", "How weights follow gradients.")
    learning_rate: float = setting(1e-3, "Step size.")
    momentum: float = setting(0.0, "Of sgd and rmsprop.")
    warmup_steps: int = setting(0, "Steps in which the step size grows from 0.")
    decay: Decay = setting("none", "How the step size falls after that, to the last step.")
    epochs: int = setting(50, "Passes over the training images, at most.")
    steps: int | None = setting(None, "Batches in all, instead of epochs.")
    patience: int = setting(
        5, "Epochs without a lower validation loss before it stops; the best weights are kept."
    )

    def __post_init__(self) -> None:
        _check_finite(self)
        _check_word("activation", self.activation, get_args(Activation))
        _check_word("sampling", self.sampling, get_args(Sampling))
        _check_descent(self)
        _check_counts(hidden=self.hidden, steps=self.steps)
        if self.l1 < 0:
            raise ConfigurationError("l1 is not below 0")


@dataclass(frozen=True)
class FineTuningConfig:
    """How the backbone itself is trained on."""

    layers: int | None = setting(
        None, "How many of the backbone's last layers are trained; all of them by default."
    )
    pooling: Literal["backbone", "flatten"] = setting(
        "backbone", "What comes after the last layer: the backbone's own pooling, or every value."
    )
    hidden: int | None = setting(None, "Size of a dense ReLU layer before the last: the embedding.")
    dropout: float = setting(0.5, "Share of activations dropped before the last layer.")
    label_smoothing: float = setting(0.0, "Share of a label spread over all classes.")
    l2: float = setting(0.0, "Times the squared weights of new layers, added to the loss.")
    batch_size: int = setting(32, "Images a step.")
    optimizer: Optimizer = setting("rmsprop", "How weights follow gradients.")
    learning_rate: float = setting(1e-4, "Step size.")
    momentum: float = setting(0.0, "Of sgd and rmsprop.")
    warmup_steps: int = setting(0, "Steps in which the step size grows from 0.")
    decay: Decay = setting("none", "How the step size falls after that, to the last step.")
    epochs: int = setting(5, "Passes over the training images, at most.")
    patience: int = setting(3, "Epochs without a lower validation loss before it stops.")
    mixed_precision: bool = setting(False, "Compute in float16 on graphics cards.")

    def __post_init__(self) -> None:
        _check_finite(self)
        _check_descent(self)
        _check_counts(layers=self.layers, hidden=self.hidden)


@dataclass(frozen=True)
class GateConfig:
    """What a model must reach, and when it says nothing."""

    accuracy_at_least: float | None = setting(
        None, "Test accuracy, from 0 to 1, below which nothing is published."
    )
    target_precision: float | None = setting(
        None,
        "Precision on validation images, from 0 to 1, below which scores become 'unknown'.",
    )

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not 0 <= value <= 1:
                raise ConfigurationError(f"{name} lies in [0, 1], not at {value:g}")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what `train` makes of a manifest."""

    backbone: str = DEFAULT_BACKBONE
    precision: str = "float32"
    head: HeadKind = setting(
        "auto",
        "auto: the best of several on validation, or the kind whose options are given; linear: by "
        "L-BFGS; kernel: on radial basis functions; layers: Keras layers.",
    )
    sweep: bool = setting(False, "Try dozens of heads, not few.")
    labels: tuple[str, ...] = ()
    """The labels in the order of the scores; empty: those of the images, sorted."""
    class_weights: Balance = setting(
        "none", "balanced: each label weighs the same, however many images it has."
    )
    seed: int = setting(0, "Of every random choice.")
    split: SplitConfig = field(default_factory=SplitConfig)
    linear: LinearConfig = field(default_factory=LinearConfig)
    kernel: KernelConfig = field(default_factory=KernelConfig)
    layers: LayersConfig = field(default_factory=LayersConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    views: int = setting(
        4, "Varied copies of each training image that are embedded, once, beside the plain one."
    )
    fine_tuning: FineTuningConfig | None = None
    """None: the backbone stays as it is."""
    gate: GateConfig = field(default_factory=GateConfig)

    def __post_init__(self) -> None:
        from linnaeus.backbones.families import check_exportable

        check_exportable(self.backbone)
        _check_word("head", self.head, get_args(HeadKind))
        _check_word("class_weights", self.class_weights, get_args(Balance))
        if self.views < 1:
            raise ConfigurationError("views is at least 1")
        if self.seed < 0:
            raise ConfigurationError(f"a seed is at least 0, not {self.seed}")


def with_settings(config: Any, settings: Mapping[str, Any]) -> Any:
    """The configuration with other values of some fields; of one inside of it a mapping will do.

    Raises:
        ConfigurationError: a field that is not there, with the nearest that is, or a wrong value.
    """
    known = {one.name: one for one in fields(config)}
    for name in settings.keys() - known.keys():
        from linnaeus.backbones import nearest

        kind = type(config).__name__
        raise ConfigurationError(
            f"{kind} has no setting {name!r}: did you mean {nearest(name, known)!r}? "
            f"It has {', '.join(known)}"
        )
    changed = {name: _fitted(config, name, value) for name, value in settings.items()}
    try:
        return replace(config, **changed)
    except TypeError as error:
        raise ConfigurationError(
            f"{', '.join(settings)}: a value is of the wrong type: {error}"
        ) from error


def _fitted(config: object, name: str, value: Any) -> Any:
    """A setting's value as its field takes it: a tuple of one value, a configuration of a mapping.

    Raises:
        ConfigurationError: neither a configuration nor a mapping is given for one.
    """
    hint, now = get_type_hints(type(config))[name], getattr(config, name)
    inner: Any = next((kind for kind in (hint, *get_args(hint)) if is_dataclass(kind)), None)
    if inner is None:
        if isinstance(now, tuple) and not isinstance(value, tuple):
            return tuple(value) if isinstance(value, list) else (value,)
        return value
    if isinstance(value, Mapping):
        return with_settings(inner() if now is None else now, value)
    if isinstance(value, inner) or (value is None and now is None):
        return value
    raise ConfigurationError(f"{name} is a {inner.__name__} or a mapping of its settings")


def _check_word(name: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise ConfigurationError(f"unknown {name} {word!r}: choose one of {', '.join(known)}")


def _check_descent(config: LayersConfig | FineTuningConfig) -> None:
    """What holds for every training by batches."""
    _check_word("optimizer", config.optimizer, get_args(Optimizer))
    _check_word("decay", config.decay, get_args(Decay))
    _check_counts(batch_size=config.batch_size, epochs=config.epochs, patience=config.patience)
    shares = (config.dropout, config.label_smoothing, config.momentum)
    if not all(0 <= share < 1 for share in shares):
        raise ConfigurationError("dropout, label_smoothing and momentum lie in [0, 1)")
    if config.learning_rate <= 0 or min(config.l2, config.warmup_steps) < 0:
        raise ConfigurationError("learning_rate is above 0, and l2 and warmup_steps not below it")


def _check_counts(**counts: int | tuple[int, ...] | None) -> None:
    for name, value in counts.items():
        several = value if isinstance(value, tuple) else (value,)
        if any(one is not None and one < 1 for one in several):
            raise ConfigurationError(f"{name} is at least 1")


def _check_finite(config: object) -> None:
    for name, value in vars(config).items():
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, float) and not math.isfinite(one):
                raise ConfigurationError(f"{name} is a finite number, not {one}")


def _check_strengths(l2: tuple[float, ...]) -> None:
    if not l2 or min(l2) < 0:
        raise ConfigurationError("l2 needs at least one strength, and none below 0")
