"""Trained models as the workspace holds them: which exist, and what their `linnaeus.json` says.

A version lies in `models/<name>/<version>/` and exists from the moment its `linnaeus.json` does:
whatever publishes a version makes that file visible last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from linnaeus import layout
from linnaeus.backbones import BackboneSpec
from linnaeus.documents import Document
from linnaeus.errors import ConfigurationError
from linnaeus.storage import Folder

MODELS = "models"
DESCRIPTION = "linnaeus.json"
DEFAULT_THRESHOLD = 0.5
"""From which score on one of several labels applies, where no target precision says so."""


@dataclass(frozen=True)
class ModelBackbone:
    """The network whose embeddings a model reads; `fingerprint` says exactly which."""

    name: str
    fingerprint: str
    height: int
    width: int
    embedding_size: int
    precision: str = "float32"

    @classmethod
    def of(cls, spec: BackboneSpec) -> "ModelBackbone":
        """What a model says of a prepared backbone."""
        return cls(**{name: getattr(spec, name) for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Model(Document, remedy="delete the folder that it is in", indent=2):
    """One published version of a model, as its `linnaeus.json` describes it."""

    name: str
    version: int
    labels: tuple[str, ...]
    """In the order of the model's `scores`."""
    backbone: ModelBackbone
    task: str = "single"
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Per split (`test`, `validation`)."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Task single: `abstain_below`, the confidence below which the label is `unknown`, and the
    `target_precision` that asked for it, or nothing; task multi: each label's threshold."""
    run_id: str = ""
    """The training run that made it, whose folder in `runs/` says more."""
    tried: Sequence[Mapping[str, Any]] = field(default_factory=list)
    """The heads that a sweep tried."""
    curve: Sequence[Mapping[str, Any]] = field(default_factory=list)
    """The losses and accuracies while the head was trained."""
    mistakes: Sequence[Mapping[str, Any]] = field(default_factory=list)
    """Misclassified test pictures, most confident first: `uri`, `true`, `predicted`, `score`."""
    data: Mapping[str, Any] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)
    created_at: str = ""
    """ISO 8601, UTC."""

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the only embeddings that this model may score."""
        return self.backbone.fingerprint

    @property
    def identity(self) -> str:
        """The training that made it: a name and a number may come to stand for another model."""
        return self.run_id or f"{self.name}:{self.version}"

    @property
    def least_scores(self) -> dict[str, float]:
        """The score from which on each label applies."""
        if self.task == "single":
            return dict.fromkeys(self.labels, self.thresholds.get("abstain_below", 0.0))
        return {label: self.thresholds.get(label, DEFAULT_THRESHOLD) for label in self.labels}

    @property
    def prefix(self) -> str:
        """The version's folder, relative to the workspace."""
        return version_prefix(self.name, self.version)


def model_prefix(name: str) -> str:
    """The folder of all versions of a model, relative to the workspace."""
    return f"{MODELS}/{name}"


def version_prefix(name: str, version: int) -> str:
    """The folder of one version, relative to the workspace."""
    return f"{MODELS}/{name}/{version}"


def check_name(name: str) -> None:
    """Refuses a name that a folder, a URL or a model server could not carry as it is.

    Raises:
        ConfigurationError: If the name is anything but letters, digits, `.`, `_` and `-`.
    """
    if not layout.NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot name a model: use letters, digits, '.', '_' and '-', "
            "and begin with a letter or digit"
        )


def parse_reference(text: str) -> tuple[str, int | None]:
    """`NAME` or `NAME:VERSION`; without a version, None.

    Raises:
        ConfigurationError: If the version is no positive integer or the name is malformed.
    """
    name, colon, version = text.partition(":")
    check_name(name)
    if not colon:
        return name, None
    if not (version.isascii() and version.isdigit() and int(version) > 0):
        raise ConfigurationError(f"{text!r}: a model's version is a number, as in {name}:1")
    return name, int(version)


def names(workspace: Folder) -> list[str]:
    """Models of which at least one version exists, sorted."""
    named = filter(layout.NAME.fullmatch, workspace.folders(MODELS))
    return sorted(name for name in named if versions(workspace, name))


def versions(workspace: Folder, name: str) -> list[int]:
    """The versions of a model that exist, ascending; empty if there are none."""
    return sorted(v for v in _numbered(workspace, name) if _exists(workspace, name, v))


def find_newest(workspace: Folder, name: str) -> Model | None:
    """The newest version of a model, or None where there is none."""
    return load_model(workspace, name) if versions(workspace, name) else None


def load_model(workspace: Folder, name_and_version: str, trained_by: str = "") -> Model:
    """Loads what is known of `NAME` (its newest version) or `NAME:3`.

    Raises:
        ConfigurationError: If it does not exist; the message lists the models that do. Or it is
            another one than that of the identity `trained_by`.
    """
    name, version = parse_reference(name_and_version)
    newest_first = sorted(_numbered(workspace, name), reverse=True) if version is None else []
    found = version or next((v for v in newest_first if _exists(workspace, name, v)), None)
    if found is None:
        raise _absent(workspace, name_and_version)
    model = Model.read_or_none(workspace, f"{version_prefix(name, found)}/{DESCRIPTION}")
    if model is None:
        raise _absent(workspace, name_and_version)
    if trained_by not in ("", model.identity):
        raise ConfigurationError(
            f"the {name_and_version} that {trained_by} trained is gone, and another one has "
            f"its name ({model.identity}): score anew"
        )
    return model


def _numbered(workspace: Folder, name: str) -> list[int]:
    folders = workspace.folders(model_prefix(name))
    return [int(folder) for folder in folders if folder.isascii() and folder.isdigit()]


def _exists(workspace: Folder, name: str, version: int) -> bool:
    return workspace.head(f"{version_prefix(name, version)}/{DESCRIPTION}") is not None


def _absent(workspace: Folder, asked: str) -> ConfigurationError:
    name = asked.partition(":")[0]
    known = [f"{n}:{v}" for n in names(workspace) for v in versions(workspace, n)]
    there = f"it has {', '.join(known)}" if known else "it has no models yet"
    return ConfigurationError(
        f"no model {asked!r} in {workspace.uri}: {there}; "
        f"train one with `linnaeus train IMAGES --model {name}`"
    )
