"""The command that trains a model, with an option for each of its settings."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from linnaeus.augmentation_settings import Augmentation
from linnaeus.choices import DEFAULT_BACKBONE, HeadKind
from linnaeus.cli.options import (
    Backbone,
    Images,
    Model,
    PrecisionOption,
)
from linnaeus.cli.session import Session
from linnaeus.cli.settings import Panel, given, with_settings
from linnaeus.cli.wording import accuracy_text
from linnaeus.errors import ConfigurationError
from linnaeus.progress import settings_text
from linnaeus.training.config import (
    FineTuningConfig,
    GateConfig,
    KernelConfig,
    LayersConfig,
    LinearConfig,
    SplitConfig,
    TrainConfig,
)

if TYPE_CHECKING:
    from linnaeus.models import Model as TrainedModel

_LAYERS_AND_FINE_TUNING = "Head of layers, or fine-tuning"
PANELS = (
    Panel("Options", (TrainConfig,), leave_out=frozenset({"views"})),
    Panel(
        _LAYERS_AND_FINE_TUNING,
        (LayersConfig, FineTuningConfig),
        leave_out=frozenset({"l2", "layers"}),
    ),
    Panel("Kernel head", (KernelConfig,)),
    Panel("Augmentation", (TrainConfig, Augmentation)),
    Panel("Split", (SplitConfig,), leave_out=frozenset({"by", "root"})),
    Panel("Gates", (GateConfig,), leave_out=frozenset({"accuracy_at_least"})),
)


def train(  # noqa: PLR0913, PLR0917 - a parameter an option
    session: Session,
    images: Images,
    model: Model,
    backbone: Backbone = DEFAULT_BACKBONE,
    precision: PrecisionOption = "float32",
    fine_tune: Annotated[
        str | None,
        typer.Option(metavar="N|all", help="Train the backbone's last N layers, or all, too."),
    ] = None,
    l2: Annotated[
        list[float] | None,
        typer.Option(
            help="Regularisation; several are candidates of a linear or kernel head.",
            show_default="nine candidates; layers: 0.0001",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The labels, one a line, in the order of the scores; no others."
        ),
    ] = None,
    split_rule: Annotated[
        Literal["retrain", "root-relative"],
        typer.Option(
            help="Hash the full path as retrain.py did, or the path below IMAGES, which "
            "survives a move; a split column comes before both.",
            rich_help_panel="Split",
        ),
    ] = "root-relative",
    assert_accuracy_at_least: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Test accuracy, from 0 to 1, below which nothing is published.",
            rich_help_panel="Gates",
        ),
    ] = None,
    summaries_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder for TensorBoard.")
    ] = None,
    **settings: Any,
) -> None:
    """Train a model on embedded images, test it and export it."""
    settings["l2"] = l2
    settings["by"] = "full-path" if split_rule == "retrain" else split_rule
    settings["accuracy_at_least"] = assert_accuracy_at_least
    config = TrainConfig(
        backbone=backbone,
        precision=precision,
        labels=_read_labels(labels) if labels else (),
        split=SplitConfig(**given(settings, SplitConfig)),
        augmentation=Augmentation(**given(settings, Augmentation)),
        gate=GateConfig(**given(settings, GateConfig)),
        **given(settings, TrainConfig),
    )
    config = with_head(config, fine_tune, settings)
    trained = session.workspace.train(images, model, config, summaries_dir=summaries_dir)
    session.show(trained, _trained_text(trained))


with_settings(train, PANELS)


def with_head(
    config: TrainConfig, fine_tune: str | None, settings: Mapping[str, Any]
) -> TrainConfig:
    """The configuration with the kind of head that is named, or whose options are given."""
    head: HeadKind | None = settings["head"]
    if config.sweep and (fine_tune is not None or head not in {None, "auto"}):
        other = "--fine-tune" if fine_tune is not None else f"--head {head}"
        raise ConfigurationError(f"--sweep tries heads of every kind: leave it or {other} out")
    if fine_tune is not None:
        return replace(config, fine_tuning=_fine_tuning(fine_tune, head, settings))
    kind = head or ("auto" if config.sweep else _kind_of(settings))
    _check_options(kind, settings)
    config = replace(config, head=kind)
    if kind == "layers":
        return replace(config, layers=LayersConfig(**_one_l2(given(settings, LayersConfig))))
    return replace(
        config,
        linear=LinearConfig(**given(settings, LinearConfig)),
        kernel=KernelConfig(**given(settings, KernelConfig)),
    )


_OWN: Mapping[HeadKind, type] = {"layers": LayersConfig, "kernel": KernelConfig}


def _kind_of(settings: Mapping[str, Any]) -> HeadKind:
    """The kind whose own options are given; where several are, the check then says so."""
    kinds = (kind for kind, one in _OWN.items() if given(settings, one).keys() - {"l2"})
    return next(kinds, "auto")


def _check_options(head: HeadKind, settings: Mapping[str, Any]) -> None:
    used = {kind: set(given(settings, one)) for kind, one in _OWN.items()}
    for kind, options in used.items():
        foreign = sorted(options - {"l2"})
        if foreign and head != kind:
            option = foreign[0].replace("_", "-")
            raise ConfigurationError(
                f"--{option} belongs to a head of kind {kind}, not {head}: leave one of them out"
            )
    unused = set(given(settings, FineTuningConfig)) - set(given(settings, LayersConfig))
    if unused:
        option = min(unused).replace("_", "-")
        raise ConfigurationError(f"--{option} is for fine-tuning: add --fine-tune N or all")


def _fine_tuning(fine_tune: str, head: str | None, settings: Mapping[str, Any]) -> FineTuningConfig:
    if head is not None:
        raise ConfigurationError(f"--fine-tune has a head of its own: leave --head {head} out")
    foreign = set(given(settings, LayersConfig, KernelConfig)) - set(
        given(settings, FineTuningConfig)
    )
    if foreign:
        option = min(foreign).replace("_", "-")
        raise ConfigurationError(f"--{option} is not for fine-tuning: leave it out")
    chosen = _one_l2(given(settings, FineTuningConfig))
    hidden = chosen.pop("hidden", ())
    if len(hidden) > 1:
        raise ConfigurationError("fine-tuning takes one --hidden, the embedding's size")
    return FineTuningConfig(**chosen, layers=_layers(fine_tune), hidden=next(iter(hidden), None))


def _layers(fine_tune: str) -> int | None:
    if fine_tune == "all":
        return None
    if not (fine_tune.isascii() and fine_tune.isdigit() and int(fine_tune) > 0):
        raise ConfigurationError(f"--fine-tune {fine_tune}: give a number of layers, or all")
    return int(fine_tune)


def _one_l2(chosen: dict[str, Any]) -> dict[str, Any]:
    strengths = chosen.get("l2", ())
    if len(strengths) > 1:
        raise ConfigurationError("layers take one --l2, not several")
    return {**chosen, "l2": strengths[0]} if strengths else chosen


def _trained_text(model: "TrainedModel") -> str:
    first = (
        f"Model {model.name}:{model.version} ({', '.join(model.labels)}): "
        f"test accuracy {accuracy_text(model.metrics['test'])}"
    )
    tried = (
        [f"Best of {len(model.tried)} heads: {_head_text(model)}"] if len(model.tried) > 1 else []
    )
    told = [f"linnaeus report {model.run_id}  shows it"] if model.run_id else []
    return "\n".join([first, *tried, *told])


def _head_text(model: "TrainedModel") -> str:
    chosen = model.hyperparameters["chosen"]
    settings = {name: chosen[name] for name in ("hidden", "gamma", "l2") if chosen.get(name)}
    return f"{chosen['head']}, {settings_text(settings)}"


def _read_labels(path: Path) -> tuple[str, ...]:
    """The labels of a file, one a line, as they are written."""
    try:
        labels = tuple(line for line in path.read_text("utf-8-sig").split("\n") if line)
    except OSError as e:
        raise ConfigurationError(f"cannot read {path}: {e.strerror}; check the name") from e
    except UnicodeDecodeError as e:
        raise ConfigurationError(f"{path} is not UTF-8: save the file as UTF-8") from e
    twice = {label for label in labels if labels.count(label) > 1}
    if twice:
        raise ConfigurationError(f"{path} lists the label {min(twice)!r} twice: leave one out")
    if not labels:
        raise ConfigurationError(f"{path} lists no labels: write one a line")
    return labels
