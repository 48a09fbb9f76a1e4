"""What a server is told of each model: `ModelServerConfig`, checked and frozen.

Follows `model_servers/server_core.cc`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
from tensorflow_serving.config import model_server_config_pb2

from serving.config import text_format
from serving.grpc_status import StatusError, invalid_argument
from serving.models.version_folder import NEWEST, VersionPolicy, specific

PLATFORM = "tensorflow"

_TENSORFLOW_TYPE = 1
_ABSOLUTE = re.compile(r"/|[a-zA-Z][0-9a-zA-Z.]*://")


@dataclass(frozen=True)
class ModelConfig:
    """One model: where its numbered versions lie, which of them to serve, and their labels."""

    name: str
    base_path: str
    policy: VersionPolicy = NEWEST
    labels: Mapping[str, int] = field(default_factory=dict)


def of_folders(uris: Mapping[str, str], policy: VersionPolicy = NEWEST) -> list[ModelConfig]:
    """The configuration of models that are known by name and folder alone."""
    return [ModelConfig(name, uri, policy) for name, uri in uris.items()]


def with_version(configs: Iterable[ModelConfig], version: int | None) -> list[ModelConfig]:
    """The same models, each with the one version that is to be served; None changes nothing."""
    if version is None:
        return list(configs)
    return [replace(config, policy=specific(version)) for config in configs]


def read_models(path: str) -> list[ModelConfig] | None:
    """The models of a file that holds a ModelServerConfig in text form.

    Returns:
        None if it configures nothing, which leaves a server as it is.

    Raises:
        ConfigurationError: the file cannot be read.
        StatusError: what it says is refused.
    """
    message = text_format.read(
        path, model_server_config_pb2.ModelServerConfig, "tensorflow.serving.ModelServerConfig"
    )
    return models_of(message)


def models_of(message: model_server_config_pb2.ModelServerConfig) -> list[ModelConfig] | None:
    """The models of a ModelServerConfig, checked; None if it is empty.

    Raises:
        StatusError: one that no server of TensorFlow Serving's stock program takes.
    """
    kind = message.WhichOneof("config")
    if kind is None:
        return None
    if kind != "model_config_list":
        raise StatusError(
            grpc.StatusCode.FAILED_PRECONDITION,
            "Cannot transition to requested config. It is only legal to transition "
            "from one ModelConfigList to another.",
        )
    configs = message.model_config_list.config
    _check_names(configs)
    _check_base_paths(configs)
    return [_model(config) for config in configs]


def _check_names(configs: Iterable[Any]) -> None:
    seen: set[str] = set()
    for config in configs:
        if config.name in seen:
            raise invalid_argument(
                f"Illegal to list model {config.name} multiple times in config list"
            )
        seen.add(config.name)


def _check_base_paths(configs: Iterable[Any]) -> None:
    for config in configs:
        if not _ABSOLUTE.match(config.base_path):
            raise invalid_argument(
                f"Expected model {config.name} to have an absolute path or URI;"
                f" got base_path()={config.base_path}"
            )


def _model(config: Any) -> ModelConfig:
    platform = _platform(config)
    if platform != PLATFORM:
        raise invalid_argument(f"Model {config.name} requests unsupported platform {platform}")
    policy = _policy(config.model_version_policy)
    return ModelConfig(config.name, config.base_path, policy, dict(config.version_labels))


def _platform(config: Any) -> str:
    if config.model_type:
        if config.model_platform:
            raise invalid_argument(
                "Illegal setting both ModelServerConfig::model_type (deprecated) "
                "and ModelServerConfig::model_platform."
            )
        if config.model_type != _TENSORFLOW_TYPE:
            raise invalid_argument(
                f"ModelServerConfig::model_type choice {config.model_type} not supported."
            )
        return PLATFORM
    if not config.model_platform:
        raise invalid_argument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) "
            "nor ModelServerConfig::model_platform."
        )
    return str(config.model_platform)


def _policy(message: Any) -> VersionPolicy:
    kind = message.WhichOneof("policy_choice")
    if kind == "all":
        return VersionPolicy(most=None)
    if kind == "specific":
        return specific(*message.specific.versions)
    return VersionPolicy(max(message.latest.num_versions, 1))
