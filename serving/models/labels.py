"""Names for versions, such as `stable` and `canary`, that only ever name what can answer."""

from collections.abc import Collection, Iterable, Mapping

import grpc

from serving.grpc_status import StatusError, invalid_argument
from serving.models.model_config import ModelConfig

Labels = Mapping[str, Mapping[str, int]]
"""Model -> label -> version."""


def assigned(
    configs: Iterable[ModelConfig],
    available: Mapping[str, Collection[int]],
    before: Labels | None = None,
) -> Labels:
    """The labels of a new configuration.

    Args:
        configs: the new configuration.
        available: model -> versions that answer now.
        before: the labels until now, if versions that do not answer yet may get labels: those
            that are new, or that keep their version. None if they may not.

    Raises:
        StatusError: as `ServerCore::UpdateModelVersionLabelMap` of `model_servers/server_core.cc`
            refuses a label for a version that does not answer.
    """
    labels: dict[str, dict[str, int]] = {}
    for config in configs:
        for label, version in config.labels.items():
            is_kept = before is not None and _version(before, config.name, label) in {None, version}
            if not is_kept and version not in available.get(config.name, ()):
                raise _unavailable(config.name, version)
            labels.setdefault(config.name, {})[label] = version
    return labels


def resolve(labels: Labels, model: str, label: str) -> int:
    """The version that a label names.

    Raises:
        StatusError: INVALID_ARGUMENT, there is no such label.
    """
    version = _version(labels, model, label)
    if version is None:
        raise invalid_argument(f"Unrecognized servable version label: {label}")
    return version


def _version(labels: Labels, model: str, label: str) -> int | None:
    return labels.get(model, {}).get(label)


def _unavailable(model: str, version: int) -> StatusError:
    return StatusError(
        grpc.StatusCode.FAILED_PRECONDITION,
        f"Request to assign label to version {version} of model {model},"
        " which is not currently available for inference",
    )
