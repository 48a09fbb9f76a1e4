"""The models that a server serves, found by the ModelSpec of a request."""

import logging
import threading
from collections.abc import Mapping
from typing import Any

from linnaeus.errors import LinnaeusError, ServingError
from serving.models.saved_models import SavedModel
from serving.models.version_folder import VersionFolder
from serving.models.versions import ModelVersions, VersionState
from serving.status import invalid_argument, not_found

_log = logging.getLogger(__name__)


class Catalog:
    """Models by name, each kept at its newest version by a thread that looks for new ones."""

    def __init__(
        self, uris: Mapping[str, str], poll_wait_seconds: float, version: int | None = None
    ) -> None:
        self._uris = dict(uris)
        self._models = {
            name: ModelVersions(VersionFolder(uri, version)) for name, uri in uris.items()
        }
        self._poll_wait_seconds = poll_wait_seconds
        self._stopping = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="versions", daemon=True)

    def start(self) -> None:
        """Load every model, then watch for new versions.

        Raises:
            ServingError: a model has no version, or its newest one cannot be loaded.
            StorageError: a model's folder cannot be listed.
        """
        for name, versions in self._models.items():
            versions.refresh()
            if not versions.loaded:
                raise _not_loaded(name, self._uris[name], versions)
        self._poller.start()

    def close(self) -> None:
        """Stop watching and unload everything."""
        self._stopping.set()
        if self._poller.is_alive():
            self._poller.join()
        for versions in self._models.values():
            versions.close()

    def find(self, request: Any) -> tuple[int, SavedModel]:
        """The version that a request's ModelSpec asks for, the highest unless it names one.

        Raises:
            StatusError: as TensorFlow Serving refuses a ModelSpec.
        """
        spec = model_spec_of(request)
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        if spec.HasField("version_label"):
            raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
        loaded = self._models[spec.name].loaded if spec.name in self._models else {}
        if spec.HasField("version"):
            return _specific(spec.name, spec.version.value, loaded)
        if not loaded:
            raise not_found(f"Servable not found for request: Latest({spec.name})")
        return max(loaded.items())

    def states(self, request: Any) -> Mapping[int, VersionState]:
        """States of the versions that a request asks about, highest first; a label is ignored.

        Raises:
            StatusError: there is no such model or version.
        """
        spec = model_spec_of(request)
        states = self._models[spec.name].states if spec.name in self._models else {}
        if not spec.HasField("version"):
            if not states:
                raise not_found(f"Could not find any versions of model {spec.name}")
            return states
        version = spec.version.value
        if version not in states:
            raise not_found(f"Could not find version {version} of model {spec.name}")
        return {version: states[version]}

    def _poll(self) -> None:
        while not self._stopping.wait(self._poll_wait_seconds):
            for name, versions in self._models.items():
                try:
                    versions.refresh()
                except LinnaeusError:
                    _log.exception("cannot look for new versions of %s; serving on", name)


def model_spec_of(request: Any) -> Any:
    """A request's ModelSpec, which every call must have."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    return request.model_spec


def _specific(name: str, version: int, loaded: Mapping[int, SavedModel]) -> tuple[int, SavedModel]:
    model = loaded.get(version)
    if model is None:
        raise not_found(f"Servable not found for request: Specific({name}, {version})")
    return version, model


def _not_loaded(name: str, uri: str, versions: ModelVersions) -> ServingError:
    for version, state in versions.states.items():
        reason = " ".join(state.message.split())
        return ServingError(
            f"version {version} of model {name} in {uri} cannot be loaded: {reason};"
            " export it again, or delete that version"
        )
    return ServingError(
        f"there is no version of model {name} in {uri};"
        f" make one with `linnaeus train IMAGES --model {name}`"
    )
