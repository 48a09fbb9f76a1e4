"""The models that a server serves, found by the ModelSpec of a request."""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc

from linnaeus.errors import LinnaeusError, ServingError
from serving.grpc_status import StatusError, invalid_argument, not_found
from serving.models.labels import Labels, assigned, resolve
from serving.models.model_config import ModelConfig
from serving.models.servable import Servable
from serving.models.versions import ModelVersions, VersionOptions, VersionState

LOOK_AGAIN_SECONDS = 0.05

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CatalogOptions:
    """How a catalog follows its models' folders, under TensorFlow Serving's flag names.

    Args:
        file_system_poll_wait_seconds: between two looks at the folders; 0 looks once.
        num_load_threads: models that load at once; 0 takes one for each processor,
            four at least.
        allow_version_labels_for_unavailable_models: let new labels name versions to come.
        wait_for_models: at the start, wait for folders and versions that are not there yet, and
            for tries to load that may still succeed, as TensorFlow Serving's program does; a
            model that cannot be served at once is an error otherwise.
        versions: how each is loaded.
    """

    file_system_poll_wait_seconds: float = 1.0
    num_load_threads: int = 0
    allow_version_labels_for_unavailable_models: bool = False
    wait_for_models: bool = False
    versions: VersionOptions = field(default_factory=VersionOptions)


class Catalog:
    """Models by name, each kept as its configuration wants by a thread that looks for changes."""

    def __init__(self, options: CatalogOptions = CatalogOptions()) -> None:
        self._options = options
        self._configuring = threading.Lock()
        # Replaced as wholes, never changed: readers take no lock. A model that has left the
        # configuration stays here, without versions: its states can still be asked for.
        self._models: Mapping[str, ModelVersions] = {}
        self._configs: Mapping[str, ModelConfig] = {}
        self._labels: Labels = {}
        self._looks: dict[str, Future[None]] = {}
        self._stopping = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="versions", daemon=True)
        self._pool = ThreadPoolExecutor(
            options.num_load_threads or max(4, os.cpu_count() or 1), thread_name_prefix="load"
        )

    def start(self, configs: Sequence[ModelConfig]) -> None:
        """Load every model, then watch for new versions.

        Raises:
            StatusError: the configuration is refused, or a model is given up.
            ServingError: a model has no version, or none that can be loaded.
            StorageError: a model's folder cannot be listed.
        """
        names = self._configure(configs)
        looks = [self._looks[name] for name in names]
        if self._options.wait_for_models:
            self._start_polling()
            self._wait_for(names, self._stopping.is_set)
            return
        for look in looks:
            look.result()
        for name in names:
            if not self._models[name].loaded:
                raise _not_loaded(name, self._models[name])
        self._start_polling()

    def reload(
        self, configs: Sequence[ModelConfig], give_up: Callable[[], bool] = lambda: True
    ) -> None:
        """Serve another configuration: add, remove and change models.

        A configuration that is refused changes nothing. One that is taken is in force at once;
        the call then waits for models that are new in it to become available.

        Args:
            configs: all models to serve.
            give_up: asked again and again whether to wait no longer.

        Raises:
            StatusError: the configuration is refused, or a new model is given up.
        """
        try:
            names = self._configure(configs)
        except LinnaeusError as error:
            raise invalid_argument(str(error)) from error
        self._wait_for(names, give_up)

    def stop_waiting(self) -> None:
        """Make a `start` that waits for models return."""
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop_waiting` or `close` has been called."""
        return self._stopping.is_set()

    def close(self) -> None:
        """Stop watching and unload everything."""
        self._stopping.set()
        if self._poller.is_alive():
            self._poller.join()
        self._pool.shutdown(cancel_futures=True)
        for versions in self._models.values():
            versions.close()

    def find(self, request: Any) -> tuple[int, Servable]:
        """The version that a request's ModelSpec asks for, the highest unless it names one.

        Raises:
            StatusError: as TensorFlow Serving refuses a ModelSpec.
        """
        spec = model_spec_of(request)
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        loaded = self._models[spec.name].loaded if spec.name in self._configs else {}
        if spec.HasField("version_label"):
            version = resolve(self._labels, spec.name, spec.version_label)
            return _specific(spec.name, version, loaded)
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

    def _configure(self, configs: Iterable[ModelConfig]) -> list[str]:
        """Put a configuration in force; the names of the models that are new in it.

        Raises:
            StatusError: it is refused.
            LinnaeusError: a base path is one that cannot be read at all.
        """
        wanted = {config.name: config for config in configs}
        with self._configuring:
            before = self._configs
            models, labels = self._new_models(wanted), self._assigned(wanted.values())
            self._models, self._labels = {**models, **self._models}, labels
            self._configs = wanted
            for name in wanted.keys() | before.keys():
                if wanted.get(name) != before.get(name):
                    self._models[name].configure(wanted.get(name))
                    self._submit_look(name)
        return [name for name in wanted if name not in before]

    def _assigned(self, configs: Iterable[ModelConfig]) -> Labels:
        available = {name: self._models[name].loaded for name in self._configs}
        lenient = self._options.allow_version_labels_for_unavailable_models
        return assigned(configs, available, self._labels if lenient else None)

    def _new_models(self, wanted: Mapping[str, ModelConfig]) -> dict[str, ModelVersions]:
        # Known models that change get one, too: none can be made for a base path of no use.
        made = {
            name: ModelVersions(config, self._options.versions)
            for name, config in wanted.items()
            if config != self._configs.get(name)
        }
        return {name: versions for name, versions in made.items() if name not in self._models}

    def _wait_for(self, names: Sequence[str], give_up: Callable[[], bool]) -> None:
        """Wait until each model is available or given up, as `WaitUntilModelsAvailable`."""
        while not all(self._is_settled(name) for name in names):
            if give_up() or self._stopping.wait(LOOK_AGAIN_SECONDS):
                return
            for name in names:
                if self._models[name].is_retry_due:
                    self._look(name)
        failed = [name for name in names if self._models[name].is_given_up]
        if failed:
            raise StatusError(grpc.StatusCode.UNKNOWN, self._unavailable(failed))

    def _is_settled(self, name: str) -> bool:
        if name not in self._configs:
            return True
        versions = self._models[name]
        # A look that is under way may be loading the rest of the versions that are wanted.
        return self._looks[name].done() and (bool(versions.loaded) or versions.is_given_up)

    def _unavailable(self, names: Sequence[str]) -> str:
        reasons = "".join(
            f"{{{{name: {name} version: {version}}} due to error:"
            f" {failure.code.name}: {failure.message}}}, "
            for name in names
            for version, failure in self._models[name].failures.items()
        )
        return f"{len(names)} servable(s) did not become available: {{{reasons}}}"

    def _start_polling(self) -> None:
        if self._options.file_system_poll_wait_seconds > 0:
            self._poller.start()

    def _poll(self) -> None:
        while not self._stopping.wait(self._options.file_system_poll_wait_seconds):
            for name in self._configs:
                self._look(name)

    def _look(self, name: str) -> None:
        """Let a thread look at a model's folder, unless one does: a slow one holds up no other."""
        underway = self._looks.get(name)
        if underway is None or underway.done():
            self._submit_look(name)

    def _submit_look(self, name: str) -> None:
        look = self._looks[name] = self._pool.submit(self._models[name].refresh)
        look.add_done_callback(lambda look: _log_failure(name, look))


def model_spec_of(request: Any) -> Any:
    """A request's ModelSpec, which every call must have."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    return request.model_spec


def _specific(name: str, version: int, loaded: Mapping[int, Servable]) -> tuple[int, Servable]:
    model = loaded.get(version)
    if model is None:
        raise not_found(f"Servable not found for request: Specific({name}, {version})")
    return version, model


def _log_failure(name: str, look: Future[None]) -> None:
    error = None if look.cancelled() else look.exception()
    if isinstance(error, LinnaeusError):
        _log.warning("cannot look for new versions of %s; serving on: %s", name, error)
    elif error is not None:
        _log.error("cannot look for new versions of %s; serving on", name, exc_info=error)


def _not_loaded(name: str, versions: ModelVersions) -> ServingError:
    for version, failure in versions.failures.items():
        reason = " ".join(failure.message.split())
        return ServingError(
            f"version {version} of model {name} in {versions.uri} cannot be loaded: {reason};"
            " export it again, or delete that version"
        )
    return ServingError(
        f"there is no version of model {name} in {versions.uri};"
        f" make one with `linnaeus train IMAGES --model {name}`"
    )
