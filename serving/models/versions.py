"""The versions of one model: new ones replace old ones once they are fit to serve."""

import gc
import logging
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import grpc

from linnaeus.errors import LinnaeusError
from linnaeus.storage import Entry
from serving.grpc_status import StatusError
from serving.models.loading import LoadingOptions, load
from serving.models.model_config import ModelConfig
from serving.models.servable import Servable
from serving.models.version_folder import VersionFolder

_log = logging.getLogger(__name__)


class State(IntEnum):
    """`ModelVersionStatus.State` of the protocol."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionState:
    """Where a version stands, and why it failed if it did."""

    state: State
    code: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""


@dataclass(frozen=True)
class VersionOptions:
    """How versions are loaded, and how often again if that fails.

    Args:
        loading: of each version.
        max_load_retries: after the first failure, before a version is given up.
        load_retry_seconds: between two tries.
    """

    loading: LoadingOptions = field(default_factory=LoadingOptions)
    max_load_retries: int = 5
    load_retry_seconds: float = 60.0


@dataclass(frozen=True)
class Failure:
    """The latest failure to load a version."""

    tries: int
    at: float
    """On the monotonic clock, in seconds."""
    code: grpc.StatusCode
    message: str
    files: frozenset[Entry]
    """What the version's folder held: a publisher may not have been done."""


class ModelVersions:
    """Keeps the versions loaded that a model's policy wants; lookups are thread-safe, never wait.

    A new version is loaded and warmed up while the old one serves, then both serve, then the old
    one goes; requests that hold the old one finish on it. A version that fails to load is tried
    again, LOADING all the while, and the old one serves on.
    """

    def __init__(self, config: ModelConfig, options: VersionOptions) -> None:
        self._options = options
        self._refreshing = threading.Lock()
        self._failures: dict[int, Failure] = {}
        # Replaced as a whole, never changed: readers take no lock.
        self._loaded: Mapping[int, Servable] = {}
        self._states: Mapping[int, VersionState] = {}
        self._wanted: Collection[int] = ()
        self._config: ModelConfig | None = config
        self._in_force = config
        self._folder = self._folder_of(config)

    @property
    def uri(self) -> str:
        """The base path."""
        return self._folder.uri

    @property
    def loaded(self) -> Mapping[int, Servable]:
        """The versions that answer requests now."""
        return self._loaded

    @property
    def states(self) -> Mapping[int, VersionState]:
        """Every version ever wanted, highest first."""
        return dict(sorted(self._states.items(), reverse=True))

    @property
    def failures(self) -> Mapping[int, Failure]:
        """The versions that do not load, and why."""
        return dict(self._failures)

    @property
    def is_given_up(self) -> bool:
        """Whether nothing is served and every version that is wanted failed for good."""
        wanted = self._wanted
        return bool(wanted) and not self._loaded and all(map(self._is_lost, wanted))

    @property
    def is_retry_due(self) -> bool:
        """Whether a version that failed to load may be tried again now."""
        return any(self._may_load(version) for version in self.failures)

    def configure(self, config: ModelConfig | None) -> None:
        """Take another base path or policy, or None to serve nothing: at the next `refresh`.

        Never waits, even while a version is loaded.
        """
        self._config = config

    def refresh(self) -> None:
        """Look at the folder and serve what the policy wants of it.

        A missing folder keeps what is loaded; an empty one unloads it.

        Raises:
            LinnaeusError: the folder cannot be listed.
        """
        with self._refreshing:
            config = self._config
            if config is None:
                self._unload_for_good()
                return
            if config != self._in_force:
                self._folder.close()
                self._folder, self._in_force = self._folder_of(config), config
            wanted = self._folder.select(config.policy, self._loaded)
            if wanted or self._folder.is_there():
                self._serve(wanted)

    def close(self) -> None:
        """Unload everything."""
        self._config = None
        self.refresh()

    def _unload_for_good(self) -> None:
        self._wanted = ()
        self._unload(self._loaded)
        self._forget_failures(self._failures)
        self._folder.close()

    def _folder_of(self, config: ModelConfig) -> VersionFolder:
        return VersionFolder(config.base_path, self._options.loading.complete_with)

    def _serve(self, wanted: list[int]) -> None:
        self._wanted = wanted
        self._forget_failures(v for v in self._failures if v not in wanted)
        for version, failure in self.failures.items():
            if self._folder.files(version) != failure.files:
                del self._failures[version]
        self._unload_superseded()
        new = [v for v in wanted if v not in self._loaded and self._may_load(v)]
        for version in new:
            if version not in self._failures:
                self._set_state(version, VersionState(State.START))
        for version in new:
            self._try_to_load(version)
            self._unload_superseded()

    def _unload_superseded(self) -> None:
        """Unload what is not wanted, unless that left a model that is wanted without a version.

        As `core/availability_preserving_policy.h`.
        """
        if not self._wanted or any(version in self._loaded for version in self._wanted):
            self._unload([version for version in self._loaded if version not in self._wanted])

    def _may_load(self, version: int) -> bool:
        failure = self._failures.get(version)
        if failure is None:
            return True
        waited = time.monotonic() - failure.at
        return not self._is_lost(version) and waited >= self._options.load_retry_seconds

    def _is_lost(self, version: int) -> bool:
        failure = self._failures.get(version)
        return failure is not None and failure.tries > self._options.max_load_retries

    def _try_to_load(self, version: int) -> None:
        self._set_state(version, VersionState(State.LOADING))
        files = self._folder.files(version)
        try:
            model = load(self._folder.fetch(version), self._options.loading)
        except Exception as error:  # whatever is wrong with it, the old one serves on
            _log.exception("cannot load version %d of %s", version, self.uri)
            self._record_failure(version, error, files)
            return
        self._failures.pop(version, None)
        self._loaded = {**self._loaded, version: model}
        self._set_state(version, VersionState(State.AVAILABLE))
        _log.info("serving version %d of %s", version, self.uri)

    def _record_failure(self, version: int, error: Exception, files: frozenset[Entry]) -> None:
        before = self._failures.get(version)
        tries = before.tries + 1 if before else 1
        code = error.code if isinstance(error, StatusError) else grpc.StatusCode.UNKNOWN
        self._failures[version] = Failure(tries, time.monotonic(), code, _message(error), files)
        self._folder.discard(version)
        if self._is_lost(version):
            self._set_state(version, VersionState(State.END, code, _message(error)))

    def _forget_failures(self, versions: Iterable[int]) -> None:
        """Try to load these no more."""
        for version in list(versions):
            failure = self._failures.pop(version)
            self._set_state(version, VersionState(State.END, failure.code, failure.message))

    def _unload(self, versions: Collection[int]) -> None:
        leaving = list(versions)
        for version in leaving:
            self._set_state(version, VersionState(State.UNLOADING))
        self._loaded = {v: model for v, model in self._loaded.items() if v not in leaving}
        for version in leaving:
            self._folder.discard(version)
            self._set_state(version, VersionState(State.END))
        if leaving:
            # TensorFlow's graphs are cycles, and some 30 MB of one wait for a collection of the
            # oldest generation, which hardly ever comes by itself.
            gc.collect()

    def _set_state(self, version: int, state: VersionState) -> None:
        self._states = {**self._states, version: state}


def _message(error: Exception) -> str:
    if isinstance(error, StatusError | LinnaeusError):
        return str(error)
    return f"{type(error).__name__}: {error}"
